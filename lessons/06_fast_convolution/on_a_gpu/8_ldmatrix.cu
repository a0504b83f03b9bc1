// Step 8, on a GPU: ldmatrix.
//
// The idea: the fragments of A are read by an instruction made for them. ldmatrix reads four matrices of 8 rows of 16
// bytes, and gives each lane its four numbers: one instruction, where step 7 needs four, and no address for each. Lane l
// says where row l % 8 of matrix l / 8 begins. The four matrices are the upper and the lower 8 rows of the first four
// numbers of the depth, and then those of the next four.
//
// It takes as many wavefronts as before, since as many bytes are read. (W's fragments would need W's columns as rows.
// They are still read by loads of 4 bytes.)

#include "mma.cuh"

constexpr int STAGES = 3;

extern "C" __global__ void __launch_bounds__(THREADS)
conv_ldmatrix(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/,
              real *y /*[n*out_h*out_w*cout]*/, Geometry g) {
    REQUIRE(blockDim.x == THREADS && g.cin % CHUNK == 0 && g.cout % CHUNK == 0);
    SHARED(Stage, stage, [STAGES]);
    auto copy = [](float *to, const float *from, bool inside) { copy_async(to, from, inside); };
    int tiles_o = (g.cout + TILE_N - 1) / TILE_N, slabs = slabs_of(g), lane = threadIdx.x % 32;
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
                    load_rows_of_four(left[m],
                                      &now.a[swizzled(sums.row + 16 * m + lane % 16, k8 / CHUNK + lane / 16)]);
                sums.add(now, left, k8);
            }
        }
        sums.store(y, g, m0, o0);
        __syncthreads();
    }
}
