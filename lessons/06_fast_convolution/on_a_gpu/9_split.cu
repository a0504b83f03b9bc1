// Step 9, on a GPU: the depth in parts.
//
// The idea: the trunk of G has 9216 x 64 outputs, 72 tiles of 128 x 64. An H100 has 132 multiprocessors, so nearly half
// of them would have nothing to do. Smaller tiles would load each number more often. So cut the depth instead: each part
// of it is a tile's work for another block, which makes sums of its own. sum_parts of kernels/elementwise.cu adds these
// up in order, so that every run gives the same bits. It costs a pass over the sums of all parts.

#include "mma.cuh"

constexpr int STAGES = 3;

extern "C" __global__ void __launch_bounds__(THREADS)
conv_split(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/,
           real *parts /*[n_parts*n*out_h*out_w*cout]*/, Geometry g, int n_parts) {
    REQUIRE(blockDim.x == THREADS && g.cin % CHUNK == 0 && g.cout % CHUNK == 0);
    SHARED(Stage, stage, [STAGES]);
    auto copy = [](float *to, const float *from, bool inside) { copy_async(to, from, inside); };
    int tiles_o = (g.cout + TILE_N - 1) / TILE_N, lane = threadIdx.x % 32;
    for (int work = blockIdx.x; work < tiles_of(g) * n_parts; work += gridDim.x) {
        int tile = work % tiles_of(g), part = work / tiles_of(g), length = (slabs_of(g) + n_parts - 1) / n_parts;
        int m0 = tile / tiles_o * TILE_M, o0 = tile % tiles_o * TILE_N;
        int first = min(part * length, slabs_of(g)), slabs = min(length, slabs_of(g) - first);
        auto begin = [&](int slab) {
            if (slab < slabs) load_slab(stage[slab % STAGES], g, x, w, m0, o0, first + slab, copy);
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
        sums.store(parts + (long long)part * pixels_of(g) * g.cout, g, m0, o0);
        __syncthreads();
    }
}
