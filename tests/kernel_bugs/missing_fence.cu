// A sum in one launch: each block leaves its part in memory, and the last block to finish adds them up.
// Bug: nothing makes the parts visible before the counter says that they are there.
// Caught by: races
extern "C" __global__ void sum_parts(const real *x, real *part, int *done, real *sum) {
    if (threadIdx.x) return;
    real mine = 0;
    for (int i = 0; i < 32; ++i) mine += x[blockIdx.x * 32 + i];
    part[blockIdx.x] = mine;
#ifndef BUG
    __threadfence();
#endif
    if (atomicAdd(done, 1) != int(gridDim.x) - 1) return;
#ifndef BUG
    __threadfence();
#endif
    real all = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) all += part[b];
    *sum = all;
}

#include "host.h"
int main() {
    std::vector<real> x = numbers(128), part(4), sum(1), want(1);
    for (real v : x) want[0] += v;
    int done = 0;
    launch<sum_parts>({4, 1, 1}, {32, 1, 1}, x.data(), part.data(), &done, sum.data());
    expect_equal(sum, want);
}
