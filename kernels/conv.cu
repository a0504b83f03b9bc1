// Convolution on NHWC arrays, in the three directions of its trilinear form (minisrgan/ops/conv.py).
//
//     y[n, p, q, o] = sum over i, j, c of x[n, s p + i - P, s q + j - P, c] * w[i, j, c, o]
//
// is a matrix product Y = A W, with a row for each output pixel and depth K = kh kw Cin. A is never made: a
// block gathers the piece that it needs into shared memory ("implicit GEMM").
//
//     conv2d             Y = A W        also the input gradient, with weights from turn_weights
//     weight_grad        W = A^T G      in parts, each of some pixels; elementwise.cu adds them in order
//
// Few output channels would leave most of a tile empty: conv_few.cu is for those.
//
// Tiles.  A block of THREADS threads makes TILE_M x TILE_N outputs, each thread ROWS_M x COLS of them in its
// registers. It goes through the depth in slabs: load a slab of both factors to shared memory, wait,
// multiply, wait. A number that was loaded from memory once is used TILE_M or TILE_N times, a number from
// shared memory ROWS_M or COLS times. Blocks take tiles in turn, so that any grid is right.
//
// Memory traffic: x is read kh kw / stride^2 times for each column of tiles (from the cache, but for the first), w
// once for each row of tiles, y written once.
//
// Variants: WIDE=1; WIDE=2; WIDE=4

#ifdef CPU
constexpr int THREADS_N = WIDE, SLAB = LANES > 2 ? 128 : 32, VECS = 2, ROWS_M = SUM_ROWS;
#define GPU_UNROLL
#else
constexpr int THREADS_N = WIDE == 1 ? 4 : 8, SLAB = 16, VECS = 2, ROWS_M = sizeof(real) == 4 ? 8 : 4;
#define GPU_UNROLL UNROLL  // an array in registers has no address: each index into it must be a constant
#endif
constexpr int COLS = LANES * VECS, THREADS_M = THREADS / THREADS_N;
constexpr int TILE_M = ROWS_M * THREADS_M, TILE_N = COLS * THREADS_N;
static_assert(THREADS_M * THREADS_N == THREADS, "threads beyond the last whole row of them would have no outputs");
// A slab of B lies in shared memory in panels. On a CPU a panel is a thread's columns, which it reads one after another:
// rows of a power of two bytes would share few sets of the L1 cache. On a GPU that would make bank conflicts.
#ifdef CPU
constexpr int PANEL = COLS;
#else
constexpr int PANEL = TILE_N;
#endif
typedef Vec<LANES> V;
typedef real SlabB[TILE_N / PANEL][SLAB][PANEL];

// Where the rows of A come from: an image x of (N, H, W, C) and a window of kw columns.
struct Image {
    const real *x;
    int height, width, channels, kw;
};

// The top left of an output pixel's window in the image, and its address. A pixel beyond the last has a window
// outside of the image, which reads as zeros.
struct Window {
    int row, column, address;
};

// Output pixel number m of an image of out_h x out_w pixels.
__device__ __forceinline__ Window window_of(const Image &image, int m, int pixels, int out_h, int out_w, int stride_y,
                                            int stride_x, int pad_y, int pad_x) {
    if (m >= pixels) return {-0x40000000, 0, 0};
    int q = m % out_w, p = m / out_w % out_h, n = m / out_w / out_h;
    int row = p * stride_y - pad_y, column = q * stride_x - pad_x;
    return {row, column, ((n * image.height + row) * image.width + column) * image.channels};
}

#ifdef CPU
// Numbers k to k + count of some rows of A. In NHWC, a row of a window is one run of kw channels numbers in memory, but
// for what is beyond the image's sides: a thread copies it at a stroke.
struct Columns {
    int first_row, first, count;  // row of the window, and place in its run, that number k is
};

__device__ __forceinline__ Columns my_columns(const Image &image, int k, int count, int) {
    int run = image.kw * image.channels;
    return {k / run, k % run, count};
}

