// How steps 5 and 6 multiply, with the multiply-adds of float32: 8 x 8 outputs for each thread.

#include "tile.cuh"

typedef Vec<CHUNK> V;

// A warp makes 64 x 32 outputs of the tile, with 8 x 4 threads. A thread has every eighth row, and two vectors of
// columns. So the 8 threads that load together read one chunk of 4 neighbouring rows of A, or two neighbouring vectors
// of W, and two words of one bank never.
struct Sums {
    V of[8][2];
    int row, column;  // the thread's first ones

    __device__ __forceinline__ Sums() {
        int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        row = warp / 2 * 64 + lane / 2 % 8, column = warp % 2 * 32 + (lane % 2 + lane / 16 * 2) * CHUNK;
        UNROLL for (int r = 0; r < 8; ++r)
            UNROLL for (int v = 0; v < 2; ++v) of[r][v] = V::broadcast(0);
    }

    __device__ __forceinline__ void add(const Stage &stage) {
        UNROLL for (int chunk = 0; chunk < SLAB / CHUNK; ++chunk) {
            V left[8];
            UNROLL for (int r = 0; r < 8; ++r) left[r] = V::load(&stage.a[swizzled(row + 8 * r, chunk)]);
            UNROLL for (int k = 0; k < CHUNK; ++k) {
                V right[2];
                UNROLL for (int v = 0; v < 2; ++v) right[v] = V::load(&stage.b[chunk * CHUNK + k][column + 16 * v]);
                UNROLL for (int r = 0; r < 8; ++r)
                    UNROLL for (int v = 0; v < 2; ++v) of[r][v].fma(left[r].lane[k], right[v]);
            }
        }
    }

    __device__ __forceinline__ void store(float *y, const Geometry &g, int m0, int o0) const {
        UNROLL for (int r = 0; r < 8; ++r)
            UNROLL for (int v = 0; v < 2; ++v) {
                int m = m0 + row + 8 * r, o = o0 + column + 16 * v;
                if (m < pixels_of(g) && o < g.cout) of[r][v].store(y + m * g.cout + o);
            }
    }
};
