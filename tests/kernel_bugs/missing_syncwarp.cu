// A tree of sums within a warp, in shared memory.
// Bug: "a warp runs in lockstep, it needs no barrier". It does not, since Volta.
// Caught by: races, forward
extern "C" __global__ void tree(const real *x, real *y) {
    SHARED(real, part, [32]);
    int t = threadIdx.x;
    part[t] = x[t];
    for (int half = 16; half > 0; half /= 2) {
#ifndef BUG
        __syncwarp();
#endif
        if (t < half) part[t] += part[t + half];
    }
    if (t == 0) y[0] = part[0];
}

#include "host.h"
int main() {
    std::vector<real> x = numbers(32), y(1), want(1);
    for (real v : x) want[0] += v;
    launch<tree>({1, 1, 1}, {32, 1, 1}, x.data(), y.data());
    expect_equal(y, want);
}
