// The average of weights against its formula: more elements than threads, and fewer; and one that has arrived.
// Builds: float native; double native; float
#include "host.h"

void check(int n, uint3 grid, uint3 block) {
    auto average = numbers(n), w = numbers(n, 3), want = average;
    for (int i = 0; i < n; ++i) want[i] += real(0.25) * (w[i] - average[i]);
    launch<ema>(grid, block, average.data(), w.data(), real(0.25), n);
    expect_equal(average, want, "ema");
    average = w;
    launch<ema>(grid, block, average.data(), w.data(), real(0.1), n);
    expect_equal(average, w, "ema: arrived");
}

int main() {
    check(1000, {3, 1, 1}, {2, 1, 1});
    check(5, {4, 1, 1}, {32, 1, 1});
    check(1, {1, 1, 1}, {1, 1, 1});
}
