// y = 2 x, a thread for each element of 100.
// Bug: the last block has threads beyond the end, and they write.
// Caught by: address
extern "C" __global__ void twice(const real *x, real *y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    real v = i < n ? x[i] : 0;
#ifndef BUG
    if (i < n)
#endif
        y[i] = 2 * v;
}

#include "host.h"
int main() {
    std::vector<real> x = numbers(100), y(100), want(100);
    for (int i = 0; i < 100; ++i) want[i] = 2 * x[i];
    launch<twice>({4, 1, 1}, {32, 1, 1}, x.data(), y.data(), 100);
    expect_equal(y, want);
}
