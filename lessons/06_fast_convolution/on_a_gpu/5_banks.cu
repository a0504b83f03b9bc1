// Step 5, on a GPU: no bank conflicts.
//
// The idea: shared memory has 32 banks of 4 bytes, and delivers one word of each bank at a time, a wavefront. In step 4
// the four rows of A that a warp reads lie 512 bytes apart, in the same bank: each load takes four wavefronts instead of
// one. Here the numbers lie so that no two words of a load are in one bank (swizzled in tile.cuh). They are loaded 16
// bytes at a time, A's along the depth, so that a load serves four steps of it.
//
// While a slab is loaded nobody multiplies, and while it is multiplied nothing is loaded.

#include "fma.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
conv_banks(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/,
           real *y /*[n*out_h*out_w*cout]*/, Geometry g) {
    REQUIRE(blockDim.x == THREADS && g.cin % CHUNK == 0 && g.cout % CHUNK == 0);
    SHARED(Stage, stage, [1]);
    auto copy = [](float *to, const float *from, bool inside) {
        (inside ? V::load(from) : V::broadcast(0)).store(to);
    };
    int tiles_o = (g.cout + TILE_N - 1) / TILE_N;
    for (int tile = blockIdx.x; tile < tiles_of(g); tile += gridDim.x) {
        int m0 = tile / tiles_o * TILE_M, o0 = tile % tiles_o * TILE_N;
        Sums sums;
        for (int slab = 0; slab < slabs_of(g); ++slab) {
            load_slab(stage[0], g, x, w, m0, o0, slab, copy);
            __syncthreads();
            sums.add(stage[0]);
            __syncthreads();
        }
        sums.store(y, g, m0, o0);
    }
}
