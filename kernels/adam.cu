// Adam. Kingma and Ba 2015, algorithm 1. With g the gradient at step t:
//
//     m <- m + (1 - beta1)(g - m)             m^ = m/(1 - beta1^t)
//     v <- v + (1 - beta2)(g^2 - v)           v^ = v/(1 - beta2^t)
//     theta <- theta - rate m^/(sqrt(v^) + eps)
//
// A thread takes an element (FOR_EACH), and one pass does it all: 4 numbers read and 3 written, where the
// formula line by line would move 20. The two powers of beta are the same for all elements: they come in as
// step = rate/(1 - beta1^t) and unbias2 = 1 - beta2^t.

extern "C" __global__ void adam(real *theta /*[n]*/, real *m /*[n]*/, real *v /*[n]*/, const real *g /*[n]*/,
                                real one_minus_beta1, real one_minus_beta2, real step, real unbias2, real eps,
                                int n) {
    FOR_EACH(i, n) {
        real mean = m[i] + one_minus_beta1 * (g[i] - m[i]);
        real square = v[i] + one_minus_beta2 * (g[i] * g[i] - v[i]);
        m[i] = mean;
        v[i] = square;
        theta[i] -= step * mean / (sqrt(square / unbias2) + eps);
    }
}
