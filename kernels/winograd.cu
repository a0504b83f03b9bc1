// Convolution of 3 x 3 at stride 1 with a quarter of the multiplications: Winograd's F(4x4, 3x3).
// Lavin and Gray 2016, "Fast algorithms for convolutional neural networks", algorithm 1.
//
// A convolution is a product of polynomials, and a polynomial is known by its values at a few points, where a product
// is one multiplication each. Along a line, 4 outputs of 3 taps need 6 points, not 12 products; over a square of
// 4 x 4 outputs they need 36 products, not 144:
//
//     Y = A^T [ (G w G^T) * (B^T d B) ] A        d: 6 x 6 pixels, w: 3 x 3 taps, Y: 4 x 4 outputs, *: number by number
//
// Summed over the input channels, each of the 36 products is a matrix product: (tiles x Cin) (Cin x Cout).
//
//     winograd_conv2d         d -> V = B^T d B,  M = V U,  M -> Y = A^T M A. winograd_weights makes U = G w G^T.
//     winograd_weight_grad    dU = V^T W with W = A g A^T, the adjoint of M = V U in U, in parts. winograd_finish makes
//                             dW = G^T dU G.
//
// The points are 0, +-P, +-Q and infinity. P = 5/8 and Q = 3/2 round less than the usual 1 and 2: in float32 the
// result is off by 8e-7 of its norm at 64 channels. The direct sum is off by 2e-7, and the usual points by 2e-6.
//
// Threads.  A block takes CHUNK tiles at a time through three phases, with barriers between them: transform the image,
// multiply, transform back. In the transforms a thread has one tile and a vector of channels. In the product it has
// ROWS x PANEL sums in registers. Blocks take chunks in turn, so that any grid is right.
//
// Memory traffic.  x is read 36/16 times, the first time from memory and then from the cache. y is written once. V and
// M are the block's own piece of `scratch`, which is small enough for the second-level cache. U is read once for each
// chunk.

#include "convolution.cuh"

constexpr real P = 0.625, Q = 1.5, P2 = P * P, Q2 = Q * Q;
constexpr int POINTS = 36;

#ifdef CPU
constexpr int WIDTH = LANES, VECS = 2;  // WIDTH: channels that a transforming thread has
constexpr int ROWS = SUM_ROWS, ROWS_C = SUM_ROWS == 12 ? 8 : 4;  // ROWS_C: of channels, in the weight gradient
#else
constexpr int WIDTH = 1, VECS = 2, ROWS = 6, ROWS_C = 8;
#endif
static_assert(CHUNK % ROWS == 0, "the tiles beyond the last ROWS of a chunk would never be multiplied");
constexpr int PANEL = LANES * VECS;
static_assert(UNIT_C % ROWS_C == 0 && UNIT_C % WIDTH == 0, "the last channels would be left out");
static_assert(UNIT_O % PANEL == 0, "the last channels would be left out");
typedef Vec<LANES> V;
typedef Vec<WIDTH> Channels;

__device__ __forceinline__ int round_up(int n, int unit) { return (n + unit - 1) / unit * unit; }

// Channels are rounded up to whole units: cin to `depth`, cout to `padded`. The output channels go through the last two
// phases `span` at a time. There is scratch memory for so many `blocks`.
struct Units {
    int padded, depth, span, blocks;
};

__device__ __forceinline__ void require_units(const Geometry &g, const Units &units) {
    REQUIRE(g.kh == 3 && g.kw == 3 && g.stride_y == 1 && g.stride_x == 1);
    REQUIRE(units.depth == round_up(g.cin, UNIT_C) && units.padded == round_up(g.cout, UNIT_O));
    REQUIRE(units.span % UNIT_O == 0 && units.padded % units.span == 0);
}

// ---- The transforms along a line ---------------------------------------------------------------------

// B^T d. Row k has the coefficients of the polynomial (x - a_0) (x - a_1) ... without its factor (x - a_k). The rows of
// a pair of points +-a share their even and their odd half.
template <class T>
__device__ __forceinline__ void transform_image(T (&d)[6]) {
    T even_p = d[4] - Q2 * d[2], odd_p = P * (d[3] - Q2 * d[1]);
    T even_q = d[4] - P2 * d[2], odd_q = Q * (d[3] - P2 * d[1]);
    d[0] = (P2 * Q2) * d[0] - (P2 + Q2) * d[2] + d[4];
    d[5] = (P2 * Q2) * d[1] - (P2 + Q2) * d[3] + d[5];
    d[1] = even_p + odd_p;
    d[2] = even_p - odd_p;
    d[3] = even_q + odd_q;
    d[4] = even_q - odd_q;
}

