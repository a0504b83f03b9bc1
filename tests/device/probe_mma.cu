// What one instruction of mma.cuh does with a warp's registers, as they come and go: for test_mma.py.

#include "../../kernels/mma.cuh"

// d += a b: number i of lane l is number 4 l + i of a and d, and number 2 l + i of b.
template <class Multiply>
__device__ void probe(const unsigned *a, const unsigned *b, real *d, Multiply multiply) {
    int lane = threadIdx.x;
    Fragment left = {a[4 * lane], a[4 * lane + 1], a[4 * lane + 2], a[4 * lane + 3]};
    unsigned right[2] = {b[2 * lane], b[2 * lane + 1]};
    float sums[4] = {float(d[4 * lane]), float(d[4 * lane + 1]), float(d[4 * lane + 2]), float(d[4 * lane + 3])};
    multiply(sums, left, right);
    for (int i = 0; i < 4; ++i) d[4 * lane + i] = sums[i];
}

extern "C" __global__ void probe_tf32(const unsigned *a /*[128]*/, const unsigned *b /*[64]*/, real *d /*[128]*/) {
    probe(a, b, d, [](float (&d)[4], const Fragment &a, const unsigned *b) { multiply_tf32(d, a, b); });
}

extern "C" __global__ void probe_bf16(const unsigned *a /*[128]*/, const unsigned *b /*[64]*/, real *d /*[128]*/) {
    probe(a, b, d, [](float (&d)[4], const Fragment &a, const unsigned *b) { multiply_bf16(d, a, b); });
}

// Lane l gives the address of row l of the 32 rows of four numbers, and stores the four that it gets.
extern "C" __global__ void probe_ldmatrix(const float *x /*[128]*/, unsigned *registers /*[128]*/) {
    SHARED(float, rows, [32][4]);
    int lane = threadIdx.x;
    for (int i = 0; i < 4; ++i) rows[lane][i] = x[4 * lane + i];
    __syncthreads();
    Fragment got;
    load_rows_of_four(got, rows[lane]);
    for (int i = 0; i < 4; ++i) registers[4 * lane + i] = got[i];
}

// x rounded to TF32, and each two numbers of x to a pair of bf16.
extern "C" __global__ void probe_rounding(const float *x /*[n]*/, unsigned *tf32 /*[n]*/, unsigned *pairs /*[n/2]*/, int n) {
    for (int i = threadIdx.x; i < n; i += 32) tf32[i] = as_tf32(x[i]);
    for (int i = threadIdx.x; i < n / 2; i += 32) pairs[i] = as_bf16_pair(x[2 * i], x[2 * i + 1]);
}
