// Adam against its formula: an array of several pieces, more elements than threads and fewer.
// Builds: float native; double native; float; float gpu
#include "host.h"

void check(const std::vector<int> &sizes, int blocks) {
    std::vector<std::vector<real>> theta, m, v, g, want, want_m, want_v;
    for (int n : sizes) {
        theta.push_back(numbers(n));
        m.push_back(numbers(n, 3));
        v.push_back(numbers(n, 5));
        g.push_back(numbers(n, 8));
        for (real &each : v.back()) each = fabs(each);
    }
    want = theta, want_m = m, want_v = v;
    for (size_t k = 0; k < sizes.size(); ++k)
        for (int i = 0; i < sizes[k]; ++i) {
            want_m[k][i] = m[k][i] + real(0.25) * (g[k][i] - m[k][i]);
            want_v[k][i] = v[k][i] + real(0.125) * (g[k][i] * g[k][i] - v[k][i]);
            want[k][i] = theta[k][i] - real(0.5) * want_m[k][i] / (sqrt(want_v[k][i] / real(0.5)) + real(1));
        }
    Parameters arrays = {};
    int pieces = 0;
    for (size_t k = 0; k < sizes.size(); ++k) {
        arrays.theta[k] = (long long)theta[k].data(), arrays.m[k] = (long long)m[k].data();
        arrays.v[k] = (long long)v[k].data(), arrays.g[k] = (long long)g[k].data();
        arrays.size[k] = sizes[k], arrays.first_piece[k] = pieces;
        pieces += (sizes[k] + PIECE - 1) / PIECE;
    }
    auto settings = nothing(5), before = theta[0];
    launch<fill_settings>({1, 1, 1}, {1, 1, 1}, settings.data(), real(0.25), real(0.125), real(0.5), real(0.5), real(1));
    for (int fault : {1, 0}) {
        launch<adam>({unsigned(blocks), 1, 1}, {THREADS, 1, 1}, arrays, settings.data(), &fault, int(sizes.size()), pieces);
        if (fault) expect_equal(theta[0], before, "adam, at a fault: theta");
    }
    for (size_t k = 0; k < sizes.size(); ++k) {
        expect_equal(m[k], want_m[k], "adam: m");
        expect_equal(v[k], want_v[k], "adam: v");
        expect_close(theta[k], want[k], sizeof(real) == 4 ? 1e-6 : 1e-14, "adam: theta");
    }
}

int main() {
    check({2 * PIECE + 100, 7, 0, 300}, 3);
    check({5}, 4);
    check({1, 0, 1}, 1);
}
