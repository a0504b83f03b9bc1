// Reverses each run of `width` numbers, through shared memory whose size the launch decides.
// Bug: the launch asks for `width` bytes, not for `width` numbers.
// Caught by: address
extern "C" __global__ void reverse(const real *x, real *y) {
    SHARED_DYNAMIC(real, tile);
    int t = threadIdx.x, width = blockDim.x, first = blockIdx.x * width;
    tile[t] = x[first + t];
    __syncthreads();
    y[first + t] = tile[width - 1 - t];
}

#include "host.h"
int main() {
    std::vector<real> x = numbers(256), y(256), want(256);
    for (int i = 0; i < 256; ++i) want[i] = x[i / 64 * 64 + 63 - i % 64];
#ifdef BUG
    shared_bytes = 64;
#else
    shared_bytes = 64 * sizeof(real);
#endif
    launch<reverse>({4, 1, 1}, {64, 1, 1}, x.data(), y.data());
    expect_equal(y, want);
}
