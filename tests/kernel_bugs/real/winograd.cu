// The kernels of winograd.cu against loops: more than one chunk, span and part, off their boundaries and on them.
// Builds: float native; double native; float; double; float gpu; double gpu
#include "host.h"

constexpr double TOLERANCE = sizeof(real) == 4 ? 0.02 : 1e-9;  // the sums are whole numbers up to some thousands

struct Shape {
    int n, height, width, cin, cout, pad_y, pad_x;
    int out_h() const { return height + 2 * pad_y - 2; }
    int out_w() const { return width + 2 * pad_x - 2; }
    int outputs() const { return n * out_h() * out_w() * cout; }
    int tiles() const { return n * ((out_h() + 3) / 4) * ((out_w() + 3) / 4); }
    int padded() const { return round_up(cout, UNIT_O); }
    int depth() const { return round_up(cin, UNIT_C); }
    Geometry geometry() const { return {n, height, width, cin, 3, 3, cout, out_h(), out_w(), 1, 1, pad_y, pad_x}; }
    Units units(int blocks) const { return {padded(), depth(), UNIT_O, blocks}; }
};

// f(element of x, of w, of y) for each product of the trilinear form.
template <class F>
void for_each_product(const Shape &s, F f) {
    for (int e = 0; e < s.outputs(); ++e) {
        int o = e % s.cout, m = e / s.cout, q = m % s.out_w(), p = m / s.out_w() % s.out_h();
        for (int k = 0; k < 9 * s.cin; ++k) {
            int c = k % s.cin, row = p + k / s.cin / 3 - s.pad_y, column = q + k / s.cin % 3 - s.pad_x;
            if (row < 0 || row >= s.height || column < 0 || column >= s.width) continue;
            int image = m / s.out_w() / s.out_h();
            f(((image * s.height + row) * s.width + column) * s.cin + c, k * s.cout + o, e);
        }
    }
}

std::vector<real> scratch_for(const Shape &s, int blocks, int span) { return nothing(blocks * POINTS * CHUNK * (s.depth() + span)); }

void check_conv2d(const Shape &s, bool with_bias, bool turned, int blocks, int threads) {
    auto x = numbers(s.n * s.height * s.width * s.cin), w = numbers(9 * s.cin * s.cout, 3), bias = numbers(s.cout, 5);
    auto y = nothing(s.outputs()), want = std::vector<real>(s.outputs());
    for (int e = 0; with_bias && e < s.outputs(); ++e) want[e] = bias[e % s.cout];
    for_each_product(s, [&](int in, int weight, int out) {
        int o = weight % s.cout, c = weight / s.cout % s.cin, tap = weight / s.cout / s.cin;
        want[out] += x[in] * w[turned ? ((8 - tap) * s.cout + o) * s.cin + c : weight];
    });
    auto u = nothing(POINTS * s.cin * s.padded()), scratch = scratch_for(s, blocks, UNIT_O);
    launch<winograd_weights>({2, 1, 1}, {3, 1, 1}, w.data(), u.data(), s.cin, s.cout, s.padded(), int(turned));
    launch<winograd_conv2d>({unsigned(blocks), 1, 1}, {unsigned(threads), 1, 1}, x.data(), u.data(),
                            with_bias ? bias.data() : nullptr, (real *)nullptr, (real *)nullptr, y.data(), scratch.data(),
                            s.geometry(), s.units(blocks), 1);
    expect_close(y, want, TOLERANCE, "winograd_conv2d");
}

void check_weight_grad(const Shape &s, int part_tiles, int blocks, int threads) {
    auto x = numbers(s.n * s.height * s.width * s.cin), g = numbers(s.outputs(), 3);
    std::vector<real> dw = nothing(9 * s.cin * s.cout), want(9 * s.cin * s.cout);
    for_each_product(s, [&](int in, int weight, int out) { want[weight] += x[in] * g[out]; });
    int n_parts = (s.tiles() - 1) / part_tiles + 1;
    auto parts = nothing(n_parts * POINTS * s.depth() * s.padded()), scratch = scratch_for(s, blocks, UNIT_O);
    launch<winograd_weight_grad>({unsigned(blocks), 1, 1}, {unsigned(threads), 1, 1}, x.data(), g.data(), parts.data(),
                                 scratch.data(), s.geometry(), s.units(blocks), part_tiles, n_parts);
    std::vector<real> du(parts.size() / n_parts);
    for (size_t e = 0; e < parts.size(); ++e) du[e % du.size()] += parts[e];
    launch<winograd_finish>({2, 1, 1}, {3, 1, 1}, du.data(), dw.data(), s.geometry(), s.units(0));
    expect_close(dw, want, TOLERANCE, "winograd_weight_grad");
}

int main() {
    Shape odd = {2, 18, 17, 5, 35, 1, 1}, even = {1, 16, 16, 16, 64, 1, 1}, loose = {3, 5, 6, 3, 2, 2, 0}, one = {1, 3, 3, 1, 1, 0, 0};
    check_conv2d(odd, true, false, 2, 4);
    check_conv2d(even, false, true, 1, 4);
    check_conv2d(loose, true, true, 3, 1);
    check_conv2d(one, false, false, 1, 1);

    check_weight_grad(odd, CHUNK, 2, 4);
    check_weight_grad(even, 2 * CHUNK, 1, 4);
    check_weight_grad(loose, 8 * CHUNK, 3, 1);
    check_weight_grad(one, CHUNK, 1, 2);
}