template <int ROWS, int WIDTH>
__device__ __forceinline__ void load_windows(real (*tile)[WIDTH], const Image &image, const Window *window,
                                             const Columns &columns, int thread) {
    for (int r = thread; r < ROWS; r += THREADS) {
        const Window &at = window[r];
        int low = max(-at.column, 0) * image.channels, high = min(image.width - at.column, image.kw) * image.channels;
        real *to = tile[r], *end = to + columns.count;
        for (int i = columns.first_row, start = columns.first; to < end; ++i, start = 0) {
            int stop = int(min((long long)image.kw * image.channels, start + (end - to)));
            bool in = unsigned(at.row + i) < unsigned(image.height);
            int from = in ? min(max(low, start), stop) : stop, until = in ? max(min(high, stop), from) : stop;
            const real *source = image.x + (at.address + i * image.width * image.channels);
            to -= start;
            for (int e = start; e < from; ++e) to[e] = 0;
            INDEPENDENT for (int e = from; e < until; ++e) to[e] = source[e];
            for (int e = until; e < stop; ++e) to[e] = 0;
            to += stop;
        }
    }
}
#else
// LANES columns of A, from number k on: which tap (i, j) and channel each is. Neighbouring threads take neighbouring
// vectors. `whole` vectors lie within one tap; where channels are no multiple of LANES, each lane is decoded by itself.
struct Columns {
    int i[LANES], j[LANES], offset[LANES];
    bool whole;
};

__device__ __forceinline__ Columns my_columns(const Image &image, int k, int count, int chunk) {
    Columns columns;
    columns.whole = image.channels % LANES == 0 && chunk < count;
    UNROLL for (int lane = 0; lane < LANES; ++lane) {
        int e = k + chunk + lane, c = e % image.channels, tap = e / image.channels;
        int i = tap / image.kw, j = tap % image.kw;
        columns.i[lane] = chunk + lane < count ? i : -0x20000000;  // beyond the last: outside of the image
        columns.j[lane] = j;
        columns.offset[lane] = (i * image.width + j) * image.channels + c;
    }
    return columns;
}

__device__ __forceinline__ bool inside(const Image &image, const Window &window, int i, int j) {
    return unsigned(window.row + i) < unsigned(image.height) && unsigned(window.column + j) < unsigned(image.width);
}

__device__ __forceinline__ V gather(const Image &image, const Window &window, const Columns &columns) {
    if (columns.whole)
        return inside(image, window, columns.i[0], columns.j[0])
                   ? V::load(image.x + (window.address + columns.offset[0]))
                   : V::broadcast(0);
    V v = V::broadcast(0);
    for (int lane = 0; lane < LANES; ++lane)
        if (inside(image, window, columns.i[lane], columns.j[lane]))
            v.lane[lane] = image.x[window.address + columns.offset[lane]];
    return v;
}

template <int ROWS, int WIDTH>
__device__ __forceinline__ void load_windows(real (*tile)[WIDTH], const Image &image, const Window *window,
                                             const Columns &columns, int thread) {
    constexpr int CHUNKS = WIDTH / LANES, LOADERS = THREADS / CHUNKS;
    static_assert(CHUNKS * LOADERS == THREADS && ROWS % LOADERS == 0, "some rows would not be loaded");
    for (int l = 0; l < ROWS / LOADERS; ++l) {
        int r = thread / CHUNKS + l * LOADERS;
        gather(image, window[r], columns).store(&tile[r][thread % CHUNKS * LANES]);
    }
}
#endif

// Load a slab of rows of a row-major matrix of `width` columns, TILE_N of them from `column` on; zeros beyond it.
// A thread always loads the same columns, of every LOADERS-th row.
__device__ __forceinline__ void load_rows(SlabB &tile, const real *matrix, int row, int rows, int column, int width,
                                          int thread) {
    constexpr int CHUNKS = TILE_N / LANES, LOADERS = THREADS / CHUNKS;
    static_assert(CHUNKS * LOADERS == THREADS, "two threads would load the same numbers");
    int c = thread % CHUNKS * LANES, left = width - column - c;
    real(*to)[PANEL] = tile[c / PANEL];
    const real *from = matrix + (long long)row * width + column + c;
    bool whole = left >= LANES && width % LANES == 0;
    if (whole && row + SLAB <= rows)  // nearly always
        for (int r = thread / CHUNKS; r < SLAB; r += LOADERS) V::load(from + r * width).store(&to[r][c % PANEL]);
    else
        for (int r = thread / CHUNKS; r < SLAB; r += LOADERS)
            (row + r < rows && left > 0 ? V::load_edge(from + (long long)r * width, left, whole) : V::broadcast(0))
                .store(&to[r][c % PANEL]);
}

