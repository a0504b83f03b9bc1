// The kernels of lesson 4. `real` is the type of the arrays, float or double; /*[...]*/ is the length of an array.

// y = x where x > 0, else a x. There is a thread for each of the n elements; element i is in column i % channels.
extern "C" __global__ void prelu(const real *x /*[n]*/, const real *a /*[channels]*/, real *y /*[n]*/, int n,
                                 int channels) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        y[i] = x[i] > 0 ? x[i] : a[i % channels] * x[i];
    }
}

// A block that records the order of its threads: turn[t][s] = the turn in which thread t came to barrier s. atomicAdd
// adds to a number that all threads share, and returns a different old value to each of them.
extern "C" __global__ void turns(int *turn /*[threads*steps]*/, int *clock /*[1]*/, int threads, int steps) {
    for (int s = 0; s < steps; ++s) {
        turn[threadIdx.x * steps + s] = atomicAdd(clock, 1);
        __syncthreads();
    }
}
