// What the four steps share. Each step makes the same convolution of NHWC arrays:
//
//     y[n, p, q, o] = sum over i, j, c of x[n, s p + i - P, s q + j - P, c] * w[i, j, c, o]
//
// It is a matrix product Y = A W. Y has a row for each output pixel and a column for each output channel. A row of A
// holds the pixels under the kernel at one output pixel, and A is never stored.

struct Geometry {
    int n, height, width, cin, kh, kw, cout, out_h, out_w, stride_y, stride_x, pad_y, pad_x;
};

// Output pixels of all images.
__device__ __forceinline__ int pixels_of(const Geometry &g) { return g.n * g.out_h * g.out_w; }

// The pixel of x under tap (i, j) of output pixel m. It is null beyond the image, and for an m beyond the last.
__device__ __forceinline__ const real *pixel_under(const Geometry &g, const real *x, int m, int i, int j) {
    int q = m % g.out_w, p = m / g.out_w % g.out_h, image = m / g.out_w / g.out_h;
    int row = p * g.stride_y + i - g.pad_y, column = q * g.stride_x + j - g.pad_x;
    bool inside = image < g.n && unsigned(row) < unsigned(g.height) && unsigned(column) < unsigned(g.width);
    return inside ? x + ((image * g.height + row) * g.width + column) * g.cin : nullptr;
}
