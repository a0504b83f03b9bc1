// Step 7, on a GPU: tensor cores.
//
// The idea: one instruction of a warp, mma.sync, multiplies a 16 x 8 matrix by an 8 x 8 matrix: 1024 multiply-adds,
// where a multiply-add of each thread (step 6) makes 32. The lanes of the warp hold the matrices together, each a
// fragment of them in its registers. The factors are rounded to TF32, which keeps 10 bits after the point; the sums are
// float32. So each product is off by up to a thousandth, and this is what a network's training tolerates.
//
// Of the 16 x 8 numbers of A a lane loads four, by four loads of 4 bytes.

#include "mma.cuh"

constexpr int STAGES = 3;

extern "C" __global__ void __launch_bounds__(THREADS)
conv_tensor_cores(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/,
                  real *y /*[n*out_h*out_w*cout]*/, Geometry g) {
    REQUIRE(blockDim.x == THREADS && g.cin % CHUNK == 0 && g.cout % CHUNK == 0);
    SHARED(Stage, stage, [STAGES]);
    auto copy = [](float *to, const float *from, bool inside) { copy_async(to, from, inside); };
    int tiles_o = (g.cout + TILE_N - 1) / TILE_N, slabs = slabs_of(g);
    for (int tile = blockIdx.x; tile < tiles_of(g); tile += gridDim.x) {
        int m0 = tile / tiles_o * TILE_M, o0 = tile % tiles_o * TILE_N;
        auto begin = [&](int slab) {
            if (slab < slabs) load_slab(stage[slab % STAGES], g, x, w, m0, o0, slab, copy);
            copy_async_commit();
        };
        Sums sums;
        for (int slab = 0; slab < STAGES - 1; ++slab) begin(slab);
        for (int slab = 0; slab < slabs; ++slab) {
            copy_async_wait<STAGES - 2>();
            __syncthreads();
            begin(slab + STAGES - 1);
            const Stage &now = stage[slab % STAGES];
            for (int k8 = 0; k8 < SLAB; k8 += 8) {
                Fragment left[M_STEPS];
                UNROLL for (int m = 0; m < M_STEPS; ++m)
                    UNROLL for (int e = 0; e < 4; ++e) {
                        int r = sums.row + 16 * m + sums.group + e % 2 * 8, chunk = k8 / CHUNK + e / 2;
                        left[m][e] = bits_of(now.a[swizzled(r, chunk) + sums.member]);
                    }
                sums.add(now, left, k8);
            }
        }
        sums.store(y, g, m0, o0);
        __syncthreads();
    }
}
