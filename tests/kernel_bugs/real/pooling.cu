// The kernels of pooling.cu against loops: rows and columns to spare, equal numbers, a NaN.
// Builds: float native SIZE=2; double SIZE=3; float gpu SIZE=2
#include "host.h"

void check(int n, int height, int width, int channels, uint3 block) {
    int out_h = height / SIZE, out_w = width / SIZE, pixels = n * out_h * out_w, per_block = 3;
    auto x = numbers(n * height * width * channels), y = nothing(pixels * channels), want = y, picked = y;
    std::vector<real> dx(x.size()), want_dx(x.size()), g = numbers(y.size(), 3);
    std::vector<int> chosen(y.size(), -1), want_chosen = chosen;
    for (int e = 0; e < pixels * channels; ++e) {
        int c = e % channels, m = e / channels, q = m % out_w, p = m / out_w % out_h, image = m / out_w / out_h;
        int best = 0;
        auto place = [&](int which) {
            int row = image * height + p * SIZE + which / SIZE, column = q * SIZE + which % SIZE;
            return (row * width + column) * channels + c;
        };
        for (int which = 1; which < SIZE * SIZE; ++which)
            if (x[place(which)] > x[place(best)]) best = which;
        want[e] = x[place(best)], want_chosen[e] = best, want_dx[place(best)] = g[e];
    }
    uint3 grid = {unsigned((pixels - 1) / per_block + 1), 1, 1};
    auto agree = [&] {
        if (chosen != want_chosen) printf("wrong: max_pool has chosen another one\n"), exit(1);
    };
    launch<max_pool>(grid, block, x.data(), y.data(), chosen.data(), pixels, height, width, channels, per_block);
    expect_equal(y, want, "max_pool"), agree();
    y = nothing(pixels * channels), chosen.assign(chosen.size(), -1);
    launch<max_pool>(grid, block, x.data(), y.data(), nullptr, pixels, height, width, channels, per_block);
    launch<max_pool>(grid, block, x.data(), nullptr, chosen.data(), pixels, height, width, channels, per_block);
    expect_equal(y, want, "max_pool"), agree();
    launch<pick>(grid, block, x.data(), chosen.data(), picked.data(), pixels, height, width, channels, per_block);
    expect_equal(picked, want, "pick");
    launch<place>(grid, block, g.data(), chosen.data(), dx.data(), pixels, height, width, channels, per_block);
    expect_equal(dx, want_dx, "place");
}

void check_ties() {
    std::vector<real> x(SIZE * SIZE, 7);
    int chosen = -1;
    auto expect = [&](int want) {
        launch<max_pool>({1, 1, 1}, {1, 1, 1}, x.data(), nullptr, &chosen, 1, SIZE, SIZE, 1, 1);
        if (chosen != want) printf("wrong: max_pool has chosen %d, not %d\n", chosen, want), exit(1);
    };
    expect(0);
    x[2] = real(NAN);
    expect(2);
}

int main() {
    check(2, 2 * SIZE + 1, 3 * SIZE, 5, {1, 1, 1});
    check(1, 3 * SIZE, 2 * SIZE + 1, 70, {32, 2, 1});
    check(1, SIZE, SIZE, 1, {8, 1, 1});
    check_ties();
}
