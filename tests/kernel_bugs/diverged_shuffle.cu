// Each lane adds its right neighbour's number, where there is one.
// Bug: the shuffle is inside the condition, so the last lane, which the mask names, waits elsewhere.
// Caught by: always
extern "C" __global__ void neighbour(const real *x, real *y) {
    int t = threadIdx.x;
    real sum = x[t];
#ifdef BUG
    if (t < 31) sum += __shfl_down_sync(0xffffffffu, x[t], 1);
#else
    real right = __shfl_down_sync(0xffffffffu, x[t], 1);
    if (t < 31) sum += right;
#endif
    __syncthreads();
    y[t] = sum;
}

#include "host.h"
int main() {
    std::vector<real> x = numbers(32), y(32), want(32);
    for (int t = 0; t < 32; ++t) want[t] = x[t] + (t < 31 ? x[t + 1] : 0);
    launch<neighbour>({1, 1, 1}, {32, 1, 1}, x.data(), y.data());
    expect_equal(y, want);
}
