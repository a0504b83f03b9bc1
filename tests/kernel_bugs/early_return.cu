// Reverses each run of 64 numbers; the last run may be shorter.
// Bug: threads beyond the end return before the barrier that the others wait at.
// Caught by: always
extern "C" __global__ void reverse(const real *x, real *y, int n) {
    SHARED(real, tile, [64]);
    int t = threadIdx.x, first = blockIdx.x * 64, length = min(64, n - first);
#ifdef BUG
    if (t >= length) return;
    tile[t] = x[first + t];
    __syncthreads();
    y[first + t] = tile[length - 1 - t];
#else
    if (t < length) tile[t] = x[first + t];
    __syncthreads();
    if (t < length) y[first + t] = tile[length - 1 - t];
#endif
}

#include "host.h"
int main() {
    std::vector<real> x = numbers(100), y(100), want(100);
    for (int i = 0; i < 100; ++i) want[i] = i < 64 ? x[63 - i] : x[64 + 99 - i];
    launch<reverse>({2, 1, 1}, {64, 1, 1}, x.data(), y.data(), 100);
    expect_equal(y, want);
}
