// The sum of each block's 64 numbers.
// Bug: all threads add to one shared number at once. Taking turns, as on a CPU, each addition is whole.
// Caught by: races
extern "C" __global__ void sums(const real *x, real *y) {
    SHARED(real, sum, [1]);
    int t = threadIdx.x;
    if (t == 0) sum[0] = 0;
    __syncthreads();
#ifdef BUG
    sum[0] += x[blockIdx.x * 64 + t];
#else
    atomicAdd(&sum[0], x[blockIdx.x * 64 + t]);
#endif
    __syncthreads();
    if (t == 0) y[blockIdx.x] = sum[0];
}

#include "host.h"
int main() {
    std::vector<real> x = numbers(128), y(2), want(2);
    for (int i = 0; i < 128; ++i) want[i / 64] += x[i];
    launch<sums>({2, 1, 1}, {64, 1, 1}, x.data(), y.data());
    expect_equal(y, want);
}
