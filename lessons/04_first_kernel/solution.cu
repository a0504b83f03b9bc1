// Lesson 4: the two derivatives of PReLU, each as a kernel.
//
//     y[r, c] = x[r, c] where x[r, c] > 0, else a[c] x[r, c]
//
// All images are one matrix: a row for each pixel, a column for each channel, in memory row after row. So element i of
// an array is in column i % channels. The engine gives g to a vjp: the derivative of the loss with respect to each
// element of y.
//
// `real` is float or double. SHARED(real, sum, [32]) is an array in shared memory, one for each block. Its contents are
// undefined until a thread writes them (kernels/common.cuh).

constexpr int THREADS = 32;  // in a block of slope_gradient

// dx[i] = the derivative of the loss with respect to x[i]; an x of 0 counts as not positive. There is a thread for each
// of the n elements, and the last block may have threads without an element.
extern "C" __global__ void prelu_backward(const real *g /*[n]*/, const real *x /*[n]*/, const real *a /*[channels]*/,
                                          real *dx /*[n]*/, int n, int channels) {
    // >>> Write dx of this thread's element
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) dx[i] = x[i] > 0 ? g[i] : a[i % channels] * g[i];
    // <<<
}

// da[c] = the derivative of the loss with respect to the negative slope a[c]. There is a block of THREADS threads for
// each channel: c is blockIdx.x. Each thread adds up some of the rows, perhaps none. Then the block adds up the sums of
// its threads as a tree, in shared memory.
extern "C" __global__ void slope_gradient(const real *g /*[rows*channels]*/, const real *x /*[rows*channels]*/,
                                          real *da /*[channels]*/, int rows, int channels) {
    SHARED(real, sum, [THREADS]);
    int t = threadIdx.x, c = blockIdx.x;
    // >>> Add up this thread's share of the rows, then the shares of the block, and write da[c]
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