// A^T m, the adjoint of transform_cotangent: from 6 values to 4 outputs.
template <class T>
__device__ __forceinline__ void transform_output(T (&m)[6]) {
    T sum_p = m[1] + m[2], difference_p = m[1] - m[2], sum_q = m[3] + m[4], difference_q = m[3] - m[4];
    m[0] = m[0] + sum_p + sum_q;
    m[1] = P * difference_p + Q * difference_q;
    m[2] = P2 * sum_p + Q2 * sum_q;
    m[3] = (P * P2) * difference_p + (Q * Q2) * difference_q + m[5];
}

// A g: the values at the 6 points of the polynomial with the 4 coefficients g.
template <class T>
__device__ __forceinline__ void transform_cotangent(T (&g)[6]) {
    T even_p = g[0] + P2 * g[2], odd_p = P * g[1] + (P * P2) * g[3];
    T even_q = g[0] + Q2 * g[2], odd_q = Q * g[1] + (Q * Q2) * g[3];
    g[5] = g[3];
    g[1] = even_p + odd_p;
    g[2] = even_p - odd_p;
    g[3] = even_q + odd_q;
    g[4] = even_q - odd_q;
}

// G w: the values at the 6 points of the polynomial with the 3 coefficients w. Each is divided by the product of the
// point's differences from the others.
constexpr real AT_0 = 1 / (P2 * Q2), AT_P = 1 / (2 * P2 * (P2 - Q2)), AT_Q = 1 / (2 * Q2 * (Q2 - P2));
template <class T>
__device__ __forceinline__ void transform_weights(T (&w)[6]) {
    T even_p = AT_P * w[0] + (AT_P * P2) * w[2], odd_p = (AT_P * P) * w[1];
    T even_q = AT_Q * w[0] + (AT_Q * Q2) * w[2], odd_q = (AT_Q * Q) * w[1];
    w[0] = AT_0 * w[0];
    w[5] = w[2];
    w[1] = even_p + odd_p;
    w[2] = even_p - odd_p;
    w[3] = even_q + odd_q;
    w[4] = even_q - odd_q;
}

// G^T u, the adjoint of transform_weights.
template <class T>
__device__ __forceinline__ void transform_weights_back(T (&u)[6]) {
    T sum_p = AT_P * (u[1] + u[2]), difference_p = AT_P * (u[1] - u[2]);
    T sum_q = AT_Q * (u[3] + u[4]), difference_q = AT_Q * (u[3] - u[4]);
    u[0] = AT_0 * u[0] + sum_p + sum_q;
    u[1] = P * difference_p + Q * difference_q;
    u[2] = P2 * sum_p + Q2 * sum_q + u[5];
}

// Transform both sides of a square: down the first `columns` columns, then along the first `rows` rows.
#define TRANSFORM_SQUARE(transform, square, columns, rows)                               \
    do {                                                                                 \
        UNROLL for (int j_ = 0; j_ < columns; ++j_) {                                    \
            Channels line_[6];                                                           \
            UNROLL for (int i_ = 0; i_ < 6; ++i_) line_[i_] = square[i_][j_];            \
            transform(line_);                                                            \
            UNROLL for (int i_ = 0; i_ < 6; ++i_) square[i_][j_] = line_[i_];            \
        }                                                                                \
        UNROLL for (int i_ = 0; i_ < rows; ++i_) transform(square[i_]);                  \
    } while (0)

// ---- Tiles -------------------------------------------------------------------------------------------

// The tiles of 4 x 4 outputs that a convolution is cut into: how many down an image, across it, and in all.
struct Tiles {
    int down, across, count;
};

__device__ __forceinline__ Tiles tiles_of(const Geometry &g) {
    int down = (g.out_h + 3) / 4, across = (g.out_w + 3) / 4;
    return {down, across, g.n * down * across};
}

