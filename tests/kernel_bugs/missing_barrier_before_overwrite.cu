// A row of sums: y[t] = the sum over all of x, in slabs of 32 that the block loads together.
// Bug: a fast thread loads the next slab while a slow one still adds up this one.
// Caught by: races, forward
extern "C" __global__ void sums(const real *x, real *y, int n) {
    SHARED(real, slab, [32]);
    int t = threadIdx.x;
    real sum = 0;
    for (int start = 0; start < n; start += 32) {
        slab[t] = x[start + t];
        __syncthreads();
        for (int i = 0; i < 32; ++i) sum += slab[i];
#ifndef BUG
        __syncthreads();
#endif
    }
    y[t] = sum;
}

#include "host.h"
int main() {
    std::vector<real> x = numbers(128), y(32), want(32);
    for (real &w : want)
        for (real v : x) w += v;
    launch<sums>({1, 1, 1}, {32, 1, 1}, x.data(), y.data(), 128);
    expect_equal(y, want);
}
