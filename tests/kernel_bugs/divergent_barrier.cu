// Two halves of a block prepare two tables, and then each thread reads from both.
// Bug: a barrier in each branch. They are two different barriers: on a GPU the block may hang, or go on too early.
// Caught by: always
extern "C" __global__ void tables(real *y) {
    SHARED(real, low, [32]);
    SHARED(real, high, [32]);
    int t = threadIdx.x;
#ifdef BUG
    if (t < 32) {
        low[t] = t;
        __syncthreads();
    } else {
        high[t - 32] = 100 * t;
        __syncthreads();
    }
#else
    if (t < 32) low[t] = t;
    else high[t - 32] = 100 * t;
    __syncthreads();
#endif
    y[t] = low[t % 32] + high[31 - t % 32];
}

#include "host.h"
int main() {
    std::vector<real> y(64), want(64);
    for (int t = 0; t < 64; ++t) want[t] = t % 32 + 100 * (63 - t % 32);
    launch<tables>({1, 1, 1}, {64, 1, 1}, y.data());
    expect_equal(y, want);
}
