// The kernels of conv_few.cu against loops: two bands, strips and slabs, each more than half empty at the end.
// Builds: float native FEW=3 KH=3 KW=3; double native FEW=1 KH=2 KW=7; float FEW=8 KH=1 KW=3
// Builds: float gpu FEW=3 KH=9 KW=9; double gpu FEW=2 KH=3 KW=6
#include "host.h"

void check(int n, int height, int width, int cin, int pad_y, int pad_x, bool biased, int part_rows) {
    int out_h = height + 2 * pad_y - KH + 1, out_w = width + 2 * pad_x - KW + 1, count = KH * KW * cin * FEW;
    int n_parts = (n * out_h - 1) / part_rows + 1;
    auto x = numbers(n * height * width * cin), w = numbers(count, 3), bias = numbers(FEW, 5);
    auto y = nothing(n * out_h * out_w * FEW), parts = nothing(n_parts * count), g = numbers(y.size(), 1);
    std::vector<real> want_y(y.size()), want_parts(parts.size());
    for (int m = 0; m < n * out_h * out_w; ++m) {
        int q = m % out_w, line = m / out_w, p = line % out_h, image = line / out_h;
        for (int o = 0; o < FEW; ++o) want_y[m * FEW + o] = biased ? bias[o] : 0;
        for (int k = 0; k < KH * KW * cin; ++k) {
            int row = p + k / cin / KW - pad_y, column = q + k / cin % KW - pad_x;
            if (row < 0 || row >= height || column < 0 || column >= width) continue;
            real pixel = x[((image * height + row) * width + column) * cin + k % cin];
            for (int o = 0; o < FEW; ++o) {
                want_y[m * FEW + o] += pixel * w[k * FEW + o];
                want_parts[line / part_rows * count + k * FEW + o] += pixel * g[m * FEW + o];
            }
        }
    }
    Geometry sizes = {n, height, width, cin, KH, KW, FEW, out_h, out_w, 1, 1, pad_y, pad_x};
    launch<conv2d_few>({3, 1, 1}, {THREADS, 1, 1}, x.data(), w.data(), biased ? bias.data() : nullptr, y.data(), sizes);
    expect_equal(y, want_y, "conv2d_few");
    launch<weight_grad_few>({3, 1, 1}, {THREADS, 1, 1}, x.data(), g.data(), parts.data(), sizes, part_rows, n_parts);
    expect_equal(parts, want_parts, "weight_grad_few");
}

int main() {
    check(2, BAND + 3, STRIP + KW, SLAB + 1, KH / 2, 1, true, BAND);
    check(1, KH, KW, LANES, 0, 0, false, 3);
    check(1, KH + 1, KW, 1, 1, KW / 2, false, 2);
}
