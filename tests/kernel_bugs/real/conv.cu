// The kernels of conv.cu against loops: more than one tile, slab and part, off their boundaries and on them.
// Builds: float native WIDE=2; double native WIDE=1; float native WIDE=4; float WIDE=2; double WIDE=2; float gpu WIDE=2; double gpu WIDE=1; float gpu WIDE=4
#include "real/shape.h"

// Into every step-th pixel of an image that has other numbers, which must stay; with the whole epilogue, or
// with none.
void check_conv2d(const Shape &s, bool with_epilogue, int step_y = 1, int step_x = 1, int first_y = 0, int first_x = 0) {
    auto x = numbers(s.n * s.height * s.width * s.cin), w = numbers(s.taps() * s.cout, 3), sum = nothing(0);
    auto bias = numbers(s.cout, 5), negative_slope = numbers(s.cout, 6);
    sum.resize(s.pixels() * s.cout);
    for_each_product(s, [&](int in, int weight, int out) { sum[out] += x[in] * w[weight]; });

    int y_h = s.out_h() * step_y + first_y, y_w = s.out_w() * step_x + first_x;
    auto y = numbers(s.n * y_h * y_w * s.cout, 2), want = y, residual = numbers(y.size(), 4);
    for (int e = 0; e < s.pixels() * s.cout; ++e) {
        int o = e % s.cout, m = e / s.cout, q = m % s.out_w(), p = m / s.out_w() % s.out_h();
        int pixel = (m / s.out_w() / s.out_h() * y_h + p * step_y + first_y) * y_w + q * step_x + first_x;
        real biased = sum[e] + bias[o];
        real activated = (biased > 0 ? 1 : negative_slope[o]) * biased;
        want[pixel * s.cout + o] = with_epilogue ? activated + residual[pixel * s.cout + o] : sum[e];
    }
    launch<conv2d>({3, 1, 1}, {THREADS, 1, 1}, x.data(), w.data(), with_epilogue ? bias.data() : nullptr,
                   with_epilogue ? negative_slope.data() : nullptr, with_epilogue ? residual.data() : nullptr, y.data(),
                   s.geometry(), Placement{1, y_h, y_w, step_y, step_x, first_y, first_x}, s.taps(), 1);
    expect_equal(y, want, "conv2d");

    // The same, with its depth in parts.
    int part = (s.taps() / 2 / SLAB + 1) * SLAB, n_parts = (s.taps() + part - 1) / part;
    auto parts = nothing(n_parts * s.pixels() * s.cout), finished = numbers(y.size(), 2);
    launch<conv2d>({2, 1, 1}, {THREADS, 1, 1}, x.data(), w.data(), (real *)nullptr, (real *)nullptr, (real *)nullptr,
                   parts.data(), s.geometry(), Placement{1, s.out_h(), s.out_w(), 1, 1, 0, 0}, part, n_parts);
    launch<finish_conv2d>({2, 1, 1}, {3, 1, 1}, parts.data(), with_epilogue ? bias.data() : nullptr,
                          with_epilogue ? negative_slope.data() : nullptr, with_epilogue ? residual.data() : nullptr,
                          finished.data(), s.geometry(), Placement{1, y_h, y_w, step_y, step_x, first_y, first_x}, n_parts);
    expect_equal(finished, want, "conv2d in parts");
}

// With pixel shuffle: channel (i 2 + j) C + c of pixel (p, q) is channel c of pixel (2 p + i, 2 q + j).
void check_shuffle(const Shape &s) {
    auto x = numbers(s.n * s.height * s.width * s.cin), w = numbers(s.taps() * s.cout, 3);
    auto y = nothing(s.pixels() * s.cout), want = std::vector<real>(s.pixels() * s.cout);
    for_each_product(s, [&](int in, int weight, int out) {
        int o = out % s.cout, m = out / s.cout, channels = s.cout / 4, square = o / channels;
        int row = m / s.out_w() * 2 + square / 2, column = m % s.out_w() * 2 + square % 2;
        want[(row * 2 * s.out_w() + column) * channels + o % channels] += x[in] * w[weight];
    });
    launch<conv2d>({2, 1, 1}, {THREADS, 1, 1}, x.data(), w.data(), (real *)nullptr, (real *)nullptr, (real *)nullptr,
                   y.data(), s.geometry(), Placement{2, s.out_h(), s.out_w(), 1, 1, 0, 0}, s.taps(), 1);
    expect_equal(y, want, "conv2d with shuffle");
}

void check_weight_grad(const Shape &s, int part_pixels) {
    auto x = numbers(s.n * s.height * s.width * s.cin), g = numbers(s.pixels() * s.cout, 3);
    int count = s.taps() * s.cout, n_parts = (s.pixels() - 1) / part_pixels + 1;
    std::vector<real> parts = nothing(n_parts * count), want(n_parts * count);
    for_each_product(s, [&](int in, int weight, int out) {
        want[out / s.cout / part_pixels * count + weight] += x[in] * g[out];
    });
    launch<weight_grad>({3, 1, 1}, {THREADS, 1, 1}, x.data(), g.data(), parts.data(), s.geometry(), part_pixels, n_parts);
    expect_equal(parts, want, "weight_grad");
}

void check_turn_weights(int kh, int kw, int cin, int cout, int i0, int j0, int stride_y, int stride_x) {
    int turned_h = (kh - i0 + stride_y - 1) / stride_y, turned_w = (kw - j0 + stride_x - 1) / stride_x, e = 0;
    auto w = numbers(kh * kw * cin * cout), turned = nothing(turned_h * turned_w * cout * cin), want = turned;
    for (int i = turned_h - 1; i >= 0; --i)
        for (int j = turned_w - 1; j >= 0; --j)
            for (int o = 0; o < cout; ++o)
                for (int c = 0; c < cin; ++c)
                    want[e++] = w[(((i0 + stride_y * i) * kw + j0 + stride_x * j) * cin + c) * cout + o];
    launch<turn_weights>({2, 1, 1}, {3, 1, 1}, w.data(), turned.data(), kh, kw, cin, cout, i0, j0, stride_y, stride_x,
                         turned_h, turned_w);
    expect_equal(turned, want, "turn_weights");
}

int main() {
    int odd = SLAB / 9 / LANES * LANES + LANES - 1, even = (SLAB / 4 / LANES + 1) * LANES;
    check_conv2d({2, TILE_M / 10 + 3, 5, odd, 3, 3, TILE_N + 3, 1, 1, 1, 1}, true);
    check_conv2d({1, 9, 8, even, 2, 2, TILE_N + LANES, 2, 1, 0, 1}, true);
    check_conv2d({2, 3, 4, even, 2, 2, LANES, 1, 1, 1, 0}, false, 2, 3, 1, 2);
    check_conv2d({1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0}, false);

    check_shuffle({2, 5, 3, 3, 3, 3, 4 * LANES, 1, 1, 1, 1});

    check_weight_grad({2, 5, 7, TILE_M / 9 / LANES * LANES + LANES - 1, 3, 3, 3, 1, 1, 1, 1}, SLAB + 5);
    check_weight_grad({1, 6, 7, even, 2, 3, TILE_N + LANES, 1, 2, 0, 1}, SLAB);
    check_weight_grad({1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0}, 64);

    check_turn_weights(3, 4, 5, 7, 0, 0, 1, 1);
    check_turn_weights(5, 3, 2, 3, 1, 0, 2, 3);
}
