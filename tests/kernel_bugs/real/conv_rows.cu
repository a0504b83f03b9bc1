// The kernels of conv_rows.cu against loops.
// Builds: float native; float gpu
#include "host.h"

void check_arrange(int kh, int kw, int in, int out, bool turned, bool in_columns) {
    int rows = in_columns ? in : (kw * in + 3) / 4 * 4, columns = in_columns ? (kw * out + 3) / 4 * 4 : out;
    auto w = numbers(kh * kw * in * out), got = nothing(kh * rows * columns), want = std::vector<real>(got.size());
    for (int i = 0; i < kh; ++i)
        for (int j = 0; j < kw; ++j)
            for (int a = 0; a < in; ++a)
                for (int b = 0; b < out; ++b) {
                    int r = in_columns ? a : j * in + a, f = in_columns ? j * out + b : b;
                    want[(i * rows + r) * columns + f] =
                        turned ? w[(((kh - 1 - i) * kw + kw - 1 - j) * out + b) * in + a] : w[((i * kw + j) * in + a) * out + b];
                }
    launch<arrange_weights>({2, 1, 1}, {3, 1, 1}, w.data(), got.data(), kh, kw, in, out, rows, columns, int(turned),
                            int(in_columns));
    expect_equal(got, want, "arrange_weights");
}

void check_rows(int lines, int width, int channels, int out_w, int kw, int pad) {
    int padded = (kw * channels + 3) / 4 * 4;
    auto x = numbers(lines * width * channels);
    for (int step = -1; step < 2; step += 2) {
        int shift = step > 0 ? pad : -pad;
        auto got = nothing(lines * out_w * padded), want = std::vector<real>(got.size());
        for (int e = 0; e < lines * out_w * kw * channels; ++e) {
            int c = e % channels, j = e / channels % kw, q = e / channels / kw % out_w, line = e / channels / kw / out_w;
            int column = q - shift + j * step;
            if (column >= 0 && column < width)
                want[(line * out_w + q) * padded + j * channels + c] = x[(line * width + column) * channels + c];
        }
        launch<gather_rows>({3, 1, 1}, {5, 1, 1}, x.data(), got.data(), lines, width, channels, out_w, padded, kw, shift, step);
        expect_equal(got, want, "gather_rows");
    }
    auto rows = numbers(lines * width * padded), bias = numbers(channels, 5), y = nothing(lines * out_w * channels), want = y;
    for (int e = 0; e < lines * out_w * channels; ++e) {
        int o = e % channels, q = e / channels % out_w, line = e / channels / out_w;
        want[e] = bias[o];
        for (int j = 0; j < kw; ++j)
            if (q - pad + j >= 0 && q - pad + j < width)
                want[e] += rows[(line * width + q - pad + j) * padded + j * channels + o];
    }
    launch<sum_rows>({2, 1, 1}, {7, 1, 1}, rows.data(), bias.data(), y.data(), lines, width, channels, out_w, padded, kw, pad);
    expect_equal(y, want, "sum_rows");
}

int main() {
    for (int flags = 0; flags < 4; ++flags) check_arrange(2, 5, flags & 2 ? 8 : 3, flags & 2 ? 3 : 8, flags & 1, flags & 2);
    check_rows(6, 11, 3, 11, 9, 4);
    check_rows(3, 7, 3, 5, 3, 0);
}
