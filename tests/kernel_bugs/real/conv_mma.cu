// The kernels of conv_mma.cu against loops: more than one tile, slab, stage and part, off their boundaries and on them.
// The numbers are whole and small, so that TF32 and bf16 hold them, and sums are exact.
// Builds: float gpu PRECISION=1 TILE_N=32; float gpu PRECISION=1 TILE_N=64; float gpu PRECISION=1 TILE_N=128; float gpu PRECISION=3 TILE_N=32; float gpu PRECISION=16 TILE_N=64; float PRECISION=1 TILE_N=32
#include "real/shape.h"

#include <algorithm>

// As minisrgan/device/conv_mma.py: bytes for all stages of two factors, whose rows have these lengths.
void share(int a, int b) { shared_bytes = 4 * STAGES * SLAB * (a + b); }
unsigned tiles(int rows, int columns) { return (rows + TILE_M - 1) / TILE_M * ((columns + TILE_N - 1) / TILE_N); }

// With the whole epilogue.
void check_conv2d(const Shape &s, int n_parts, int shuffle = 1) {
    int channels = s.cout / shuffle / shuffle, size = s.pixels() * s.cout;
    auto x = numbers(s.n * s.height * s.width * s.cin), w = numbers(s.taps() * s.cout, 3);
    auto bias = numbers(s.cout, 5), negative_slope = numbers(channels, 6), residual = numbers(size, 4);
    auto y = nothing(size), sum = std::vector<real>(size), want = y;
    for_each_product(s, [&](int in, int weight, int out) { sum[out] += x[in] * w[weight]; });
    for (int e = 0; e < size; ++e) {
        int o = e % s.cout, m = e / s.cout, square = o / channels, line = m / s.out_w() * shuffle + square / shuffle;
        int at = (line * s.out_w() * shuffle + m % s.out_w() * shuffle + square % shuffle) * channels + o % channels;
        real biased = sum[e] + bias[o];
        want[at] = (biased > 0 ? 1 : negative_slope[o % channels]) * biased + residual[at];
    }
    int count = tiles(s.pixels(), s.cout);
    auto parts = nothing(count * n_parts * TILE_M * TILE_N);
    std::vector<unsigned> tickets(count);
    share(TILE_M, TILE_N + 8);
    launch<conv2d_mma>({unsigned(count * n_parts), 1, 1}, {THREADS, 1, 1}, x.data(), w.data(), bias.data(),
                       negative_slope.data(), residual.data(), y.data(), (real *)nullptr, (real *)nullptr, parts.data(),
                       tickets.data(), s.geometry(), shuffle, count, n_parts);
    expect_equal(y, want, "conv2d_mma");
    for (unsigned ticket : tickets)
        if (ticket) printf("wrong: a ticket is %u after the launch\n", ticket), exit(1);
}

// Mean and squares of each column, of each row of tiles.
void check_moments(const Shape &s, int n_parts) {
    int size = s.pixels() * s.cout, lines = (s.pixels() - 1) / TILE_M + 1;
    auto x = numbers(s.n * s.height * s.width * s.cin), w = numbers(s.taps() * s.cout, 3), bias = numbers(s.cout, 5);
    auto y = nothing(size), means = nothing(lines * s.cout), squares = means, sum = std::vector<real>(size);
    for_each_product(s, [&](int in, int weight, int out) { sum[out] += x[in] * w[weight]; });
    std::vector<real> want_means(lines * s.cout), want_squares(lines * s.cout);
    for (int at = 0; at < lines * s.cout; ++at) {
        int first = at / s.cout * TILE_M, last = std::min(first + TILE_M, s.pixels()), o = at % s.cout;
        double mean = 0, square = 0;
        for (int m = first; m < last; ++m) mean += double(sum[m * s.cout + o]) / (last - first);
        for (int m = first; m < last; ++m) square += pow(sum[m * s.cout + o] - mean, 2);
        want_means[at] = mean + bias[o];
        want_squares[at] = square;
    }
    share(TILE_M, TILE_N + 8);
    int count = tiles(s.pixels(), s.cout);
    auto parts = nothing(count * n_parts * TILE_M * TILE_N);
    std::vector<unsigned> tickets(count);
    launch<conv2d_mma>({unsigned(count * n_parts), 1, 1}, {THREADS, 1, 1}, x.data(), w.data(), bias.data(),
                       (real *)nullptr, (real *)nullptr, y.data(), means.data(), squares.data(), parts.data(),
                       tickets.data(), s.geometry(), 1, count, n_parts);
    expect_close(means, want_means, 1e-5, "means");
    expect_close(squares, want_squares, 1e-5, "squares");
}

