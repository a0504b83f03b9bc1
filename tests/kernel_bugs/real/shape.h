// A convolution, for the main()s that check one against loops.
#include "host.h"

struct Shape {
    int n, height, width, cin, kh, kw, cout, stride_y, stride_x, pad_y, pad_x;
    int out_h() const { return (height + 2 * pad_y - kh) / stride_y + 1; }
    int out_w() const { return (width + 2 * pad_x - kw) / stride_x + 1; }
    int pixels() const { return n * out_h() * out_w(); }
    int taps() const { return kh * kw * cin; }
    Geometry geometry() const {
        return {n, height, width, cin, kh, kw, cout, out_h(), out_w(), stride_y, stride_x, pad_y, pad_x};
    }
};

// f(element of x, of w, of y) for each product of the trilinear form.
template <class F>
void for_each_product(const Shape &s, F f) {
    for (int m = 0; m < s.pixels(); ++m)
        for (int k = 0; k < s.taps(); ++k) {
            int q = m % s.out_w(), p = m / s.out_w() % s.out_h(), image = m / s.out_w() / s.out_h();
            int c = k % s.cin, j = k / s.cin % s.kw, i = k / s.cin / s.kw;
            int row = p * s.stride_y + i - s.pad_y, column = q * s.stride_x + j - s.pad_x;
            if (row < 0 || row >= s.height || column < 0 || column >= s.width) continue;
            for (int o = 0; o < s.cout; ++o)
                f(((image * s.height + row) * s.width + column) * s.cin + c, k * s.cout + o, m * s.cout + o);
        }
}
