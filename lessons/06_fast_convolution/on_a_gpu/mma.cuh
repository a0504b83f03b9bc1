// What steps 7 to 9 share: a warp's sums, as tensor cores have them.
//
// A warp makes 64 x 32 outputs of the tile, as 4 x 4 matrices of 16 x 8. Of each matrix a lane has four numbers, the
// fragment d of kernels/mma.cuh: (row, column) = (group, 2 member), (group, 2 member + 1), (group + 8, 2 member),
// (group + 8, 2 member + 1), with group = lane / 4 and member = lane % 4.

#include "tile.cuh"
#include "../../../kernels/mma.cuh"

constexpr int M_STEPS = 4, N_STEPS = 4;

struct Sums {
    float of[M_STEPS][N_STEPS][4];
    int row, column, group, member;  // row and column: where the warp's part of the tile begins

    __device__ __forceinline__ Sums() {
        int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        row = warp / 2 * 64, column = warp % 2 * 32, group = lane / 4, member = lane % 4;
        UNROLL for (int m = 0; m < M_STEPS; ++m)
            UNROLL for (int n = 0; n < N_STEPS; ++n)
                UNROLL for (int e = 0; e < 4; ++e) of[m][n][e] = 0;
    }

    // Add the products of 8 steps of the depth, numbers k8 to k8 + 8 of the slab. left: A's fragments of them.
    __device__ __forceinline__ void add(const Stage &stage, Fragment (&left)[M_STEPS], int k8) {
        UNROLL for (int m = 0; m < M_STEPS; ++m)
            UNROLL for (int e = 0; e < 4; ++e) left[m][e] = as_tf32(float_of(left[m][e]));
        UNROLL for (int n = 0; n < N_STEPS; ++n) {
            unsigned right[2];
            UNROLL for (int e = 0; e < 2; ++e)
                right[e] = as_tf32(stage.b[k8 + member + 4 * e][column + 8 * n + group]);
            UNROLL for (int m = 0; m < M_STEPS; ++m) multiply_tf32(of[m][n], left[m], right);
        }
    }

    __device__ __forceinline__ void store(float *y, const Geometry &g, int m0, int o0) const {
        UNROLL for (int m = 0; m < M_STEPS; ++m)
            UNROLL for (int n = 0; n < N_STEPS; ++n)
                UNROLL for (int half = 0; half < 2; ++half) {
                    int pixel = m0 + row + 16 * m + group + 8 * half, o = o0 + column + 8 * n + 2 * member;
                    Vec<2> pair = Vec<2>::broadcast(0);
                    UNROLL for (int e = 0; e < 2; ++e) pair.lane[e] = of[m][n][2 * half + e];
                    if (pixel < pixels_of(g) && o < g.cout) pair.store(y + pixel * g.cout + o);
                }
    }
};
