// The kernels of elementwise.cu against the C++ library: more elements than threads, and fewer; zeros, both
// infinities and NaN among them.
// Builds: float native; double native; float; float gpu; double gpu
#include "host.h"

void check(int n, uint3 grid, uint3 block) {
    auto x = numbers(n), u = numbers(n, 3), v = numbers(n, 8), y = nothing(n), want = y;
    double close = sizeof(real) == 4 ? 1e-6 : 1e-14;
    auto each = [&](auto f) {
        y = nothing(n);
        for (int i = 0; i < n; ++i) want[i] = f(i);
    };
    each([&](int i) { return x[i] + u[i]; });
    launch<add>(grid, block, x.data(), u.data(), y.data(), n);
    expect_equal(y, want, "add");
    each([&](int i) { return 3 * x[i]; });
    launch<scale>(grid, block, x.data(), real(3), y.data(), n);
    expect_equal(y, want, "scale");
    each([&](int i) { return x[i] > 0 ? u[i] : v[i]; });
    launch<where_positive>(grid, block, x.data(), u.data(), v.data(), y.data(), n);
    expect_equal(y, want, "where_positive");
    each([&](int i) { return x[i] > 0 ? x[i] : 0; });
    launch<relu_forward>(grid, block, x.data(), y.data(), n);
    expect_equal(y, want, "relu_forward");
    each([&](int i) { return x[i] > 0 ? x[i] : 3 * x[i]; });
    launch<leaky_relu_forward>(grid, block, x.data(), real(3), y.data(), n);
    expect_equal(y, want, "leaky_relu_forward");
    each([&](int i) { return x[i] > 0 ? u[i] : 3 * u[i]; });
    launch<leaky_relu_backward>(grid, block, u.data(), x.data(), real(3), y.data(), n);
    expect_equal(y, want, "leaky_relu_backward");
    real g = 5;
    each([&](int i) { return 10 * (u[i] - v[i]); });
    launch<squared_error_backward>(grid, block, u.data(), v.data(), &g, real(2), y.data(), n);
    expect_equal(y, want, "squared_error_backward");

    each([&](int i) { return real(1 / (1 + exp(-double(x[i])))); });
    launch<sigmoid>(grid, block, x.data(), y.data(), n);
    expect_close(y, want, close, "sigmoid");
    each([&](int i) { return real(log1p(exp(double(x[i])))); });
    launch<softplus>(grid, block, x.data(), y.data(), n);
    expect_close(y, want, close, "softplus");
}

void check_limits() {
    const real inf = INFINITY, x[] = {-inf, -1000, 0, 1000, inf, real(NAN)};
    real y[6];
    auto expect = [&](const char *kernel, std::vector<real> want) {
        if (!isnan(y[5])) printf("wrong: %s makes a number of NaN\n", kernel), exit(1);
        std::vector<real> whole(5), limits(5);  // inf - inf is no distance: finite numbers in its place
        for (int i = 0; i < 5; ++i) whole[i] = fmin(y[i], 9999), limits[i] = fmin(want[i], 9999);
        expect_equal(whole, limits, kernel);
    };
    launch<relu_forward>({1, 1, 1}, {1, 1, 1}, x, y, 6);
    expect("relu_forward", {0, 0, 0, 1000, inf});
    launch<sigmoid>({1, 1, 1}, {1, 1, 1}, x, y, 6);
    expect("sigmoid", {0, 0, 0.5, 1, 1});
    launch<softplus>({1, 1, 1}, {1, 1, 1}, x, y, 6);
    expect("softplus", {0, 0, real(log(real(2))), 1000, inf});
}

void check_sum_parts(int n, int n_parts) {
    auto parts = numbers(n_parts * n), y = nothing(n);
    std::vector<real> want(n);
    for (int e = 0; e < n_parts * n; ++e) want[e % n] += parts[e];
    launch<sum_parts>({3, 1, 1}, {4, 1, 1}, parts.data(), y.data(), n, n_parts);
    expect_equal(y, want, "sum_parts");
}

int main() {
    check_sum_parts(1003, 5);
    check_sum_parts(7, 1);
    check(1000, {3, 1, 1}, {2, 1, 1});
    check(5, {4, 1, 1}, {32, 1, 1});
    check(1, {1, 1, 1}, {1, 1, 1});
    check_limits();
}