// V[point][t][c] = B^T d B for CHUNK tiles from number `first` on and channels c < depth, with zeros beyond the last
// tile and the last channel.
__device__ __forceinline__ void transform_images(const Geometry &g, const Tiles &tiles, const real *x, real *v,
                                                 int first, int depth) {
    int vectors = depth / WIDTH;
    bool whole = g.cin % LANES == 0;
    for (int unit = threadIdx.x; unit < CHUNK * vectors; unit += blockDim.x) {
        int t = unit / vectors, c = unit % vectors * WIDTH, tile = first + t;
        bool exists = tile < tiles.count && c < g.cin;
        int row = tile / tiles.across % tiles.down * 4 - g.pad_y, column = tile % tiles.across * 4 - g.pad_x;
        int image = tile / tiles.across / tiles.down;
        Channels d[6][6];
        for (int i = 0; i < 6; ++i)
            UNROLL for (int j = 0; j < 6; ++j) {
                bool in = exists && unsigned(row + i) < unsigned(g.height) && unsigned(column + j) < unsigned(g.width);
                int at = ((image * g.height + row + i) * g.width + column + j) * g.cin + c;
                d[i][j] = in ? Channels::load_edge(x + at, g.cin - c, whole) : Channels::broadcast(0);
            }
        TRANSFORM_SQUARE(transform_image, d, 6, 6);
        real *to = v + (long long)t * depth + c;
        for (int i = 0; i < 6; ++i)
            UNROLL for (int j = 0; j < 6; ++j) d[i][j].store(to + (long long)(i * 6 + j) * CHUNK * depth);
    }
}

// W[point][t][o] = A g A^T for the same tiles of the cotangent, and `span` channels from channel `from` on.
__device__ __forceinline__ void transform_cotangents(const Geometry &g, const Tiles &tiles, const real *cotangent,
                                                     real *w, int first, int from, int span) {
    int vectors = span / WIDTH;
    bool whole = g.cout % LANES == 0;
    for (int unit = threadIdx.x; unit < CHUNK * vectors; unit += blockDim.x) {
        int t = unit / vectors, c = unit % vectors * WIDTH, o = from + c, tile = first + t;
        bool exists = tile < tiles.count && o < g.cout;
        int row = tile / tiles.across % tiles.down * 4, column = tile % tiles.across * 4;
        int image = tile / tiles.across / tiles.down;
        Channels d[6][6];
        for (int i = 0; i < 4; ++i)
            UNROLL for (int j = 0; j < 4; ++j) {
                bool in = exists && row + i < g.out_h && column + j < g.out_w;
                int at = ((image * g.out_h + row + i) * g.out_w + column + j) * g.cout + o;
                d[i][j] = in ? Channels::load_edge(cotangent + at, g.cout - o, whole) : Channels::broadcast(0);
            }
        TRANSFORM_SQUARE(transform_cotangent, d, 4, 6);
        real *to = w + (long long)t * span + c;
        for (int i = 0; i < 6; ++i)
            UNROLL for (int j = 0; j < 6; ++j) d[i][j].store(to + (long long)(i * 6 + j) * CHUNK * span);
    }
}

// The outputs A^T M A of those tiles and channels, through the epilogue.
__device__ __forceinline__ void transform_outputs(const Geometry &g, const Tiles &tiles, const real *m,
                                                  const Epilogue &epilogue, int first, int from, int span) {
    int vectors = span / WIDTH;
    for (int unit = threadIdx.x; unit < CHUNK * vectors; unit += blockDim.x) {
        int t = unit / vectors, c = unit % vectors * WIDTH, tile = first + t;
        if (tile >= tiles.count || from + c >= g.cout) continue;
        int row = tile / tiles.across % tiles.down * 4, column = tile % tiles.across * 4;
        int image = tile / tiles.across / tiles.down;
        Channels d[6][6];
        const real *source = m + (long long)t * span + c;
        for (int i = 0; i < 6; ++i)
            UNROLL for (int j = 0; j < 6; ++j) d[i][j] = Channels::load(source + (long long)(i * 6 + j) * CHUNK * span);
        TRANSFORM_SQUARE(transform_output, d, 6, 4);
        EpilogueChannels<WIDTH> channels(epilogue, from + c);
        for (int i = 0; i < 4 && row + i < g.out_h; ++i)
            for (int j = 0; j < 4 && column + j < g.out_w; ++j)
                channels.store(epilogue, d[i][j], image, row + i, column + j);
    }
}

// ---- The products ------------------------------------------------------------------------------------