void check_input_grad(const Shape &s, int n_parts) {
    int size = s.n * s.height * s.width * s.cin;
    auto g = numbers(s.pixels() * s.cout), w = numbers(s.taps() * s.cout, 3), dx = nothing(size);
    std::vector<real> want(size);
    for_each_product(s, [&](int in, int weight, int out) { want[in] += g[out] * w[weight]; });
    share(TILE_M, TILE_N);
    int rows = s.n * ((s.height - 1) / s.stride_y + 1) * ((s.width - 1) / s.stride_x + 1);
    int count = tiles(rows, s.cin), remainders = s.stride_y * s.stride_x;
    auto parts = nothing(remainders * count * n_parts * TILE_M * TILE_N);
    std::vector<unsigned> tickets(remainders * count);
    launch<input_grad_mma>({unsigned(count * n_parts), unsigned(remainders), 1}, {THREADS, 1, 1}, g.data(), w.data(),
                           dx.data(), parts.data(), tickets.data(), s.geometry(), count, n_parts);
    expect_equal(dx, want, "input_grad_mma");
}

void check_weight_grad(const Shape &s, int part_pixels) {
    auto x = numbers(s.n * s.height * s.width * s.cin), g = numbers(s.pixels() * s.cout, 3);
    int count = (s.taps() + 1) * s.cout, n_parts = (s.pixels() - 1) / part_pixels + 1;
    std::vector<real> parts = nothing(n_parts * count), want(n_parts * count);
    for_each_product(s, [&](int in, int weight, int out) {
        want[out / s.cout / part_pixels * count + weight] += x[in] * g[out];
    });
    for (int out = 0; out < s.pixels() * s.cout; ++out)  // the last row is the bias's
        want[out / s.cout / part_pixels * count + s.taps() * s.cout + out % s.cout] += g[out];
    share(TILE_M + 8, TILE_N + 8);
    launch<weight_grad_mma>({tiles(s.taps(), s.cout) * n_parts, 1, 1}, {THREADS, 1, 1}, x.data(), g.data(),
                            parts.data(), s.geometry(), part_pixels, n_parts);
    expect_equal(parts, want, "weight_grad_mma");
}

int main() {
    check_conv2d({2, 8, 9, 12, 3, 3, TILE_N + 4, 1, 1, 1, 1}, 1);  // 144 pixels: two tiles; 7 slabs
    check_conv2d({1, 7, 5, 40, 2, 3, 16, 2, 1, 0, 1}, 3, 2);
    check_conv2d({1, 3, 3, 4, 1, 1, 4, 1, 1, 0, 0}, 1);
    check_moments({2, 8, 9, 4, 3, 3, TILE_N + 4, 1, 1, 1, 1}, 1);
    check_moments({1, 5, 6, 8, 3, 3, 12, 1, 1, 1, 1}, 2);
    check_input_grad({2, 12, 13, 8, 3, 3, 20, 1, 1, 1, 1}, 2);
    check_input_grad({1, 6, 7, TILE_N + 4, 2, 1, 4, 2, 3, 0, 1}, 2);  // taps that no pixel meets, and the reverse
    check_weight_grad({2, 7, 9, 16, 3, 3, TILE_N + 4, 1, 1, 1, 1}, 6 * SLAB);  // 144 rows: two tiles; 8 slabs in parts
    check_weight_grad({3, 3, 2, 4, 2, 2, 4, 1, 1, 0, 1}, 2 * SLAB);  // an image has fewer pixels than a slab
}
