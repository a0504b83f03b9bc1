// y = x + the mean of its slab of 64, the slabs copied asynchronously, one ahead of the one at work.
// Bug: waits for all but two groups instead of all but one: the slab at work may still be under way.
// Caught by: late
extern "C" __global__ void add_mean(const real *x, real *y, int slabs) {
    SHARED(real, slab, [2][64]);
    int t = threadIdx.x;  // 16 threads, four numbers each
    copy_async(&slab[0][4 * t], x + 4 * t);
    copy_async_commit();
    for (int s = 0; s < slabs; ++s) {
        bool more = s + 1 < slabs;
        copy_async(&slab[(s + 1) % 2][4 * t], more ? x + 64 * (s + 1) + 4 * t : x, more);
        copy_async_commit();
#ifdef BUG
        copy_async_wait<2>();
#else
        copy_async_wait<1>();
#endif
        __syncthreads();
        real sum = 0;
        for (int i = 0; i < 64; ++i) sum += slab[s % 2][i];
        for (int i = 4 * t; i < 4 * t + 4; ++i) y[64 * s + i] = slab[s % 2][i] + sum / 64;
        __syncthreads();
    }
}

#include "host.h"
int main() {
    std::vector<real> x = numbers(256), y(256), want = x;
    for (int s = 0; s < 4; ++s) {
        real sum = 0;
        for (int i = 0; i < 64; ++i) sum += x[64 * s + i];
        for (int i = 0; i < 64; ++i) want[64 * s + i] += sum / 64;
    }
    launch<add_mean>({1, 1, 1}, {16, 1, 1}, x.data(), y.data(), 4);
    expect_equal(y, want);
}
