// Each step of lesson 6 against loops.
#include "host.h"

struct Shape {
    int n, height, width, cin, kh, kw, cout, stride_y, stride_x, pad_y, pad_x;
};

template <auto step>
void check(const Shape &s, unsigned threads, const char *name) {
    int out_h = (s.height + 2 * s.pad_y - s.kh) / s.stride_y + 1, out_w = (s.width + 2 * s.pad_x - s.kw) / s.stride_x + 1;
    auto x = numbers(s.n * s.height * s.width * s.cin), w = numbers(s.kh * s.kw * s.cin * s.cout, 3);
    auto y = nothing(s.n * out_h * out_w * s.cout);
    std::vector<real> want(y.size());
    for (int m = 0; m < s.n * out_h * out_w; ++m)
        for (int tap = 0; tap < s.kh * s.kw; ++tap) {
            int row = m / out_w % out_h * s.stride_y + tap / s.kw - s.pad_y, image = m / out_w / out_h;
            int column = m % out_w * s.stride_x + tap % s.kw - s.pad_x;
            if (row < 0 || row >= s.height || column < 0 || column >= s.width) continue;
            for (int c = 0; c < s.cin; ++c)
                for (int o = 0; o < s.cout; ++o)
                    want[m * s.cout + o] += x[((image * s.height + row) * s.width + column) * s.cin + c] *
                                            w[(tap * s.cin + c) * s.cout + o];
        }
    launch<step>({3, 1, 1}, {threads, 1, 1}, x.data(), w.data(), y.data(),
                 Geometry{s.n, s.height, s.width, s.cin, s.kh, s.kw, s.cout, out_h, out_w, s.stride_y, s.stride_x, s.pad_y,
                          s.pad_x});
    expect_equal(y, want, name);
}

// At sizes off and on the boundaries of blocks of tile_m x tile_o outputs and of slabs of `slab` products.
template <auto step>
void check_sizes(int tile_m, int tile_o, int slab, unsigned threads, const char *name) {
    Shape shapes[] = {
        {2, tile_m / 10 + 3, 5, slab + LANES - 1, 3, 3, tile_o + 3, 1, 1, 1, 1},  // more than one, off every boundary
        {1, 9, 16, slab, 2, 1, tile_o, 1, 2, 0, 0},                               // on them
        {1, 7, 6, 2 * LANES, 2, 4, LANES, 2, 3, 1, 2},
        {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0},
    };
    for (const Shape &s : shapes) check<step>(s, threads, name);
}