// R x PANEL sums of a thread. add_product adds the product of R rows of `left` and a panel of `right`, `depth` deep:
// number k of row r is left[r row_step + k k_step], and row k of the panel begins at right + k right_step.
template <int R>
struct Sums {
    V of[R][VECS];
    __device__ __forceinline__ void clear() {
        UNROLL for (int r = 0; r < R; ++r)
            UNROLL for (int v = 0; v < VECS; ++v) of[r][v] = V::broadcast(0);
    }
    __device__ __forceinline__ void load(const real *from, int step) {
        UNROLL for (int r = 0; r < R; ++r)
            UNROLL for (int v = 0; v < VECS; ++v) of[r][v] = V::load(from + (long long)r * step + v * LANES);
    }
    __device__ __forceinline__ void store(real *to, int step) const {
        UNROLL for (int r = 0; r < R; ++r)
            UNROLL for (int v = 0; v < VECS; ++v) of[r][v].store(to + (long long)r * step + v * LANES);
    }
    __device__ __forceinline__ void add_product(const real *left, int row_step, int k_step, const real *right,
                                                int right_step, int depth) {
        for (int k = 0; k < depth; ++k, left += k_step, right += right_step) {
            V b[VECS];
            UNROLL for (int v = 0; v < VECS; ++v) b[v] = V::load(right + v * LANES);
            UNROLL for (int r = 0; r < R; ++r) {
                real a = left[r * row_step];
                UNROLL for (int v = 0; v < VECS; ++v) of[r][v].fma(a, b[v]);
            }
        }
    }
};

// ---- Kernels -----------------------------------------------------------------------------------------

// U = G w G^T, in panels: U[point][panel][c][PANEL], with zeros for channels beyond the last. With `turned`, w is first
// turned by 180 degrees and transposed, w'[i, j, o, c] = w[2-i, 2-j, c, o], which makes the input gradient a
// convolution. cin and cout are those of the convolution that U is for. A thread has a vector of output channels of an
// input channel.
extern "C" __global__ void winograd_weights(const real *w /*[9*cin*cout]*/, real *u /*[36*cin*padded]*/, int cin,
                                            int cout, int padded, int turned) {
    REQUIRE(padded == round_up(cout, UNIT_O));
    int vectors = padded / WIDTH;
    bool whole = cout % LANES == 0;
    for (int unit = THREAD_NUMBER; unit < cin * vectors; unit += THREAD_COUNT) {
        int c = unit % cin, o = unit / cin * WIDTH;
        Channels d[6][6];
        for (int i = 0; i < 3; ++i)
            for (int j = 0; j < 3; ++j) {
                int at = ((i * 3 + j) * cin + c) * cout + o;
                if (!turned) d[i][j] = o < cout ? Channels::load_edge(w + at, cout - o, whole) : Channels::broadcast(0);
                else
                    for (int lane = 0; lane < WIDTH; ++lane)
                        d[i][j].lane[lane] = o + lane < cout ? w[((8 - i * 3 - j) * cout + o + lane) * cin + c] : 0;
            }
        TRANSFORM_SQUARE(transform_weights, d, 3, 6);
        real *to = u + ((long long)(o / PANEL) * cin + c) * PANEL + o % PANEL;
        for (int i = 0; i < 6; ++i)
            UNROLL for (int j = 0; j < 6; ++j) d[i][j].store(to + (long long)(i * 6 + j) * cin * padded);
    }
}

// bias, negative_slope and residual may be null (Epilogue in convolution.cuh).
extern "C" __global__ void winograd_conv2d(const real *x /*[n*height*width*cin]*/, const real *u /*[36*cin*padded]*/,
                                           const real *bias /*[cout]*/,
                                           const real *negative_slope /*[cout/shuffle/shuffle]*/,
                                           const real *residual /*[n*out_h*out_w*cout]*/,
                                           real *y /*[n*out_h*out_w*cout]*/,
                                           real *scratch /*[blocks*36*CHUNK*(depth+span)]*/, Geometry g, Units units,
                                           int shuffle) {
    require_units(g, units);
    REQUIRE(gridDim.x <= units.blocks);
    int padded = units.padded, depth = units.depth, span = units.span;
    Tiles tiles = tiles_of(g);
    Epilogue epilogue = {y, bias, negative_slope, residual, g.out_h, g.out_w, g.cout, shuffle};
    REQUIRE(shuffle == 1 || epilogue.whole_pixels(WIDTH));
    real *v = scratch + (long long)blockIdx.x * POINTS * CHUNK * (depth + span);
    real *m = v + (long long)POINTS * CHUNK * depth;
    for (int first = blockIdx.x * CHUNK; first < tiles.count; first += gridDim.x * CHUNK) {
        transform_images(g, tiles, x, v, first, depth);
        __syncthreads();
        for (int from = 0; from < padded; from += span) {
            int panels = min(span, padded - from) / PANEL, groups = CHUNK / ROWS;
            for (int unit = threadIdx.x; unit < POINTS * panels * groups; unit += blockDim.x) {
                int row = unit % groups * ROWS, panel = unit / groups % panels, point = unit / groups / panels;
                Sums<ROWS> sums;
                sums.clear();
                sums.add_product(v + ((long long)point * CHUNK + row) * depth, depth, 1,
                                 u + ((long long)point * padded + from + panel * PANEL) * g.cin, PANEL, g.cin);
                sums.store(m + ((long long)point * CHUNK + row) * span + panel * PANEL, span);
            }
            __syncthreads();
            transform_outputs(g, tiles, m, epilogue, first, from, min(span, padded - from));
            __syncthreads();
        }
    }
}

