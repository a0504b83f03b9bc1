// The kernels of lesson 4. `real` is float or double, as the arrays are; /*[...]*/ says how long each of them is.

// y = x where x > 0, else a x. A thread for each of the n elements; element i is in column i % channels.
extern "C" __global__ void prelu(const real *x /*[n]*/, const real *a /*[channels]*/, real *y /*[n]*/, int n,
                                 int channels) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        y[i] = x[i] > 0 ? x[i] : a[i % channels] * x[i];
    }
}

// A block that takes notes: turn[t][s] = when thread t came to barrier s. atomicAdd adds to a number that all threads
// share, and gives each of them another old value.
extern "C" __global__ void turns(int *turn /*[threads*steps]*/, int *clock /*[1]*/, int threads, int steps) {
    for (int s = 0; s < steps; ++s) {
        turn[threadIdx.x * steps + s] = atomicAdd(clock, 1);
        __syncthreads();
    }
}
