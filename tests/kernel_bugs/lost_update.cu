// The sum of an array: each block adds its part to one total.
// Bug: a plain += from several blocks. Two may read the same old total, and one part is lost.
// Caught by: races
extern "C" __global__ void total(const real *x, real *sum) {
    SHARED(real, part, [32]);
    int t = threadIdx.x;
    part[t] = x[blockIdx.x * 32 + t];
    __syncthreads();
    if (t == 0) {
        real mine = 0;
        for (int i = 0; i < 32; ++i) mine += part[i];
#ifdef BUG
        *sum += mine;
#else
        atomicAdd(sum, mine);
#endif
    }
}

#include "host.h"
int main() {
    std::vector<real> x = numbers(128), sum(1), want(1);
    for (real v : x) want[0] += v;
    launch<total>({4, 1, 1}, {32, 1, 1}, x.data(), sum.data());
    expect_equal(sum, want);
}
