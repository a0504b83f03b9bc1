// Operations on each number by itself.
//
// Threads.  FOR_EACH (common.cuh) distributes the elements: neighbours in memory are neighbours in a warp, or in a
// vector register. On a GPU a thread takes 16 bytes of each array at a time, so that more of memory is on its way.
//
// Memory traffic.  Each kernel passes once over its arrays, and this is what takes its time. An addition costs nothing
// compared with the 12 bytes that it moves.

typedef Vec<LANES> V;

// f of each lane of some vectors.
template <class F, class... Vectors>
__device__ __forceinline__ V map_lanes(const F &f, const Vectors &...x) {
    V y;
    UNROLL for (int lane = 0; lane < LANES; ++lane) y.lane[lane] = f(x.lane[lane]...);
    return y;
}

// y = f(x, ...) for each of n numbers. (A CPU's compiler makes vectors of the plain loop by itself.)
template <class F, class... Arrays>
__device__ __forceinline__ void map(int n, real *y, const F &f, Arrays... x) {
#ifdef CPU
    FOR_EACH(i, n) y[i] = f(x[i]...);
#else
    FOR_EACH(v, n / LANES) map_lanes(f, V::load(x + v * LANES)...).store(y + v * LANES);
    FOR_EACH(i, n % LANES) y[n - 1 - i] = f(x[n - 1 - i]...);
#endif
}

// z = x + y
extern "C" __global__ void add(const real *x /*[n]*/, const real *y /*[n]*/, real *z /*[n]*/, int n) {
    map(n, z, [](real x, real y) { return x + y; }, x, y);
}

// y = factor x
extern "C" __global__ void scale(const real *x /*[n]*/, real factor, real *y /*[n]*/, int n) {
    map(n, y, [=](real x) { return factor * x; }, x);
}

// y = u where x > 0, else v
extern "C" __global__ void where_positive(const real *x /*[n]*/, const real *u /*[n]*/, const real *v /*[n]*/,
                                          real *y /*[n]*/, int n) {
    map(n, y, [](real x, real u, real v) { return x > 0 ? u : v; }, x, u, v);
}

// y = max(x, 0). NaN stays NaN, so that somebody notices it.
extern "C" __global__ void relu_forward(const real *x /*[n]*/, real *y /*[n]*/, int n) {
    map(n, y, [](real x) { return x <= 0 ? 0 : x; }, x);
}

// y = x where x > 0, else negative_slope x
extern "C" __global__ void leaky_relu_forward(const real *x /*[n]*/, real negative_slope, real *y /*[n]*/, int n) {
    map(n, y, [=](real x) { return x > 0 ? x : negative_slope * x; }, x);
}

// dx = g where x > 0, else negative_slope g
extern "C" __global__ void leaky_relu_backward(const real *g /*[n]*/, const real *x /*[n]*/, real negative_slope,
                                               real *dx /*[n]*/, int n) {
    map(n, dx, [=](real g, real x) { return x > 0 ? g : negative_slope * g; }, g, x);
}

// y = 1/(1 + e^-x) = e^min(x, 0)/(1 + e^-|x|). No power of e is above 1 here, so none overflows. For x << 0 the
// numerator keeps all the digits that 1 - sigmoid(-x) would lose.
extern "C" __global__ void sigmoid(const real *x /*[n]*/, real *y /*[n]*/, int n) {
    map(n, y, [](real x) { return exp(x < 0 ? x : 0) / (1 + exp(-fabs(x))); }, x);
}

// y = ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|)
extern "C" __global__ void softplus(const real *x /*[n]*/, real *y /*[n]*/, int n) {
    map(n, y, [](real x) { return (x <= 0 ? 0 : x) + log1p(exp(-fabs(x))); }, x);
}

// y = factor g (a - b), the gradient of a mean square. g is an array of one number, since it may lie on the GPU.
extern "C" __global__ void squared_error_backward(const real *a /*[n]*/, const real *b /*[n]*/, const real *g /*[1]*/,
                                                  real factor, real *y /*[n]*/, int n) {
    real weight = factor * g[0];
    map(n, y, [=](real a, real b) { return weight * (a - b); }, a, b);
}

// y = the sum of the parts, in their order, so that every run gives the same bits
extern "C" __global__ void sum_parts(const real *parts /*[n_parts*n]*/, real *y /*[n]*/, int n, int n_parts) {
    if (n % LANES == 0)
        FOR_EACH(v, n / LANES) {
            V total = V::load(parts + v * LANES);
            for (int part = 1; part < n_parts; ++part) total = total + V::load(parts + (long long)part * n + v * LANES);
            total.store(y + v * LANES);
        }
    else
        FOR_EACH(i, n) {
            real total = parts[i];
            for (int part = 1; part < n_parts; ++part) total += parts[(long long)part * n + i];
            y[i] = total;
        }
}
