// A hash of each index, to dither with: its products do not fit into 32 bits.
// Bug: signed overflow, which the language leaves undefined; unsigned numbers wrap around.
// Caught by: address
extern "C" __global__ void dither(real *y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
#ifdef BUG
    int hash = i * 1103515245 + 12345;
    y[i] = hash >> 16 & 255;
#else
    unsigned hash = i * 1103515245u + 12345u;
    y[i] = hash >> 16 & 255;
#endif
}

#include "host.h"
int main() {
    std::vector<real> y(100), want(100);
    for (int i = 0; i < 100; ++i) want[i] = (i * 1103515245u + 12345u) >> 16 & 255;
    launch<dither>({4, 1, 1}, {32, 1, 1}, y.data(), 100);
    expect_equal(y, want);
}
