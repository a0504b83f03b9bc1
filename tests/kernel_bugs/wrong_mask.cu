// The sum of the first 16 lanes, by shuffles.
// Bug: the mask names all 32 lanes, half of which are not here to take part.
// Caught by: always
extern "C" __global__ void half_warp(const real *x, real *y) {
    int t = threadIdx.x;
    if (t >= 16) return;
#ifdef BUG
    const unsigned mask = 0xffffffffu;
#else
    const unsigned mask = 0x0000ffffu;
#endif
    real sum = x[t];
    for (int step = 8; step > 0; step /= 2) sum += __shfl_xor_sync(mask, sum, step);
    y[t] = sum;
}

#include "host.h"
int main() {
    std::vector<real> x = numbers(32), y(16), want(16);
    for (real &w : want)
        for (int i = 0; i < 16; ++i) w += x[i];
    launch<half_warp>({1, 1, 1}, {32, 1, 1}, x.data(), y.data());
    expect_equal(y, want);
}
