// Step 3 to a fast convolution: a square of outputs in the registers of each thread.
//
// The idea: do once more, with registers, what step 2 did with shared memory. A thread makes OUTPUTS x OUTPUTS outputs
// and keeps their sums in registers. For each k of a slab it loads 8 + 8 numbers from shared memory and does 64
// multiply-adds with them. So a quarter of the threads of step 2 makes a tile of 16 times the size.
//
//     multiply-adds for a number loaded from memory:         32      (64 x 64 outputs)
//     multiply-adds for a number loaded from shared memory:  4
//     measured:  5.0 GFLOP/s, after 1.1 in step 2
//
// Memory traffic and edges are as in step 2.

#include "slabs.cuh"

constexpr int OUTPUTS = 8, SIDE = 8;  // outputs of a thread and threads of a block, each way
constexpr int TILE = OUTPUTS * SIDE;  // outputs of a block, each way
static_assert(SIDE * SIDE == THREADS, "a thread has one square of the tile");

// UNROLL: an array in registers has no address, so each index into it must be a constant.
extern "C" __global__ void __launch_bounds__(THREADS)
conv_blocked(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/,
             real *y /*[n*out_h*out_w*cout]*/, Geometry g) {
    REQUIRE(blockDim.x == THREADS);
    SHARED(real, a, [TILE][SLAB]);
    SHARED(real, b, [SLAB][TILE]);
    int row = threadIdx.x / SIDE * OUTPUTS, column = threadIdx.x % SIDE * OUTPUTS;
    int tiles_m = (pixels_of(g) + TILE - 1) / TILE, tiles_o = (g.cout + TILE - 1) / TILE;
    for (int tile = blockIdx.x; tile < tiles_m * tiles_o; tile += gridDim.x) {
        int m0 = tile / tiles_o * TILE, o0 = tile % tiles_o * TILE;
        real sum[OUTPUTS][OUTPUTS] = {};
        for (int tap = 0; tap < g.kh * g.kw; ++tap)
            for (int c0 = 0; c0 < g.cin; c0 += SLAB) {
                load_pixels<1>(a, g, x, m0, tap, c0);
                load_weights<1>(b, g, w, tap, c0, o0);
                __syncthreads();
                for (int k = 0; k < min(SLAB, g.cin - c0); ++k)
                    UNROLL for (int r = 0; r < OUTPUTS; ++r)
                        UNROLL for (int c = 0; c < OUTPUTS; ++c) sum[r][c] += a[row + r][k] * b[k][column + c];
                __syncthreads();
            }
        UNROLL for (int r = 0; r < OUTPUTS; ++r)
            UNROLL for (int c = 0; c < OUTPUTS; ++c) {
                int m = m0 + row + r, o = o0 + column + c;
                if (m < pixels_of(g) && o < g.cout) y[m * g.cout + o] = sum[r][c];
            }
    }
}
