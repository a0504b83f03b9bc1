// What a training step measures. The numbers stay on the device, so that no step waits for them.

#include "last_block.cuh"
#include "pieces.cuh"

// ---- The length of many arrays as one vector ------------------------------------------------------------

struct Vectors {
    long long at[192];
    int size[192], first_piece[192];
};

// out = the square root of the sum of the squares of all numbers of all arrays, and of *before, if it is not null, which
// is the sum from an earlier launch. Reads each number once. Each block adds up the squares of a piece (pieces.cuh). The
// last block to finish adds up the sums of all pieces, in an order that is always the same. *tickets counts the blocks
// that have finished; it is 0 before the launch and after it.
extern "C" __global__ void __launch_bounds__(THREADS)
length(const __grid_constant__ Vectors arrays, const double *before, double *sums /*[n_pieces]*/,
       double *total /*[1]*/, real *out /*[1]*/, unsigned *tickets, int count, int n_pieces) {
    REQUIRE(blockDim.x == THREADS);
    SHARED(double, part, [THREADS]);
    auto fold = [&](double mine) {  // the sum over the threads of the block, in part[0]
        part[threadIdx.x] = mine;
        for (int half = THREADS / 2; half > 0; half /= 2) {
            __syncthreads();
            if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
        }
        __syncthreads();
    };
    for (int number = blockIdx.x; number < n_pieces; number += gridDim.x) {
        Piece piece = find_piece(arrays, count, number);
        const real *x = reinterpret_cast<const real *>(arrays.at[piece.array]);
        double square = 0;
        for (int i = piece.start + threadIdx.x; i < piece.stop; i += THREADS) square += double(x[i]) * x[i];
        fold(square);
        if (threadIdx.x == 0) sums[number] = part[0];
        __syncthreads();
    }
    if (!is_last(tickets, gridDim.x)) return;
    double square = 0;
    for (int number = threadIdx.x; number < n_pieces; number += THREADS) square += sums[number];
    fold(square);
    if (threadIdx.x == 0) {
        total[0] = part[0] + (before ? *before : 0);
        real squares = total[0];  // infinite where Adam's square of a number would be
        out[0] = squares - squares == 0 ? sqrt(total[0]) : squares;
    }
}

// ---- The board, on which numbers wait for the host ------------------------------------------------------

struct Numbers {
    long long at[32];
    int size[32], to[32], checked[32];
};

// Copy small arrays into the board's row of this step, each from column `to` on. state[0] counts the numbers that had to
// be finite and were not; state[1] counts the steps, and `ends` says that this one is over.
// Threads.  One block. Each thread takes an array.
extern "C" __global__ void note(const __grid_constant__ Numbers numbers, real *board /*[rows*width]*/,
                                int *state /*[2]*/, int count, int ends, int rows, int width) {
    REQUIRE(gridDim.x == 1 && count <= blockDim.x);
    int step = state[1];
    if (threadIdx.x < count) {
        const real *from = reinterpret_cast<const real *>(numbers.at[threadIdx.x]);
        real *to = board + (long long)(step % rows) * width + numbers.to[threadIdx.x];
        for (int i = 0; i < numbers.size[threadIdx.x]; ++i) {
            to[i] = from[i];
            bool finite = from[i] - from[i] == 0;
            if (numbers.checked[threadIdx.x] && !finite) atomicAdd(&state[0], 1);
        }
    }
    __syncthreads();  // all threads have read the step's number
    if (ends && threadIdx.x == 0) state[1] = step + 1;
}

// ---- Weights by share (minisrgan/measures.py has the formula) --------------------------------------------

// state: the mean of the ratios, its first value, and the number of steps. A single thread.
extern "C" __global__ void follow_ratio(const real *content /*[1]*/, const real *length /*[1]*/,
                                        double *state /*[3]*/, real *mean_ratio /*[1]*/, double memory, double jump,
                                        double range, double largest) {
    if (threadIdx.x) return;
    double c = *content, t = *length, steps = state[2];
    *mean_ratio = 0;
    if (steps == 0 && (c == 0 || t == 0)) return;  // nothing to compare yet
    double ratio = t != 0 ? fmin(c / t, largest) : largest;
    double mean = steps == 0 ? ratio : state[0], first = steps == 0 ? ratio : state[1];
    ratio = fmax(mean / jump, fmin(ratio, mean * jump));
    mean += (ratio - mean) / fmin(steps + 1, memory);
    mean = fmax(first / range, fmin(mean, first * range));
    state[0] = mean, state[1] = first, state[2] = steps + 1;
    *mean_ratio = mean;
}

