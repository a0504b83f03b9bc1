// Convolution to few output channels: FEW of them, a compile-time number, at stride 1, with a kernel of KH x KW. (The arguments kh, kw and cout are those same numbers, for the check of the arrays' sizes.)
//
// The tiles of conv.cu would be nearly empty here. Instead the lanes of a vector are neighbouring pixels, so the
// image goes to shared memory turned to [channel][row][column], with a halo, and every tap is the same data shifted by a pixel:
//
//     y[p, q .. q + LANES, o] += x[p + i, q + j .. q + j + LANES, c] * w[i, j, c, o]
//
// A thread makes ROWS_P rows below each other x 2 vectors of pixels, for all FEW channels. A row of the image that it has
// loaded serves up to ROWS_P rows of outputs, by another row of taps for each: 2 loads for 2 ROWS_P FEW multiplications.
// Each number of the image is read (BAND + KH - 1)/BAND * (STRIP + KW - 1)/STRIP times; y is written once.
//
// Variants: FEW=3 KH=9 KW=9; FEW=3 KH=3 KW=3; FEW=8 KH=3 KW=3

typedef Vec<LANES> V;
// ROWS_P VECS FEW sums have to fit into registers
constexpr int BAND = THREADS * ROWS_P, VECS = 2, STRIP = VECS * LANES, SLAB = 16 / sizeof(real);

extern "C" __global__ void __launch_bounds__(THREADS)
conv2d_few(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/, const real *bias /*[cout]*/,
           real *y /*[n*out_h*out_w*cout]*/, int n, int height, int width, int cin, int kh,
           int kw, int cout, int out_h, int out_w, int pad_y, int pad_x) {
    REQUIRE(blockDim.x == THREADS && kh == KH && kw == KW && cout == FEW);
    constexpr int ROWS_IN = BAND + KH - 1, COLUMNS_IN = STRIP + KW - 1;
    SHARED(real, tile, [SLAB][ROWS_IN][COLUMNS_IN]);
    int thread = threadIdx.x;
    int bands = (out_h + BAND - 1) / BAND, strips = (out_w + STRIP - 1) / STRIP;
    for (int place = blockIdx.x; place < n * bands * strips; place += gridDim.x) {
        int image = place / strips / bands, p0 = place / strips % bands * BAND, q0 = place % strips * STRIP;
        V sum[ROWS_P][VECS][FEW];
        for (int r = 0; r < ROWS_P; ++r)
            for (int v = 0; v < VECS; ++v)
                for (int o = 0; o < FEW; ++o) sum[r][v][o] = V::broadcast(bias ? bias[o] : 0);
        for (int c0 = 0; c0 < cin; c0 += SLAB) {
            __syncthreads();
            for (int e = thread; e < ROWS_IN * COLUMNS_IN; e += THREADS) {
                int r = e / COLUMNS_IN, q = e % COLUMNS_IN, row = p0 - pad_y + r, column = q0 - pad_x + q;
                bool in = unsigned(row) < unsigned(height) && unsigned(column) < unsigned(width);
                const real *from = x + ((long long)(image * height + row) * width + column) * cin + c0;
                for (int c = 0; c < SLAB; ++c) tile[c][r][q] = in && c0 + c < cin ? from[c] : 0;
            }
            __syncthreads();
            for (int c = 0; c < SLAB && c0 + c < cin; ++c)
                for (int j = 0; j < KW; ++j)
                    UNROLL for (int row = 0; row < ROWS_P + KH - 1; ++row) {
                        V pixels[VECS];
                        UNROLL for (int v = 0; v < VECS; ++v)
                            pixels[v] = V::load_any(&tile[c][thread * ROWS_P + row][v * LANES + j]);
                        UNROLL for (int r = 0; r < ROWS_P; ++r) {
                            int i = row - r;
                            if (i < 0 || i >= KH) continue;
                            const real *tap = w + ((i * KW + j) * cin + c0 + c) * FEW;
                            UNROLL for (int v = 0; v < VECS; ++v)
                                UNROLL for (int o = 0; o < FEW; ++o) sum[r][v][o].fma(tap[o], pixels[v]);
                        }
                    }
        }
        for (int r = 0; r < ROWS_P; ++r) {
            int p = p0 + thread * ROWS_P + r;
            for (int v = 0; v < VECS && p < out_h; ++v)
                for (int lane = 0; lane < LANES; ++lane) {
                    int q = q0 + v * LANES + lane;
                    if (q < out_w)
                        for (int o = 0; o < FEW; ++o)
                            y[((long long)(image * out_h + p) * out_w + q) * FEW + o] = sum[r][v][o].lane[lane];
                }
        }
    }
}

