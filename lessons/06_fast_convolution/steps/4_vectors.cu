// Step 4 to a fast convolution: vectors.
//
// The idea: load, multiply and store a whole vector of outputs at a time, Vec<LANES>. On a CPU a multiply-add of two
// vectors is one instruction; on a GPU a vector is loaded 16 bytes at a time. So the same numbers take a fraction of
// the instructions. A compiler alone makes poor vectors of step 3.
//
//                                                           float on a GPU    float on a CPU with AVX-512
//     threads of a block:                                   16 x 8            16 x 2
//     outputs of a block:                                   128 x 64          192 x 64
//     multiply-adds for a number loaded from memory:        43                48
//     multiply-adds for a number loaded from shared memory: 4                 8.7
//     measured:                                             -                 72.1 GFLOP/s, after 5.0 in step 3
//
// Memory traffic and edges are as in step 2. What is left for kernels/conv.cu, the fifth step: here the place of a
// pixel is worked out anew for each of its taps and slabs, and a slab has a single tap, which is thin where there are
// few channels. After that, the only gain left is to multiply less: kernels/winograd.cu.

#include "slabs.cuh"

// A thread has ROWS x VECS vectors of outputs. On a CPU the sums take as many vector registers as there are, apart from
// VECS for b and one for a. On a GPU they are 8 x 8 numbers.
#ifdef CPU
constexpr int VECS = 2, ROWS = SUM_ROWS;
#else
constexpr int VECS = 2, ROWS = 8;
#endif
constexpr int THREADS_M = 16, THREADS_O = THREADS / THREADS_M;
static_assert(THREADS_M * THREADS_O == THREADS, "threads beyond the last whole row of them would have no outputs");
constexpr int COLUMNS = VECS * LANES, TILE_M = THREADS_M * ROWS, TILE_O = THREADS_O * COLUMNS;
typedef Vec<LANES> V;

extern "C" __global__ void __launch_bounds__(THREADS)
conv_vectors(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/,
             real *y /*[n*out_h*out_w*cout]*/, Geometry g) {
    REQUIRE(blockDim.x == THREADS);
    SHARED(real, a, [TILE_M][SLAB]);
    SHARED(real, b, [SLAB][TILE_O]);
    int row = threadIdx.x / THREADS_O * ROWS, column = threadIdx.x % THREADS_O * COLUMNS;
    int tiles_m = (pixels_of(g) + TILE_M - 1) / TILE_M, tiles_o = (g.cout + TILE_O - 1) / TILE_O;
    for (int tile = blockIdx.x; tile < tiles_m * tiles_o; tile += gridDim.x) {
        int m0 = tile / tiles_o * TILE_M, o0 = tile % tiles_o * TILE_O;
        V sum[ROWS][VECS];
        UNROLL for (int r = 0; r < ROWS; ++r)
            UNROLL for (int v = 0; v < VECS; ++v) sum[r][v] = V::broadcast(0);
        for (int tap = 0; tap < g.kh * g.kw; ++tap)
            for (int c0 = 0; c0 < g.cin; c0 += SLAB) {
                load_pixels<LANES>(a, g, x, m0, tap, c0);
                load_weights<LANES>(b, g, w, tap, c0, o0);
                __syncthreads();
                for (int k = 0; k < min(SLAB, g.cin - c0); ++k) {
                    V right[VECS];
                    UNROLL for (int v = 0; v < VECS; ++v) right[v] = V::load(&b[k][column + v * LANES]);
                    UNROLL for (int r = 0; r < ROWS; ++r) {
                        real left = a[row + r][k];
                        UNROLL for (int v = 0; v < VECS; ++v) sum[r][v].fma(left, right[v]);
                    }
                }
                __syncthreads();
            }
        UNROLL for (int r = 0; r < ROWS; ++r)
            UNROLL for (int v = 0; v < VECS; ++v) {
                int m = m0 + row + r, o = o0 + column + v * LANES;
                if (m < pixels_of(g) && o < g.cout)
                    sum[r][v].store_edge(y + m * g.cout + o, g.cout - o, g.cout % LANES == 0);
            }
    }
}
