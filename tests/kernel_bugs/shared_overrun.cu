// A 16 x 16 transpose through shared memory, the rows padded to 17 against bank conflicts.
// Bug: the indices know of the padding, and the array does not.
// Caught by: address
extern "C" __global__ void transpose(const real *x, real *y) {
#ifdef BUG
    SHARED(real, tile, [16 * 16]);
#else
    SHARED(real, tile, [16 * 17]);
#endif
    int column = threadIdx.x, row = threadIdx.y;
    real *shared = tile;
    shared[row * 17 + column] = x[row * 16 + column];
    __syncthreads();
    y[row * 16 + column] = shared[column * 17 + row];
}

#include "host.h"
int main() {
    std::vector<real> x = numbers(256), y(256), want(256);
    for (int i = 0; i < 256; ++i) want[i] = x[i % 16 * 16 + i / 16];
    launch<transpose>({1, 1, 1}, {16, 16, 1}, x.data(), y.data());
    expect_equal(y, want);
}