// The sums of a thread: ROWS_M x COLS of the block's tile, from `row` and `column` on.
struct Sums {
    V of[ROWS_M][VECS];
    __device__ __forceinline__ void clear() {
        UNROLL for (int r = 0; r < ROWS_M; ++r)
            for (int v = 0; v < VECS; ++v) of[r][v] = V::broadcast(0);
    }
    // += the outer product of one column of A, whose elements stand `stride` apart, and one row of B
    __device__ __forceinline__ void add_outer(const real *a, int stride, const real *b) {
        V right[VECS];
        UNROLL for (int v = 0; v < VECS; ++v) right[v] = V::load(b + v * LANES);
        UNROLL for (int r = 0; r < ROWS_M; ++r) {
            real left = a[r * stride];
            UNROLL for (int v = 0; v < VECS; ++v) of[r][v].fma(left, right[v]);
        }
    }
};

// Y = A W, row m being output pixel m. Pixel (p, q) of the output is pixel (p step + first_y, q step + first_x) of
// y, an image of y_h x y_w: at stride s the input gradient fills every s-th pixel at a time.
// bias, slope and residual may be null (Output in common.cuh).
extern "C" __global__ void __launch_bounds__(THREADS)
conv2d(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/, const real *bias /*[cout]*/,
       const real *slope /*[cout/shuffle/shuffle]*/, const real *residual /*[n*y_h*y_w*cout]*/,
       real *y /*[n*y_h*y_w*cout]*/, int shuffle, int n, int height, int width, int cin, int kh, int kw, int cout,
       int out_h, int out_w, int stride_y, int stride_x, int pad_y, int pad_x, int step_y, int step_x, int first_y,
       int first_x, int y_h, int y_w) {
    REQUIRE(blockDim.x == THREADS);
    SHARED(real, a, [TILE_M][SLAB]);
    SHARED(SlabB, b, [1]);
    SHARED(Window, window, [TILE_M]);
    int thread = threadIdx.x, pixels = n * out_h * out_w, depth = kh * kw * cin;
    int row = thread / THREADS_N * ROWS_M, column = thread % THREADS_N * COLS;
    Output out = {y, bias, slope, residual, y_h, y_w, cout, shuffle};
    REQUIRE(shuffle == 1 || out.whole_squares(LANES));
    int tiles_n = (cout + TILE_N - 1) / TILE_N, tiles = (pixels + TILE_M - 1) / TILE_M * tiles_n;
    Image image = {x, height, width, cin, kw};

    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        int m0 = tile / tiles_n * TILE_M, n0 = tile % tiles_n * TILE_N;
        for (int m = thread; m < TILE_M; m += THREADS)
            window[m] = window_of(image, m0 + m, pixels, out_h, out_w, stride_y, stride_x, pad_y, pad_x);
        Sums sums;
        sums.clear();
        __syncthreads();
        for (int k0 = 0; k0 < depth; k0 += SLAB) {
            int slab = min(SLAB, depth - k0);
            load_windows<TILE_M>(a, image, window, my_columns(image, k0, slab, thread % (SLAB / LANES) * LANES), thread);
            load_rows(*b, w, k0, depth, n0, cout, thread);
            __syncthreads();
            for (int k = 0; k < slab; ++k) sums.add_outer(&a[row][k], SLAB, &(*b)[column / PANEL][k][column % PANEL]);
            __syncthreads();
        }
        GPU_UNROLL for (int v = 0; v < VECS; ++v) {
            int o = n0 + column + v * LANES;
            if (o >= cout) break;
            OutputChannels<LANES> channels(out, o);
            GPU_UNROLL for (int r = 0; r < ROWS_M; ++r) {
                int m = m0 + row + r;
                if (m >= pixels) break;
                int q = m % out_w, p = m / out_w % out_h, number = m / out_w / out_h;
                channels.write(out, sums.of[r][v], number, p * step_y + first_y, q * step_x + first_x);
            }
        }
    }
}

