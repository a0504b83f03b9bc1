// The exponential moving average of weights. In each step it moves a part of the way to where the weights are now:
//
//     average <- average + part (w - average)             part = 1 - decay
//
// One pass reads 2 numbers and writes 1, where the formula line by line would move 9. The difference is computed first,
// so that an average that has arrived stays where it is. A launch takes up to 128 arrays, in pieces (pieces.cuh). From
// `any`, one of them, it is known what `real` is.

#include "pieces.cuh"

struct Averages {
    long long average[128], w[128];
    int size[128], first_piece[128];
};

extern "C" __global__ void __launch_bounds__(THREADS)
ema(const __grid_constant__ Averages arrays, const real *any, real part, int count, int n_pieces) {
    REQUIRE(blockDim.x == THREADS);
    for (int number = blockIdx.x; number < n_pieces; number += gridDim.x) {
        Piece piece = find_piece(arrays, count, number);
        real *average = reinterpret_cast<real *>(arrays.average[piece.array]);
        const real *w = reinterpret_cast<const real *>(arrays.w[piece.array]);
        INDEPENDENT for (int i = piece.start + threadIdx.x; i < piece.stop; i += THREADS)
            average[i] += part * (w[i] - average[i]);
    }
}