// dU[part][span][point][c][span number]. A block takes one part of `part_tiles` tiles and one span after another.
extern "C" __global__ void winograd_weight_grad(const real *x /*[n*height*width*cin]*/,
                                                const real *cotangent /*[n*out_h*out_w*cout]*/,
                                                real *parts /*[n_parts*36*depth*padded]*/,
                                                real *scratch /*[blocks*36*CHUNK*(depth+span)]*/, Geometry g,
                                                Units units, int part_tiles, int n_parts) {
    Tiles tiles = tiles_of(g);
    require_units(g, units);
    REQUIRE(gridDim.x <= units.blocks && (long long)n_parts * part_tiles >= tiles.count);
    int padded = units.padded, depth = units.depth, span = units.span;
    real *v = scratch + (long long)blockIdx.x * POINTS * CHUNK * (depth + span);
    real *w = v + (long long)POINTS * CHUNK * depth;
    int spans = padded / span;
    for (int place = blockIdx.x; place < n_parts * spans; place += gridDim.x) {
        int part = place / spans, from = place % spans * span;
        int start = part * part_tiles, stop = min(start + part_tiles, tiles.count);
        real *du = parts + (long long)place * POINTS * depth * span;
        for (int first = start; first == start || first < stop; first += CHUNK) {  // once, if there is nothing to sum
            int count = min(CHUNK, stop - first);
            transform_images(g, tiles, x, v, first, depth);
            transform_cotangents(g, tiles, cotangent, w, first, from, span);
            __syncthreads();
            int panels = span / PANEL, groups = depth / ROWS_C;
            for (int unit = threadIdx.x; unit < POINTS * panels * groups; unit += blockDim.x) {
                int row = unit % groups * ROWS_C, panel = unit / groups % panels, point = unit / groups / panels;
                real *to = du + ((long long)point * depth + row) * span + panel * PANEL;
                Sums<ROWS_C> sums;
                if (first == start) sums.clear();
                else sums.load(to, span);
                sums.add_product(v + (long long)point * CHUNK * depth + row, 1, depth,
                                 w + (long long)point * CHUNK * span + panel * PANEL, span, count);
                sums.store(to, span);
            }
            __syncthreads();
        }
    }
}

// dW = G^T dU G. dU is as winograd_weight_grad left it, with its parts added up.
extern "C" __global__ void winograd_finish(const real *du /*[36*depth*padded]*/, real *dw /*[kh*kw*cin*cout]*/,
                                           Geometry g, Units units) {
    require_units(g, units);
    int depth = units.depth, span = units.span, vectors = units.padded / WIDTH;
    bool whole = g.cout % LANES == 0;
    for (int unit = THREAD_NUMBER; unit < g.cin * vectors; unit += THREAD_COUNT) {
        int c = unit / vectors, o = unit % vectors * WIDTH;
        if (o >= g.cout) continue;
        const real *from = du + ((long long)(o / span * POINTS) * depth + c) * span + o % span;
        Channels d[6][6];
        for (int i = 0; i < 6; ++i)
            UNROLL for (int j = 0; j < 6; ++j) d[i][j] = Channels::load(from + (long long)(i * 6 + j) * depth * span);
        TRANSFORM_SQUARE(transform_weights_back, d, 6, 3);
        for (int i = 0; i < 3; ++i)
            for (int j = 0; j < 3; ++j) {
                real *to = dw + ((long long)(i * 3 + j) * g.cin + c) * g.cout + o;
                d[i][j].store_edge(to, g.cout - o, whole);
            }
    }
}
