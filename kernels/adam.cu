// Adam. Kingma and Ba 2015, algorithm 1. With g the gradient at step t:
//
//     m <- m + (1 - beta1)(g - m)             m^ = m/(1 - beta1^t)
//     v <- v + (1 - beta2)(g^2 - v)           v^ = v/(1 - beta2^t)
//     theta <- theta - rate m^/(sqrt(v^) + eps)
//
// One pass over memory does all of this: it reads 4 numbers and writes 3 for each weight, where the formula line by
// line would move 20. One launch does it for all parameters. They are cut into pieces, and blocks take the pieces in
// turn.
//
//     addresses    where each array lies in memory: first all thetas, then all ms, all vs and all gs, `count` of each
//     pieces       three numbers for each piece: which parameter it belongs to, its first element, and where it stops
//     settings     1 - beta1, 1 - beta2, rate/(1 - beta1^t), 1 - beta2^t and eps, the same for all parameters
//
// Threads.  The threads of a block take the elements of a piece, neighbours next to each other.

extern "C" __global__ void __launch_bounds__(THREADS)
adam(const long long *addresses /*[4*count]*/, const int *pieces /*[3*n_pieces]*/, const real *settings /*[5]*/,
     int count, int n_pieces) {
    REQUIRE(blockDim.x == THREADS);
    real one_minus_beta1 = settings[0], one_minus_beta2 = settings[1];
    real step = settings[2], unbias2 = settings[3], eps = settings[4];
    for (int piece = blockIdx.x; piece < n_pieces; piece += gridDim.x) {
        int array = pieces[3 * piece], start = pieces[3 * piece + 1], stop = pieces[3 * piece + 2];
        real *theta = reinterpret_cast<real *>(addresses[array]);
        real *m = reinterpret_cast<real *>(addresses[count + array]);
        real *v = reinterpret_cast<real *>(addresses[2 * count + array]);
        const real *g = reinterpret_cast<const real *>(addresses[3 * count + array]);
        INDEPENDENT for (int i = start + threadIdx.x; i < stop; i += THREADS) {
            real mean = m[i] + one_minus_beta1 * (g[i] - m[i]);
            real square = v[i] + one_minus_beta2 * (g[i] * g[i] - v[i]);
            m[i] = mean;
            v[i] = square;
            theta[i] -= step * mean / (sqrt(square / unbias2) + eps);
        }
    }
}
