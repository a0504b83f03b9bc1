// Max pooling over squares of SIZE x SIZE pixels that do not overlap, on NHWC arrays: (N, H, W, C) -> (N, H', W', C)
// with H' = H / SIZE rounded down. Rows and columns that fill no square are left out.
//
//     y[n, p, q, c] = the largest x[n, p SIZE + i, q SIZE + j, c];  chosen[n, p, q, c] = its i SIZE + j
//
// The derivative sends each g to the number that was chosen: `place`. Its adjoint is `pick`.
//
// Threads.  Neighbours (threadIdx.x) take neighbouring channels of an output pixel. The rows of a block (threadIdx.y),
// and the blocks, share the pixels.
//
// Memory traffic.  Every number is read once and written once.

// Variants: SIZE=2

// Where the square of an output pixel begins in x.
__device__ __forceinline__ long long corner_of(int pixel, int height, int width, int channels) {
    int out_h = height / SIZE, out_w = width / SIZE;
    int q = pixel % out_w, p = pixel / out_w % out_h, n = pixel / out_w / out_h;
    return (((long long)n * height + p * SIZE) * width + q * SIZE) * channels;
}

// How far pixel number `which` of a square is from its first one.
__device__ __forceinline__ long long step_to(int which, int width, int channels) {
    return ((long long)(which / SIZE) * width + which % SIZE) * channels;
}

// y and chosen may be null. Of equal numbers the first one is chosen, and a NaN before any number.
extern "C" __global__ void max_pool(const real *x, real *y /*[pixels*channels]*/, int *chosen /*[pixels*channels]*/,
                                    int pixels, int height, int width, int channels, int pixels_per_block) {
    REQUIRE((long long)gridDim.x * pixels_per_block >= pixels);
    int first = blockIdx.x * pixels_per_block, count = min(pixels_per_block, pixels - first);
    for (int k = threadIdx.y; k < count; k += blockDim.y) {
        const real *square = x + corner_of(first + k, height, width, channels);
        long long to = (long long)(first + k) * channels;
        INDEPENDENT for (int c = threadIdx.x; c < channels; c += blockDim.x) {
            real best = square[c];
            int best_number = 0;
            for (int which = 1; which < SIZE * SIZE; ++which) {
                real value = square[step_to(which, width, channels) + c];
                bool better = !(value <= best) & (best == best);
                best = better ? value : best;
                best_number = better ? which : best_number;
            }
            if (y) y[to + c] = best;
            if (chosen) chosen[to + c] = best_number;
        }
    }
}

// y = the number of x that was chosen in each square.
extern "C" __global__ void pick(const real *x, const int *chosen /*[pixels*channels]*/, real *y /*[pixels*channels]*/,
                                int pixels, int height, int width, int channels, int pixels_per_block) {
    REQUIRE((long long)gridDim.x * pixels_per_block >= pixels);
    int first = blockIdx.x * pixels_per_block, count = min(pixels_per_block, pixels - first);
    for (int k = threadIdx.y; k < count; k += blockDim.y) {
        const real *square = x + corner_of(first + k, height, width, channels);
        long long to = (long long)(first + k) * channels;
        for (int c = threadIdx.x; c < channels; c += blockDim.x)
            y[to + c] = square[step_to(chosen[to + c], width, channels) + c];
    }
}

// dx = g where a number was chosen in each square. The rest of dx stays as it is: fill it with zeros first.
extern "C" __global__ void place(const real *g /*[pixels*channels]*/, const int *chosen /*[pixels*channels]*/, real *dx,
                                 int pixels, int height, int width, int channels, int pixels_per_block) {
    REQUIRE((long long)gridDim.x * pixels_per_block >= pixels);
    int first = blockIdx.x * pixels_per_block, count = min(pixels_per_block, pixels - first);
    for (int k = threadIdx.y; k < count; k += blockDim.y) {
        real *square = dx + corner_of(first + k, height, width, channels);
        long long from = (long long)(first + k) * channels;
        for (int c = threadIdx.x; c < channels; c += blockDim.x)
            square[step_to(chosen[from + c], width, channels) + c] = g[from + c];
    }
}
