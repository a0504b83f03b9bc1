// A histogram of 8 bins, counted in shared memory.
// Bug: nobody sets the bins to zero first. Fresh memory is zero; on a GPU the last kernel's leftovers are there.
// Caught by: poison
extern "C" __global__ void histogram(const int *bin, int *count, int n) {
    SHARED(int, bins, [8]);
    int t = threadIdx.x;
#ifndef BUG
    if (t < 8) bins[t] = 0;
    __syncthreads();
#endif
    for (int i = t; i < n; i += blockDim.x) atomicAdd(&bins[bin[i]], 1);
    __syncthreads();
    if (t < 8) count[t] = bins[t];
}

#include "host.h"
int main() {
    std::vector<int> bin(100), count(8);
    std::vector<real> want(8);
    for (int i = 0; i < 100; ++i) want[bin[i] = i * i % 8]++;
    launch<histogram>({1, 1, 1}, {32, 1, 1}, bin.data(), count.data(), 100);
    expect_equal({count.begin(), count.end()}, want);
}
