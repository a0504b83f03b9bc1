// Step 2 to a fast convolution: tiles in shared memory.
//
// The idea: outputs of one pixel need the same row of A, and outputs of one channel need the same column of W. So a
// block of TILE x TILE threads makes a tile of TILE x TILE outputs (pixels x channels). The threads load a slab of the
// numbers into shared memory together, wait, and multiply from there. A number from memory is now used TILE times.
// But each multiply-add still loads two numbers from shared memory.
//
//     multiply-adds for a number loaded from memory:         8       (16 x 16 outputs)
//     multiply-adds for a number loaded from shared memory:  1/2
//     measured:  1.1 GFLOP/s, slower than step 1 (2.6)
//
// (A tile of M x N with a slab k deep loads (M + N) k numbers for M N k multiply-adds.) On a CPU this step alone costs
// more than it gains. The caches already hold these numbers, and the threads take turns at each barrier. It pays off
// through what it makes possible: the numbers lie together, as steps 3 and 4 need them.
//
// x is read kh kw cout / stride^2 / N times, and w once for each M output pixels. y is written once. At an edge, what
// lies beyond is loaded as zeros and is not stored. Blocks take tiles in turn, so that any grid is right.

#include "slabs.cuh"

constexpr int TILE = 16;
static_assert(TILE * TILE == THREADS, "a thread has one output of the tile");

extern "C" __global__ void __launch_bounds__(THREADS)
conv_tiled(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/,
           real *y /*[n*out_h*out_w*cout]*/, Geometry g) {
    REQUIRE(blockDim.x == THREADS);
    SHARED(real, a, [TILE][SLAB]);
    SHARED(real, b, [SLAB][TILE]);
    int row = threadIdx.x / TILE, column = threadIdx.x % TILE;
    int tiles_m = (pixels_of(g) + TILE - 1) / TILE, tiles_o = (g.cout + TILE - 1) / TILE;
    for (int tile = blockIdx.x; tile < tiles_m * tiles_o; tile += gridDim.x) {
        int m0 = tile / tiles_o * TILE, o0 = tile % tiles_o * TILE;
        real sum = 0;
        for (int tap = 0; tap < g.kh * g.kw; ++tap)
            for (int c0 = 0; c0 < g.cin; c0 += SLAB) {
                load_pixels<1>(a, g, x, m0, tap, c0);
                load_weights<1>(b, g, w, tap, c0, o0);
                __syncthreads();  // all is loaded
                for (int k = 0; k < min(SLAB, g.cin - c0); ++k) sum += a[row][k] * b[k][column];
                __syncthreads();  // all is used: it may be overwritten
            }
        int m = m0 + row, o = o0 + column;
        if (m < pixels_of(g) && o < g.cout) y[m * g.cout + o] = sum;
    }
}
