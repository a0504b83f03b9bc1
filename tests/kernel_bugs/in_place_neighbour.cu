// x[i] += x[i+1], each from the old values.
// Bug: in place, so whether the neighbour is old or new depends on who is faster. Forward, all are lucky.
// Caught by: reversed, shuffled, races
extern "C" __global__ void add_next(const real *x, real *y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n - 1) y[i] = x[i] + x[i + 1];
    if (i == n - 1) y[i] = x[i];
}

#include "host.h"
int main() {
    std::vector<real> x = numbers(64), y(64), want = x;
    for (int i = 0; i < 63; ++i) want[i] += x[i + 1];
#ifdef BUG
    y = x;
    launch<add_next>({1, 1, 1}, {64, 1, 1}, y.data(), y.data(), 64);
#else
    launch<add_next>({1, 1, 1}, {64, 1, 1}, x.data(), y.data(), 64);
#endif
    expect_equal(y, want);
}
