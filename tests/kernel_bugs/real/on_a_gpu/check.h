// Each step of lesson 6 on a GPU against loops, at sizes off and on the boundaries of tiles, slabs and stages. The
// numbers are whole and small, so that TF32 holds them, and sums are exact.
#include "real/shape.h"

// launch_step(s, x, w, y) fills y with the convolution.
template <class LaunchStep>
void check_sizes(const char *name, LaunchStep launch_step) {
    Shape shapes[] = {
        {2, 9, 8, SLAB + CHUNK, 3, 3, TILE_N + CHUNK, 1, 1, 1, 1},  // more than one of each, off every boundary
        {1, 9, 31, SLAB, 2, 1, TILE_N, 1, 2, 0, 0},                 // on them
        {1, 7, 6, 2 * CHUNK, 2, 4, CHUNK, 2, 3, 1, 2},
        {1, 1, 1, CHUNK, 1, 1, CHUNK, 1, 1, 0, 0},
    };
    for (const Shape &s : shapes) {
        auto x = numbers(s.n * s.height * s.width * s.cin), w = numbers(s.taps() * s.cout, 3);
        auto y = nothing(s.pixels() * s.cout), want = std::vector<real>(y.size());
        for_each_product(s, [&](int in, int weight, int out) { want[out] += x[in] * w[weight]; });
        launch_step(s, x, w, y);
        expect_equal(y, want, name);
    }
}

template <auto step>
void check(const char *name) {
    check_sizes(name, [](const Shape &s, auto &x, auto &w, auto &y) {
        launch<step>({3, 1, 1}, {THREADS, 1, 1}, x.data(), w.data(), y.data(), s.geometry());
    });
}
