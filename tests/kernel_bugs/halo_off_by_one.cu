// y[i] = x[i-1] + x[i] + x[i+1], zeros beyond the ends, from a tile of 64 and a halo of one on each side.
// Bug: the loop that fills the tile stops one short, and the right halo is whatever was there before.
// Caught by: poison
extern "C" __global__ void blur(const real *x, real *y, int n) {
    SHARED(real, tile, [66]);
    int t = threadIdx.x, first = blockIdx.x * 64;
#ifdef BUG
    const int width = 65;
#else
    const int width = 66;
#endif
    for (int j = t; j < width; j += 64) {
        int i = first + j - 1;
        tile[j] = i >= 0 && i < n ? x[i] : 0;
    }
    __syncthreads();
    if (first + t < n) y[first + t] = tile[t] + tile[t + 1] + tile[t + 2];
}

#include "host.h"
int main() {
    // One block: its right halo is beyond the end and should be zero, which fresh memory happens to be.
    std::vector<real> x = numbers(64), y(64), want(64);
    for (int i = 0; i < 64; ++i) want[i] = (i ? x[i - 1] : 0) + x[i] + (i < 63 ? x[i + 1] : 0);
    launch<blur>({1, 1, 1}, {64, 1, 1}, x.data(), y.data(), 64);
    expect_equal(y, want);
}
