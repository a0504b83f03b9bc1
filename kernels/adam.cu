// Adam. Kingma and Ba 2015, algorithm 1. With g the gradient at step t:
//
//     m <- m + (1 - beta1)(g - m)             m^ = m/(1 - beta1^t)
//     v <- v + (1 - beta2)(g^2 - v)           v^ = v/(1 - beta2^t)
//     theta <- theta - rate m^/(sqrt(v^) + eps)
//
// One pass over memory does all of this: it reads 4 numbers and writes 3 for each weight, where the formula line by
// line would move 20. A launch does it for up to 96 parameters, which are cut into pieces (pieces.cuh).
//
//     settings     1 - beta1, 1 - beta2, rate/(1 - beta1^t), 1 - beta2^t and eps, the same for all parameters. They lie
//                  in memory, so that the same launch can be repeated for another step.
//     fault        if it is not null and not 0, something is no longer finite, and no step is taken
//
// Threads.  The threads of a block take the elements of a piece, neighbours next to each other.

#include "pieces.cuh"

struct Parameters {
    long long theta[96], m[96], v[96], g[96];
    int size[96], first_piece[96];
};

extern "C" __global__ void __launch_bounds__(THREADS)
adam(const __grid_constant__ Parameters arrays, const real *settings /*[5]*/, const int *fault, int count,
     int n_pieces) {
    REQUIRE(blockDim.x == THREADS);
    if (fault && *fault) return;
    real one_minus_beta1 = settings[0], one_minus_beta2 = settings[1];
    real step = settings[2], unbias2 = settings[3], eps = settings[4];
    for (int number = blockIdx.x; number < n_pieces; number += gridDim.x) {
        Piece piece = find_piece(arrays, count, number);
        real *theta = reinterpret_cast<real *>(arrays.theta[piece.array]);
        real *m = reinterpret_cast<real *>(arrays.m[piece.array]);
        real *v = reinterpret_cast<real *>(arrays.v[piece.array]);
        const real *g = reinterpret_cast<const real *>(arrays.g[piece.array]);
        INDEPENDENT for (int i = piece.start + threadIdx.x; i < piece.stop; i += THREADS) {
            real mean = m[i] + one_minus_beta1 * (g[i] - m[i]);
            real square = v[i] + one_minus_beta2 * (g[i] * g[i] - v[i]);
            m[i] = mean;
            v[i] = square;
            theta[i] -= step * mean / (sqrt(square / unbias2) + eps);
        }
    }
}

// settings = these five numbers: the arguments of a launch are the cheapest way for a few numbers to the device.
extern "C" __global__ void fill_settings(real *settings /*[5]*/, real a, real b, real c, real d, real e) {
    if (threadIdx.x) return;
    settings[0] = a, settings[1] = b, settings[2] = c, settings[3] = d, settings[4] = e;
}
