// Adam against its formula: two arrays in pieces, more elements than threads and fewer.
// Builds: float native; double native; float; float gpu
#include "host.h"

void check(const std::vector<int> &sizes, int piece, int blocks) {
    std::vector<std::vector<real>> theta, m, v, g, want, want_m, want_v;
    std::vector<int> pieces;
    for (int n : sizes) {
        for (int start = 0; start < n; start += piece)
            pieces.insert(pieces.end(), {int(theta.size()), start, min(start + piece, n)});
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
    std::vector<long long> addresses;
    for (auto *arrays : {&theta, &m, &v, &g})
        for (auto &each : *arrays) addresses.push_back((long long)each.data());
    std::vector<real> settings = {real(0.25), real(0.125), real(0.5), real(0.5), real(1)};
    launch<adam>({unsigned(blocks), 1, 1}, {THREADS, 1, 1}, addresses.data(), pieces.data(), settings.data(), int(sizes.size()),
                 int(pieces.size()) / 3);
    for (size_t k = 0; k < sizes.size(); ++k) {
        expect_equal(m[k], want_m[k], "adam: m");
        expect_equal(v[k], want_v[k], "adam: v");
        expect_close(theta[k], want[k], sizeof(real) == 4 ? 1e-6 : 1e-14, "adam: theta");
    }
}

int main() {
    check({1000, 7, 300}, 256, 3);
    check({5}, 8, 4);
    check({1, 0, 1}, 1, 1);
}
