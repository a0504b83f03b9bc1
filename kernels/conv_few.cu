// Convolution with few output channels, at stride 1. How many, FEW, and the size of w, KH x KW, are macros. (They must
// be the cout, kh and kw of the geometry: the sizes of the arrays are checked against those.)
//
//     y[p, q .. q + LANES, o] += x[p + i, q + j .. q + j + LANES, c] * w[i, j, c, o]
//
// The tiles of conv.cu would be nearly empty here. Instead, neighbouring lanes are neighbouring pixels: the lanes of a
// vector on a CPU, those of a warp on a GPU. So a block loads a piece of the image into shared memory as
// [channel][row][column], with a halo. There every tap reads the same numbers, shifted by a pixel.
//
// Threads.  A thread makes ROWS_P rows of outputs, one below the other, for all FEW channels: on a CPU of 2 vectors of
// pixels, on a GPU of 1 pixel. Each row of the image that it loads is used for up to ROWS_P rows of outputs, with
// another row of taps for each. So a load is followed by ROWS_P FEW multiplications.
//
// Memory traffic.  Each number of the image is read (BAND + KH - 1)/BAND * (STRIP + KW - 1)/STRIP times. y is written
// once.
//
// Variants: FEW=3 KH=9 KW=9; FEW=3 KH=3 KW=3; FEW=8 KH=3 KW=3

#include "convolution.cuh"

typedef Vec<LANES> V;
#ifdef CPU
constexpr int ACROSS = 1, VECS = 2, PIXELS = LANES;  // threads beside each other, and what each loads at once
#else
constexpr int ACROSS = 32, VECS = 1, PIXELS = 1;
#endif
// A block makes BAND x STRIP pixels, from SLAB channels at a time. ROWS_P VECS FEW sums have to fit into registers.
constexpr int BAND = THREADS / ACROSS * ROWS_P, STRIP = ACROSS * VECS * PIXELS, SLAB = 16 / sizeof(real);
static_assert(THREADS % ACROSS == 0, "some threads would have no outputs");

__device__ __forceinline__ void require_macros(const Geometry &g) {
    REQUIRE(blockDim.x == THREADS && g.kh == KH && g.kw == KW && g.cout == FEW);
    REQUIRE(g.stride_y == 1 && g.stride_x == 1);
}

extern "C" __global__ void __launch_bounds__(THREADS)
conv2d_few(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/, const real *bias /*[cout]*/,
           real *y /*[n*out_h*out_w*cout]*/, Geometry g) {
    require_macros(g);
    constexpr int ROWS_IN = BAND + KH - 1, COLUMNS_IN = STRIP + KW - 1;
    SHARED(real, tile, [SLAB][ROWS_IN][COLUMNS_IN]);
    int thread = threadIdx.x, first_row = thread / ACROSS * ROWS_P, first_column = thread % ACROSS * VECS * PIXELS;
#ifndef CPU
    SHARED(real, taps, [SLAB][KW][KH][FEW]);  // a CPU has them in its cache
#endif
    int bands = (g.out_h + BAND - 1) / BAND, strips = (g.out_w + STRIP - 1) / STRIP;
    for (int place = blockIdx.x; place < g.n * bands * strips; place += gridDim.x) {
        int image = place / strips / bands, p0 = place / strips % bands * BAND, q0 = place % strips * STRIP;
        Vec<PIXELS> sum[ROWS_P][VECS][FEW];
        for (int r = 0; r < ROWS_P; ++r)
            for (int v = 0; v < VECS; ++v)
                for (int o = 0; o < FEW; ++o) sum[r][v][o] = Vec<PIXELS>::broadcast(bias ? bias[o] : 0);
        for (int c0 = 0; c0 < g.cin; c0 += SLAB) {
            __syncthreads();
            for (int e = thread; e < ROWS_IN * COLUMNS_IN; e += THREADS) {
                int r = e / COLUMNS_IN, q = e % COLUMNS_IN, row = p0 - g.pad_y + r, column = q0 - g.pad_x + q;
                bool in = unsigned(row) < unsigned(g.height) && unsigned(column) < unsigned(g.width);
                const real *from = x + ((long long)(image * g.height + row) * g.width + column) * g.cin + c0;
                for (int c = 0; c < SLAB; ++c) tile[c][r][q] = in && c0 + c < g.cin ? from[c] : 0;
            }
#ifndef CPU
            for (int e = thread; e < KH * KW * SLAB * FEW; e += THREADS) {
                int o = e % FEW, i = e / FEW % KH, j = e / FEW / KH % KW, c = e / FEW / KH / KW;
                taps[c][j][i][o] = c0 + c < g.cin ? w[((i * KW + j) * g.cin + c0 + c) * FEW + o] : 0;
            }
#endif
            __syncthreads();
            for (int c = 0; c < SLAB && c0 + c < g.cin; ++c)
                for (int j = 0; j < KW; ++j)
                    UNROLL for (int row = 0; row < ROWS_P + KH - 1; ++row) {
                        Vec<PIXELS> pixels[VECS];
                        UNROLL for (int v = 0; v < VECS; ++v)
                            pixels[v] = Vec<PIXELS>::load_any(&tile[c][first_row + row][first_column + v * PIXELS + j]);
                        UNROLL for (int r = 0; r < ROWS_P; ++r) {
                            int i = row - r;
                            if (i < 0 || i >= KH) continue;
#ifdef CPU
                            const real *tap = w + ((i * KW + j) * g.cin + c0 + c) * FEW;
#else
                            const real *tap = taps[c][j][i];
#endif
                            UNROLL for (int v = 0; v < VECS; ++v)
                                UNROLL for (int o = 0; o < FEW; ++o) sum[r][v][o].fma(tap[o], pixels[v]);
                        }
                    }
        }
        for (int r = 0; r < ROWS_P; ++r) {
            int p = p0 + first_row + r;
            for (int v = 0; v < VECS && p < g.out_h; ++v)
                for (int lane = 0; lane < PIXELS; ++lane) {
                    int q = q0 + first_column + v * PIXELS + lane;
                    if (q < g.out_w)
                        for (int o = 0; o < FEW; ++o)
                            y[((long long)(image * g.out_h + p) * g.out_w + q) * FEW + o] = sum[r][v][o].lane[lane];
                }
        }
    }
}

