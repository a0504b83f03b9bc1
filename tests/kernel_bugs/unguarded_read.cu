// The difference of neighbours, y[i] = x[i] - x[i-1], with x[-1] = 0.
// Bug: the element before the first is read, and only afterwards replaced by zero: right on a lucky day.
// Caught by: address
extern "C" __global__ void difference(const real *x, real *y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
#ifdef BUG
    volatile real before = x[i - 1];
    y[i] = x[i] - (i > 0 ? before : 0);
#else
    y[i] = x[i] - (i > 0 ? x[i - 1] : 0);
#endif
}

#include "host.h"
int main() {
    std::vector<real> x = numbers(100), y(100), want(100);
    for (int i = 0; i < 100; ++i) want[i] = x[i] - (i ? x[i - 1] : 0);
    launch<difference>({4, 1, 1}, {32, 1, 1}, x.data(), y.data(), 100);
    expect_equal(y, want);
}