// dW of the same: a thread sums TAPS taps in a row of the kernel, for LANES channels, over the rows of a part.
// Its numbers of x are vectors along the channels, as they lie in memory, and g is broadcast.
constexpr int TAPS = KW < 5 ? KW : 5, TAP_GROUPS = (KW + TAPS - 1) / TAPS;

extern "C" __global__ void __launch_bounds__(THREADS)
weight_grad_few(const real *x /*[n*height*width*cin]*/, const real *g /*[n*out_h*out_w*cout]*/,
                real *parts /*[n_parts*kh*kw*cin*cout]*/, int n, int height, int width, int cin, int kh, int kw, int cout,
                int out_h, int out_w, int pad_y, int pad_x, int part_rows, int n_parts) {
    REQUIRE(blockDim.x == THREADS && kh == KH && kw == KW && cout == FEW && part_rows * n_parts >= n * out_h);
    int vectors = (cin + LANES - 1) / LANES, units = KH * TAP_GROUPS * vectors;
    for (int unit = blockIdx.x * THREADS + threadIdx.x; unit < units * n_parts; unit += gridDim.x * THREADS) {
        int part = unit / units, c = unit % vectors * LANES, j0 = unit / vectors % TAP_GROUPS * TAPS;
        int i = unit / vectors / TAP_GROUPS % KH, count = cin - c < LANES ? cin - c : LANES;
        int taps = KW - j0 < TAPS ? KW - j0 : TAPS;
        bool whole = cin % LANES == 0;
        V sum[TAPS][FEW];
        for (int t = 0; t < TAPS; ++t)
            for (int o = 0; o < FEW; ++o) sum[t][o] = V::broadcast(0);
        for (int line = part * part_rows; line < min((part + 1) * part_rows, n * out_h); ++line) {
            int row = line % out_h + i - pad_y;
            if (unsigned(row) >= unsigned(height)) continue;
            const real *from = x + (long long)(line / out_h * height + row) * width * cin + c;
            const real *cotangent = g + (long long)line * out_w * FEW;
            // Where all TAPS columns are inside the image, nothing has to be asked: that is nearly everywhere.
            int first = min(max(pad_x - j0, 0), out_w), last = max(min(width + pad_x - j0 - TAPS + 1, out_w), first);
            for (int q = 0; q < out_w; ++q)
                if (q >= first && q < last)
                    UNROLL for (int t = 0; t < TAPS; ++t) {
                        V pixel = V::load_edge(from + (q + j0 + t - pad_x) * cin, count, whole);
                        UNROLL for (int o = 0; o < FEW; ++o) sum[t][o].fma(cotangent[q * FEW + o], pixel);
                    }
                else
                    UNROLL for (int t = 0; t < TAPS; ++t) {
                        int column = q + j0 + t - pad_x;
                        if (unsigned(column) >= unsigned(width)) continue;
                        V pixel = V::load_edge(from + column * cin, count, whole);
                        UNROLL for (int o = 0; o < FEW; ++o) sum[t][o].fma(cotangent[q * FEW + o], pixel);
                    }
        }
        for (int t = 0; t < taps; ++t)
            for (int o = 0; o < FEW; ++o)
                for (int lane = 0; lane < count; ++lane)
                    parts[(((long long)part * KH * KW + i * KW + j0 + t) * cin + c + lane) * FEW + o] = sum[t][o].lane[lane];
    }
}