// The weight gradient of the same convolution. A thread sums TAPS neighbouring taps of a row of w, for LANES channels,
// over the rows of one part. Its numbers of x are vectors along the channels, as they lie in memory. Each number of the
// cotangent multiplies a whole vector.
constexpr int TAPS = KW < 5 ? KW : 5, TAP_GROUPS = (KW + TAPS - 1) / TAPS;

extern "C" __global__ void __launch_bounds__(THREADS, 1)  // a thread may have all registers that it needs
weight_grad_few(const real *x /*[n*height*width*cin]*/, const real *cotangent /*[n*out_h*out_w*cout]*/,
                real *parts /*[n_parts*kh*kw*cin*cout]*/, Geometry g, int part_rows, int n_parts) {
    require_macros(g);
    REQUIRE(part_rows * n_parts >= g.n * g.out_h);
    int vectors = (g.cin + LANES - 1) / LANES, units = KH * TAP_GROUPS * vectors;
    for (int unit = blockIdx.x * THREADS + threadIdx.x; unit < units * n_parts; unit += gridDim.x * THREADS) {
        int part = unit / units, c = unit % vectors * LANES, j0 = unit / vectors % TAP_GROUPS * TAPS;
        int i = unit / vectors / TAP_GROUPS % KH, count = g.cin - c < LANES ? g.cin - c : LANES;
        int taps = KW - j0 < TAPS ? KW - j0 : TAPS;
        bool whole = g.cin % LANES == 0;
        V sum[TAPS][FEW];
        for (int t = 0; t < TAPS; ++t)
            for (int o = 0; o < FEW; ++o) sum[t][o] = V::broadcast(0);
        for (int line = part * part_rows; line < min((part + 1) * part_rows, g.n * g.out_h); ++line) {
            int row = line % g.out_h + i - g.pad_y;
            if (unsigned(row) >= unsigned(g.height)) continue;
            const real *from = x + (long long)(line / g.out_h * g.height + row) * g.width * g.cin + c;
            const real *cotangents = cotangent + (long long)line * g.out_w * FEW;
            // From `first` to `last`, which is nearly everywhere, all TAPS columns are inside the image.
            int first = min(max(g.pad_x - j0, 0), g.out_w);
            int last = max(min(g.width + g.pad_x - j0 - TAPS + 1, g.out_w), first);
            for (int q = 0; q < g.out_w; ++q)
                if (q >= first && q < last)
                    UNROLL for (int t = 0; t < TAPS; ++t) {
                        V pixel = V::load_edge(from + (q + j0 + t - g.pad_x) * g.cin, count, whole);
                        UNROLL for (int o = 0; o < FEW; ++o) sum[t][o].fma(cotangents[q * FEW + o], pixel);
                    }
                else
                    UNROLL for (int t = 0; t < TAPS; ++t) {
                        int column = q + j0 + t - g.pad_x;
                        if (unsigned(column) >= unsigned(g.width)) continue;
                        V pixel = V::load_edge(from + column * g.cin, count, whole);
                        UNROLL for (int o = 0; o < FEW; ++o) sum[t][o].fma(cotangents[q * FEW + o], pixel);
                    }
        }
        for (int t = 0; t < taps; ++t) {
            real *to = parts + (((long long)part * KH * KW + i * KW + j0 + t) * g.cin + c) * FEW;
            for (int o = 0; o < FEW; ++o)
                for (int lane = 0; lane < count; ++lane) to[lane * FEW + o] = sum[t][o].lane[lane];
        }
    }
}
