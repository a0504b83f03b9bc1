// The average of weights against its formula: several arrays, one of several pieces; and one that has arrived.
// Builds: float native; double native; float; float gpu
#include "host.h"

void check(const std::vector<int> &sizes, unsigned blocks) {
    std::vector<std::vector<real>> average, w, want;
    Averages arrays = {};
    int pieces = 0, count = 0;
    for (int n : sizes) {
        average.push_back(numbers(n)), w.push_back(numbers(n, 3));
        arrays.average[count] = (long long)average.back().data(), arrays.w[count] = (long long)w.back().data();
        arrays.size[count] = n, arrays.first_piece[count++] = pieces;
        pieces += (n + PIECE - 1) / PIECE;
    }
    want = average;
    for (int k = 0; k < count; ++k)
        for (int i = 0; i < sizes[k]; ++i) want[k][i] += real(0.25) * (w[k][i] - average[k][i]);
    launch<ema>({blocks, 1, 1}, {THREADS, 1, 1}, arrays, average[0].data(), real(0.25), count, pieces);
    for (int k = 0; k < count; ++k) {
        expect_equal(average[k], want[k], "ema");
        std::copy(w[k].begin(), w[k].end(), average[k].begin());
    }
    launch<ema>({blocks, 1, 1}, {THREADS, 1, 1}, arrays, average[0].data(), real(0.1), count, pieces);
    for (int k = 0; k < count; ++k) expect_equal(average[k], w[k], "ema: arrived");
}

int main() {
    check({PIECE + 1000, 3, 0, 40}, 3);
    check({5}, 1);
}
