// Convolutions with few channels on one side, made fit for conv_mma.cu: a row of taps becomes channels. Stride 1.
//
// A layer of 3 channels would leave most of a tensor core's work empty, and its pixels do not begin at multiples of 16
// bytes. But a row of kw taps of 3 channels is one run of numbers. So for few inputs
//
//     x'[p, q, (j, c)] = x[p, q + j - P, c]             y = x' * w',   w'[i, (j, c), o] = w[i, j, c, o]
//
// is a convolution with kh x 1 taps of kw Cin channels, and for few outputs
//
//     z = x * w',   w'[i, c, (j, o)] = w[i, j, c, o]    y[p, q, o] = sum over j of z[p, q + j - P, (j, o)]
//
// The channels in brackets are rounded up to a multiple of 4 (`padded`), with zeros.
//
// Memory traffic.  gather_rows writes kw times what it reads, and sum_rows reads kw times what it writes. That is
// little beside the products: for the last layer of G, 112 bytes a pixel, where the other side of the layer has 256.

// w as w', for a convolution of `in` channels to `out` channels. turned: the convolution is the input gradient's, with
// taps turned by 180 degrees, and w's channels exchanged. columns: the taps of a row go to the columns of w', else to
// its rows.
extern "C" __global__ void arrange_weights(const real *w /*[kh*kw*in*out]*/, real *arranged /*[kh*rows*columns]*/,
                                           int kh, int kw, int in, int out, int rows, int columns, int turned,
                                           int in_columns) {
    FOR_EACH(e, kh * rows * columns) {
        int f = e % columns, r = e / columns % rows, i = e / columns / rows;
        int j = in_columns ? f / out : r / in, a = in_columns ? r : r % in, b = in_columns ? f % out : f;
        int tap = turned ? (kh - 1 - i) * kw + kw - 1 - j : i * kw + j;
        arranged[e] = j >= kw ? 0 : turned ? w[(tap * out + b) * in + a] : w[(tap * in + a) * out + b];
    }
}

// rows[.., q, (j, c)] = x[.., q - pad + j step, c] for j < kw, with zeros beyond the ends of a line and in the padding.
// step is 1, or -1 for the gradient of sum_rows.
extern "C" __global__ void gather_rows(const real *x /*[lines*width*channels]*/, real *rows /*[lines*out_w*padded]*/,
                                       int lines, int width, int channels, int out_w, int padded, int kw, int pad,
                                       int step) {
    FOR_EACH(e, lines * out_w * padded) {
        int f = e % padded, q = e / padded % out_w, line = e / padded / out_w;
        int j = f / channels, column = q - pad + j * step;
        bool in = j < kw && unsigned(column) < unsigned(width);
        rows[e] = in ? x[(line * width + column) * channels + f - j * channels] : 0;
    }
}

// y[.., q, o] = bias[o] + the sum over j < kw of rows[.., q - pad + j, (j, o)]. bias may be null.
extern "C" __global__ void sum_rows(const real *rows /*[lines*width*padded]*/, const real *bias /*[channels]*/,
                                    real *y /*[lines*out_w*channels]*/, int lines, int width, int channels, int out_w,
                                    int padded, int kw, int pad) {
    FOR_EACH(e, lines * out_w * channels) {
        int o = e % channels, q = e / channels % out_w, line = e / channels / out_w;
        real sum = bias ? bias[o] : 0;
        for (int j = 0; j < kw; ++j) {
            int column = q - pad + j;
            if (unsigned(column) < unsigned(width)) sum += rows[(line * width + column) * padded + j * channels + o];
        }
        y[e] = sum;
    }
}
