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
        out[0] = sqrt(total[0]);
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
