// Operations on each number by itself.
//
// Threads.  FOR_EACH (common.cuh) distributes the elements: neighbours in memory are neighbours in a warp, or in a
// vector register.
//
// Memory traffic.  Each kernel passes once over its arrays, and this is what takes its time. An addition costs nothing
// compared with the 12 bytes that it moves.

// z = x + y
extern "C" __global__ void add(const real *x /*[n]*/, const real *y /*[n]*/, real *z /*[n]*/, int n) {
    FOR_EACH(i, n) z[i] = x[i] + y[i];
}

// y = factor x
extern "C" __global__ void scale(const real *x /*[n]*/, real factor, real *y /*[n]*/, int n) {
    FOR_EACH(i, n) y[i] = factor * x[i];
}

// y = u where x > 0, else v
extern "C" __global__ void where_positive(const real *x /*[n]*/, const real *u /*[n]*/, const real *v /*[n]*/,
                                          real *y /*[n]*/, int n) {
    FOR_EACH(i, n) y[i] = x[i] > 0 ? u[i] : v[i];
}

// y = max(x, 0). NaN stays NaN, so that somebody notices it.
extern "C" __global__ void relu_forward(const real *x /*[n]*/, real *y /*[n]*/, int n) {
    FOR_EACH(i, n) y[i] = x[i] <= 0 ? 0 : x[i];
}

// y = x where x > 0, else negative_slope x
extern "C" __global__ void leaky_relu_forward(const real *x /*[n]*/, real negative_slope, real *y /*[n]*/, int n) {
    FOR_EACH(i, n) y[i] = x[i] > 0 ? x[i] : negative_slope * x[i];
}

// dx = g where x > 0, else negative_slope g
extern "C" __global__ void leaky_relu_backward(const real *g /*[n]*/, const real *x /*[n]*/, real negative_slope,
                                               real *dx /*[n]*/, int n) {
    FOR_EACH(i, n) dx[i] = x[i] > 0 ? g[i] : negative_slope * g[i];
}

// y = 1/(1 + e^-x) = e^min(x, 0)/(1 + e^-|x|). No power of e is above 1 here, so none overflows. For x << 0 the
// numerator keeps all the digits that 1 - sigmoid(-x) would lose.
extern "C" __global__ void sigmoid(const real *x /*[n]*/, real *y /*[n]*/, int n) {
    FOR_EACH(i, n) y[i] = exp(x[i] < 0 ? x[i] : 0) / (1 + exp(-fabs(x[i])));
}

// y = ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|)
extern "C" __global__ void softplus(const real *x /*[n]*/, real *y /*[n]*/, int n) {
    FOR_EACH(i, n) y[i] = (x[i] <= 0 ? 0 : x[i]) + log1p(exp(-fabs(x[i])));
}

// y = factor g (a - b), the gradient of a mean square. g is an array of one number, since it may lie on the GPU.
extern "C" __global__ void squared_error_backward(const real *a /*[n]*/, const real *b /*[n]*/, const real *g /*[1]*/,
                                                  real factor, real *y /*[n]*/, int n) {
    real weight = factor * g[0];
    FOR_EACH(i, n) y[i] = weight * (a[i] - b[i]);
}

// y = the sum of the parts, in their order, so that every run gives the same bits
extern "C" __global__ void sum_parts(const real *parts /*[n_parts*n]*/, real *y /*[n]*/, int n, int n_parts) {
    FOR_EACH(i, n) {
        real total = parts[i];
        for (int part = 1; part < n_parts; ++part) total += parts[(long long)part * n + i];
        y[i] = total;
    }
}
