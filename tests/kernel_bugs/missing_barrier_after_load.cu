// Reverses each run of 64 numbers, through shared memory.
// Bug: no barrier between filling the tile and reading what another thread put there.
// Caught by: races, forward, poison
extern "C" __global__ void reverse(const real *x, real *y) {
    SHARED(real, tile, [64]);
    int t = threadIdx.x, i = blockIdx.x * 64 + t;
    tile[t] = x[i];
#ifndef BUG
    __syncthreads();
#endif
    y[i] = tile[63 - t];
}

#include "host.h"
int main() {
    std::vector<real> x = numbers(256), y(256), want(256);
    for (int i = 0; i < 256; ++i) want[i] = x[i / 64 * 64 + 63 - i % 64];
    launch<reverse>({4, 1, 1}, {64, 1, 1}, x.data(), y.data());
    expect_equal(y, want);
}
