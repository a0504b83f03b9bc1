// Shuffle, and back again: runs longer and shorter than a row of threads, the last block half empty.
// Builds: float native; double
#include "host.h"

void check(int n, int height, int width, int r, int channels, uint3 block) {
    int runs = n * height * width * r, run = r * channels, per_block = 5;
    auto x = numbers(runs * run), y = nothing(runs * run), back = y, want = y;
    for (int e = 0, i, j; e < runs * run; ++e) {
        int offset = e / channels % (r * r), pixel = e / channels / (r * r);
        i = pixel / width * r + offset / r, j = pixel % width * r + offset % r;  // i: of all images' rows
        want[(i * width * r + j) * channels + e % channels] = x[e];
    }
    uint3 grid = {unsigned((runs - 1) / per_block + 1), 1, 1};
    launch<exchange_axes>(grid, block, x.data(), y.data(), runs, width, r, run, per_block);
    expect_equal(y, want, "exchange_axes");
    launch<exchange_axes>(grid, block, y.data(), back.data(), runs, r, width, run, per_block);
    expect_equal(back, x, "exchange_axes, back");
}

int main() {
    check(2, 3, 5, 2, 7, {1, 1, 1});
    check(2, 3, 2, 3, 5, {8, 2, 1});
    check(1, 2, 3, 4, 1, {32, 3, 1});
    check(1, 1, 1, 1, 1, {1, 1, 1});
}
