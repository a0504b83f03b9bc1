// Step 6, on a GPU: a pipeline of copies.
//
// The idea: memory takes hundreds of cycles to answer. So ask early. Shared memory has STAGES slabs. While one of them
// is multiplied, the next ones are on their way: cp.async copies 16 bytes from global to shared memory, without passing
// through a register, while the thread goes on. A thread's copies are gathered in groups, one for each slab, and
// `copy_async_wait<n>` waits until all but its last n groups are there.
//
// One barrier for each slab is enough. After it, the slab has arrived for all threads, and all of them are done with the
// slab before, into whose place the next copies go.

#include "fma.cuh"

constexpr int STAGES = 3;

extern "C" __global__ void __launch_bounds__(THREADS, 2)
conv_pipelined(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/,
               real *y /*[n*out_h*out_w*cout]*/, Geometry g) {
    REQUIRE(blockDim.x == THREADS && g.cin % CHUNK == 0 && g.cout % CHUNK == 0);
    SHARED(Stage, stage, [STAGES]);
    auto copy = [](float *to, const float *from, bool inside) { copy_async(to, from, inside); };
    int tiles_o = (g.cout + TILE_N - 1) / TILE_N, slabs = slabs_of(g);
    for (int tile = blockIdx.x; tile < tiles_of(g); tile += gridDim.x) {
        int m0 = tile / tiles_o * TILE_M, o0 = tile % tiles_o * TILE_N;
        auto begin = [&](int slab) {
            if (slab < slabs) load_slab(stage[slab % STAGES], g, x, w, m0, o0, slab, copy);
            copy_async_commit();  // a group for each slab, empty if there is none
        };
        Sums sums;
        for (int slab = 0; slab < STAGES - 1; ++slab) begin(slab);
        for (int slab = 0; slab < slabs; ++slab) {
            copy_async_wait<STAGES - 2>();
            __syncthreads();
            begin(slab + STAGES - 1);
            sums.add(stage[slab % STAGES]);
        }
        sums.store(y, g, m0, o0);
        __syncthreads();  // all are done with this tile's slabs
    }
}
