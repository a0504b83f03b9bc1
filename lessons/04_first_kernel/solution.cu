// Lesson 4: the two derivatives of PReLU, each as a kernel.
//
//     y[r, c] = x[r, c] where x[r, c] > 0, else a[c] x[r, c]
//
// All images are one matrix: a row for each pixel, a column for each channel, in memory row after row. So element i of
// an array is in column i % channels. g is what the engine hands to a vjp: the derivative of the loss in each element
// of y.
//
// `real` is float or double. SHARED(real, sum, [32]) is an array in shared memory: one for each block, in which nothing
// is to be found before somebody writes it (kernels/common.cuh).

constexpr int THREADS = 32;  // of a block of slope_gradient

// dx[i] = the derivative of the loss in x[i]; where x is 0 it counts as not positive. A thread for each of the n
// elements, and as many more as fill the last block.
extern "C" __global__ void prelu_backward(const real *g /*[n]*/, const real *x /*[n]*/, const real *a /*[channels]*/,
                                          real *dx /*[n]*/, int n, int channels) {
    // >>> Write dx of this thread's element
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) dx[i] = x[i] > 0 ? g[i] : a[i % channels] * g[i];
    // <<<
}

// da[c] = the derivative of the loss in the slope a[c]. A block of THREADS threads for each channel: c is blockIdx.x.
// Each thread sums up some of the rows, as many as there are; then the threads' sums are added up as a tree, in shared
// memory.
extern "C" __global__ void slope_gradient(const real *g /*[rows*channels]*/, const real *x /*[rows*channels]*/,
                                          real *da /*[channels]*/, int rows, int channels) {
    SHARED(real, sum, [THREADS]);
    int t = threadIdx.x, c = blockIdx.x;
    // >>> Sum up a share of the rows, add up the block's shares, and write da[c]
    real mine = 0;
    for (int r = t; r < rows; r += THREADS) {
        int i = r * channels + c;
        if (!(x[i] > 0)) mine += g[i] * x[i];
    }
    sum[t] = mine;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (t < half) sum[t] += sum[t + half];
    }
    if (t == 0) da[c] = sum[0];
    // <<<
}