// The weights by which the input gradient is a convolution of g: turned by 180 degrees and transposed. At stride s
// a pixel of x meets only the taps i = i0, i0 + s, ... of its own remainder i0, kh' of them:
//     turned[i', j', o, c] = w[i0 + s (kh' - 1 - i'), j0 + s (kw' - 1 - j'), c, o]
// A block transposes squares of channels in shared memory, so that it reads rows and writes rows. The odd length of a
// row keeps a column's numbers out of each other's banks.
constexpr int SQUARE = 32;
extern "C" __global__ void turn_weights(const real *w /*[kh*kw*cin*cout]*/,
                                        real *turned /*[turned_h*turned_w*cout*cin]*/, int kh, int kw, int cin, int cout,
                                        int i0, int j0, int stride_y, int stride_x, int turned_h, int turned_w) {
    SHARED(real, square, [SQUARE][SQUARE + 1]);
    int down = (cin + SQUARE - 1) / SQUARE, across = (cout + SQUARE - 1) / SQUARE;
    for (int place = blockIdx.x; place < turned_h * turned_w * down * across; place += gridDim.x) {
        int c0 = place / across % down * SQUARE, o0 = place % across * SQUARE, tap = place / across / down;
        int i = i0 + stride_y * (turned_h - 1 - tap / turned_w), j = j0 + stride_x * (turned_w - 1 - tap % turned_w);
        const real *from = w + ((long long)(i * kw + j) * cin + c0) * cout + o0;
        real *to = turned + ((long long)tap * cout + o0) * cin + c0;
        int rows = min(SQUARE, cin - c0), columns = min(SQUARE, cout - o0);
        for (int c = threadIdx.y; c < rows; c += blockDim.y)
            for (int o = threadIdx.x; o < columns; o += blockDim.x) square[c][o] = from[(long long)c * cout + o];
        __syncthreads();
        for (int o = threadIdx.y; o < columns; o += blockDim.y)
            for (int c = threadIdx.x; c < rows; c += blockDim.x) to[(long long)o * cin + c] = square[c][o];
        __syncthreads();
    }
}

// W = A^T G, row k of W being tap and channel k. Part z is the sum over `part_pixels` pixels alone.
extern "C" __global__ void __launch_bounds__(THREADS)
weight_grad(const real *x /*[n*height*width*cin]*/, const real *g /*[n*out_h*out_w*cout]*/,
            real *parts /*[n_parts*kh*kw*cin*cout]*/, int n, int height, int width, int cin, int kh, int kw, int cout,
            int out_h, int out_w, int stride_y, int stride_x, int pad_y, int pad_x, int part_pixels, int n_parts) {
    REQUIRE(blockDim.x == THREADS);
    REQUIRE((long long)n_parts * part_pixels >= n * out_h * out_w);
    SHARED(real, a, [SLAB][TILE_M]);
    SHARED(SlabB, b, [1]);
    SHARED(Window, window, [SLAB]);
    int thread = threadIdx.x, pixels = n * out_h * out_w, depth = kh * kw * cin;
    int row = thread / THREADS_N * ROWS_M, column = thread % THREADS_N * COLS;
    bool whole = cout % LANES == 0;
    int tiles_n = (cout + TILE_N - 1) / TILE_N, tiles_k = (depth + TILE_M - 1) / TILE_M;
    Image image = {x, height, width, cin, kw};

    for (int tile = blockIdx.x; tile < tiles_k * tiles_n * n_parts; tile += gridDim.x) {
        int part = tile / (tiles_k * tiles_n), k0 = tile / tiles_n % tiles_k * TILE_M, n0 = tile % tiles_n * TILE_N;
        int start = part * part_pixels, stop = min(start + part_pixels, pixels);
        Columns columns = my_columns(image, k0, min(TILE_M, depth - k0), thread % (TILE_M / LANES) * LANES);
        bool busy = k0 + row < depth;
        Sums sums;
        sums.clear();
        for (int m0 = start; m0 < stop; m0 += SLAB) {
            for (int m = thread; m < SLAB; m += THREADS)
                window[m] = window_of(image, m0 + m, stop, out_h, out_w, stride_y, stride_x, pad_y, pad_x);
            __syncthreads();
            load_windows<SLAB>(a, image, window, columns, thread);
            load_rows(*b, g, m0, stop, n0, cout, thread);
            __syncthreads();
            for (int m = 0; m < (busy ? SLAB : 0); ++m)
                sums.add_outer(&a[m][row], 1, &(*b)[column / PANEL][m][column % PANEL]);
            // No barrier: the next round writes windows, which nobody reads any more, and then waits.
        }
        GPU_UNROLL for (int r = 0; r < ROWS_M; ++r)
            GPU_UNROLL for (int v = 0; v < VECS; ++v) {
                int o = n0 + column + v * LANES;
                if (o >= cout || k0 + row + r >= depth) break;
                sums.of[r][v].store_edge(parts + ((long long)part * depth + k0 + row + r) * cout + o, cout - o, whole);
            }
    }
}
