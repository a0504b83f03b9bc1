// Adam against its formula: more elements than threads, and fewer.
// Builds: float native; double native; float
#include "host.h"

void check(int n, uint3 grid, uint3 block) {
    auto theta = numbers(n), m = numbers(n, 3), v = numbers(n, 5), g = numbers(n, 8), want = theta;
    for (int i = 0; i < n; ++i) v[i] = fabs(v[i]);
    auto want_m = m, want_v = v;
    for (int i = 0; i < n; ++i) {
        want_m[i] = m[i] + real(0.25) * (g[i] - m[i]);
        want_v[i] = v[i] + real(0.125) * (g[i] * g[i] - v[i]);
        want[i] = theta[i] - real(0.5) * want_m[i] / (sqrt(want_v[i] / real(0.5)) + real(1));
    }
    launch<adam>(grid, block, theta.data(), m.data(), v.data(), g.data(), real(0.25), real(0.125), real(0.5), real(0.5),
                 real(1), n);
    expect_equal(m, want_m, "adam: m");
    expect_equal(v, want_v, "adam: v");
    expect_close(theta, want, sizeof(real) == 4 ? 1e-6 : 1e-14, "adam: theta");
}

int main() {
    check(1000, {3, 1, 1}, {2, 1, 1});
    check(5, {4, 1, 1}, {32, 1, 1});
    check(1, {1, 1, 1}, {1, 1, 1});
}
