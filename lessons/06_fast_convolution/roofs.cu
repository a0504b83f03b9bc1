// Kernels that measure the most a processor can do. They multiply and add without loading anything, or load with just
// enough arithmetic to keep the compiler from removing the loads. measure.py times them.
//
// They run as one block of one thread: these are the roofs of one core.

typedef Vec<LANES> V;

// One sum: each addition waits for the one before it. 2 * count operations.
extern "C" __global__ void one_sum(const real *x /*[64]*/, real *out /*[64]*/, int count) {
    real sum = 0, factor = x[0];
    for (int i = 0; i < count; ++i) sum += factor * x[i % 64];
    out[0] = sum;
}

// SUMS sums of one vector each; none of them waits for another. 2 * SUMS * LANES * count operations, nothing loaded.
constexpr int SUMS = 24;
extern "C" __global__ void many_sums(const real *x /*[64]*/, real *out /*[64]*/, int count) {
    V sum[SUMS], factor = V::load(x);
    UNROLL for (int s = 0; s < SUMS; ++s) sum[s] = V::broadcast(x[s]);
    for (int i = 0; i < count; ++i) {
        UNROLL for (int s = 0; s < SUMS; ++s) sum[s].fma(sum[s], factor);
    }
    V total = sum[0];
    UNROLL for (int s = 1; s < SUMS; ++s) total = total + sum[s];
    total.store(out);
}

// Reads x `count` times: n * count numbers loaded.
extern "C" __global__ void read_again(const real *x /*[n]*/, real *out /*[64]*/, int n, int count) {
    V sum[8];
    UNROLL for (int s = 0; s < 8; ++s) sum[s] = V::broadcast(0);
    for (int again = 0; again < count; ++again)
        for (int i = 0; i + 8 * LANES <= n; i += 8 * LANES) {
            UNROLL for (int s = 0; s < 8; ++s) sum[s] = sum[s] + V::load(x + i + s * LANES);
        }
    V total = sum[0];
    UNROLL for (int s = 1; s < 8; ++s) total = total + sum[s];
    total.store(out);
}