// ---- How images differ from the bicubic enlargement (minisrgan/measures.py has the formulas) --------------------------

// With x = sr - (2 bicubic - 1) and y the same of hr: of each image and channel the sums of x, x^2, y and y^2, and those of
// the sum of all images. The last block makes the results of them: what is less its mean has squares of
// sum x^2 - (sum x)^2 / pixels. Sums are double, so that little is lost to that difference.
//
// Threads.  blockIdx.y says which image; after the last one, the sum of all images. A block takes `run` numbers of it, a
// multiple of THREADS. THREADS is a multiple of the channels, so a thread keeps its channel.
extern "C" __global__ void __launch_bounds__(IMAGE_THREADS)
image_moments(const real *bicubic /*[images*size]*/, const real *hr /*[images*size]*/, const real *sr /*[images*size]*/,
              double *parts, real *out /*[4]*/, unsigned *tickets, int images, int size, int channels, int run) {
    REQUIRE(blockDim.x == IMAGE_THREADS && IMAGE_THREADS % channels == 0 && run % IMAGE_THREADS == 0);
    REQUIRE((long long)gridDim.x * run >= size && gridDim.y == images + 1 && 4 * channels <= IMAGE_THREADS);
    SHARED(double, sum, [4][IMAGE_THREADS]);
    int first = blockIdx.y < images ? blockIdx.y : 0, end = blockIdx.y < images ? blockIdx.y + 1 : images;
    double sums[4] = {};
    int stop = min(blockIdx.x * run + run, size);
    for (int i = blockIdx.x * run + threadIdx.x; i < stop; i += IMAGE_THREADS) {
        double x = 0, y = 0;
        for (int image = first; image < end; ++image) {
            long long at = (long long)image * size + i;
            double low = 2 * double(bicubic[at]) - 1;
            x += sr[at] - low;
            y += hr[at] - low;
        }
        sums[0] += x, sums[1] += x * x, sums[2] += y, sums[3] += y * y;
    }
    UNROLL for (int k = 0; k < 4; ++k) sum[k][threadIdx.x] = sums[k];
    __syncthreads();
    // parts: (images + 1, gridDim.x, 4, channels). A thread adds up one of the four sums of a channel.
    if (threadIdx.x < 4 * channels) {
        int k = threadIdx.x / channels;
        double total = 0;
        for (int t = threadIdx.x % channels; t < IMAGE_THREADS; t += channels) total += sum[k][t];
        parts[((long long)blockIdx.y * gridDim.x + blockIdx.x) * 4 * channels + threadIdx.x] = total;
    }
    if (!is_last(tickets, gridDim.x * gridDim.y)) return;
    // A thread takes an image's channel: of the images, and then of their sum.
    double power = 0, wanted = 0, shared = 0, pixels = size / channels;
    for (int j = threadIdx.x; j < (images + 1) * channels; j += IMAGE_THREADS) {
        int image = j / channels, c = j % channels;
        double total[4] = {};
        for (int part = 0; part < gridDim.x; ++part)
            UNROLL for (int k = 0; k < 4; ++k)
                total[k] += parts[((long long)image * gridDim.x + part) * 4 * channels + k * channels + c];
        double a = total[1] - total[0] * total[0] / pixels, b = total[3] - total[2] * total[2] / pixels;
        if (image < images) power += a, wanted += b;
        else shared += a, sum[3][c] = total[0];
    }
    __syncthreads();
    double drift = 0;
    for (int c = 0; c < channels; ++c) drift = fmax(drift, fabs(sum[3][c]) / pixels / images);
    __syncthreads();
    sum[0][threadIdx.x] = power, sum[1][threadIdx.x] = wanted, sum[2][threadIdx.x] = shared;
    __syncthreads();
    if (threadIdx.x < 3) {
        double total = 0;
        for (int t = 0; t < IMAGE_THREADS; ++t) total += sum[threadIdx.x][t];
        out[threadIdx.x] = total;
    }
    if (threadIdx.x == 3) out[3] = 127.5 * drift;
}
