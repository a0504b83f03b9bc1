// Convolution on NHWC arrays, in the three directions of its trilinear form (minisrgan/autodiff/conv.py).
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

#ifdef NARROW  // tiles of half the width and twice the height, for not many outputs
constexpr int WIDE = 1;
#else
constexpr int WIDE = 2;
#endif
#ifdef CPU
constexpr int THREADS = 32, THREADS_N = WIDE, SLAB = LANES > 2 ? 64 : 32, VECS = 2;
#if defined(__AVX512F__)
constexpr int ROWS_M = 12;  // 24 sums, 2 of w and 1 of x: of 32 registers
#elif defined(__AVX__)
constexpr int ROWS_M = 6;  // of 16
#else
constexpr int ROWS_M = 8;
#endif
#define GPU_UNROLL
#else
constexpr int THREADS = 128, THREADS_N = 4 * WIDE, SLAB = 16, VECS = 2, ROWS_M = 8;
#define GPU_UNROLL UNROLL  // an array in registers has no address: each index into it must be a constant
#endif
constexpr int COLS = LANES * VECS, THREADS_M = THREADS / THREADS_N;
constexpr int TILE_M = ROWS_M * THREADS_M, TILE_N = COLS * THREADS_N;
typedef Vec<LANES> V;

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

// LANES columns of A, from number k on, for the rows of some pixels: which tap (i, j) and channel each is.
// `whole` vectors lie within one tap; where channels are no multiple of LANES, each lane is decoded by itself.
struct Columns {
    int i[LANES], j[LANES], offset[LANES];
    bool whole;
};

__device__ __forceinline__ Columns columns_of(const Image &image, int k, int depth) {
    Columns columns;
    columns.whole = image.channels % LANES == 0 && k < depth;
#ifdef CPU
    const int decoded = columns.whole ? 1 : LANES;  // divisions are slow
#else
    constexpr int decoded = LANES;
#endif
    for (int lane = 0; lane < decoded; ++lane) {
        int c = (k + lane) % image.channels, tap = (k + lane) / image.channels;
        int i = tap / image.kw, j = tap % image.kw;
        columns.i[lane] = k + lane < depth ? i : -0x20000000;  // beyond the last: outside of the image
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

// Load a slab of rows of a row-major matrix of `width` columns, TILE_N of them from `column` on; zeros beyond it.
// A thread always loads the same columns, of every LOADERS-th row.
__device__ __forceinline__ void load_rows(real (*tile)[TILE_N], const real *matrix, int row, int rows, int column,
                                          int width, int thread) {
    constexpr int CHUNKS = TILE_N / LANES, LOADERS = THREADS / CHUNKS;
    int c = thread % CHUNKS * LANES, left = width - column - c;
    const real *from = matrix + (long long)row * width + column + c;
    bool whole = left >= LANES && width % LANES == 0;
    if (whole && row + SLAB <= rows)  // nearly always
        for (int r = thread / CHUNKS; r < SLAB; r += LOADERS) V::load(from + r * width).store(&tile[r][c]);
    else
        for (int r = thread / CHUNKS; r < SLAB; r += LOADERS)
            (row + r < rows && left > 0 ? V::load_edge(from + (long long)r * width, left, whole) : V::broadcast(0))
                .store(&tile[r][c]);
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
// bias may be null.
extern "C" __global__ void __launch_bounds__(THREADS)
conv2d(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/, const real *bias /*[cout]*/,
       real *y /*[n*y_h*y_w*cout]*/, int n, int height, int width, int cin, int kh, int kw, int cout, int out_h,
       int out_w, int stride_y, int stride_x, int pad_y, int pad_x, int step_y, int step_x, int first_y, int first_x, int y_h, int y_w) {
    SHARED(real, a, [TILE_M][SLAB]);
    SHARED(real, b, [SLAB][TILE_N]);
    constexpr int CHUNKS = SLAB / LANES, LOADERS = THREADS / CHUNKS, LOADS = TILE_M / LOADERS;
    int thread = threadIdx.x, pixels = n * out_h * out_w, depth = kh * kw * cin;
    int row = thread / THREADS_N * ROWS_M, column = thread % THREADS_N * COLS;
    int chunk = thread % CHUNKS * LANES, loader = thread / CHUNKS;  // what it loads: LOADS rows, the same columns
    bool whole = cout % LANES == 0;
    int tiles_n = (cout + TILE_N - 1) / TILE_N, tiles = (pixels + TILE_M - 1) / TILE_M * tiles_n;
    Image image = {x, height, width, cin, kw};

    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        int m0 = tile / tiles_n * TILE_M, n0 = tile % tiles_n * TILE_N;
        Window window[LOADS];
        GPU_UNROLL for (int l = 0; l < LOADS; ++l)
            window[l] = window_of(image, m0 + loader + l * LOADERS, pixels, out_h, out_w, stride_y, stride_x, pad_y, pad_x);
        Sums sums;
        sums.clear();
        for (int k0 = 0; k0 < depth; k0 += SLAB) {
            Columns columns = columns_of(image, k0 + chunk, depth);
            GPU_UNROLL for (int l = 0; l < LOADS; ++l) gather(image, window[l], columns).store(&a[loader + l * LOADERS][chunk]);
            load_rows(b, w, k0, depth, n0, cout, thread);
            __syncthreads();
            for (int k = 0; k < SLAB; ++k) sums.add_outer(&a[row][k], SLAB, &b[k][column]);
            __syncthreads();
        }
        GPU_UNROLL for (int r = 0; r < ROWS_M; ++r) {
            int m = m0 + row + r;
            if (m >= pixels) break;
            int q = m % out_w, p = m / out_w % out_h;
            int pixel = (m / out_w / out_h * y_h + p * step_y + first_y) * y_w + q * step_x + first_x;
            GPU_UNROLL for (int v = 0; v < VECS; ++v) {
                int o = n0 + column + v * LANES, at = pixel * cout + o;
                if (o >= cout) break;
                V value = sums.of[r][v];
                if (bias) value = value + V::load_edge(bias + o, cout - o, whole);
                value.store_edge(y + at, cout - o, whole);
            }
        }
    }
}

// The weights by which the input gradient is a convolution of g: turned by 180 degrees and transposed. At stride s
// a pixel of x meets only the taps i = i0, i0 + s, ... of its own remainder i0, kh' of them:
//     turned[i', j', o, c] = w[i0 + s (kh' - 1 - i'), j0 + s (kw' - 1 - j'), c, o]
extern "C" __global__ void turn_weights(const real *w /*[kh*kw*cin*cout]*/,
                                        real *turned /*[turned_h*turned_w*cout*cin]*/, int kh, int kw, int cin, int cout,
                                        int i0, int j0, int stride_y, int stride_x, int turned_h, int turned_w) {
    int count = turned_h * turned_w * cout * cin;
    FOR_EACH(e, count) {
        int c = e % cin, o = e / cin % cout, tap = e / cin / cout;
        int i = i0 + stride_y * (turned_h - 1 - tap / turned_w), j = j0 + stride_x * (turned_w - 1 - tap % turned_w);
        turned[e] = w[((i * kw + j) * cin + c) * cout + o];
    }
}

// W = A^T G, row k of W being tap and channel k. Part z is the sum over `part_pixels` pixels alone.
extern "C" __global__ void __launch_bounds__(THREADS)
weight_grad(const real *x /*[n*height*width*cin]*/, const real *g /*[n*out_h*out_w*cout]*/,
            real *parts /*[n_parts*kh*kw*cin*cout]*/, int n, int height, int width, int cin, int kh, int kw, int cout,
            int out_h, int out_w, int stride_y, int stride_x, int pad_y, int pad_x, int part_pixels, int n_parts) {
    SHARED(real, a, [SLAB][TILE_M]);
    SHARED(real, b, [SLAB][TILE_N]);
    SHARED(Window, window, [SLAB]);
    constexpr int CHUNKS = TILE_M / LANES, SETS = (CHUNKS + THREADS - 1) / THREADS;
    constexpr int LOADERS = SETS > 1 ? 1 : THREADS / CHUNKS;
    int thread = threadIdx.x, pixels = n * out_h * out_w, depth = kh * kw * cin;
    int row = thread / THREADS_N * ROWS_M, column = thread % THREADS_N * COLS;
    int chunk = SETS > 1 ? thread : thread % CHUNKS, loader = SETS > 1 ? 0 : thread / CHUNKS;
    bool whole = cout % LANES == 0;
    int tiles_n = (cout + TILE_N - 1) / TILE_N, tiles_k = (depth + TILE_M - 1) / TILE_M;
    Image image = {x, height, width, cin, kw};

    for (int tile = blockIdx.x; tile < tiles_k * tiles_n * n_parts; tile += gridDim.x) {
        int part = tile / (tiles_k * tiles_n), k0 = tile / tiles_n % tiles_k * TILE_M, n0 = tile % tiles_n * TILE_N;
        int start = part * part_pixels, stop = min(start + part_pixels, pixels);
        Columns columns[SETS];  // what it loads: every LOADERS-th pixel, always the same columns
        GPU_UNROLL for (int set = 0; set < SETS; ++set) columns[set] = columns_of(image, k0 + (chunk + set * THREADS) * LANES, depth);
        Sums sums;
        sums.clear();
        for (int m0 = start; m0 < stop; m0 += SLAB) {
            for (int m = thread; m < SLAB; m += THREADS)
                window[m] = window_of(image, m0 + m, stop, out_h, out_w, stride_y, stride_x, pad_y, pad_x);
            __syncthreads();
            GPU_UNROLL for (int set = 0; set < SETS; ++set) {
                int c = chunk + set * THREADS;
                if (loader < LOADERS && c < CHUNKS)  // where CHUNKS does not divide THREADS, a few are left over
                    for (int m = loader; m < SLAB; m += LOADERS)
                        gather(image, window[m], columns[set]).store(&a[m][c * LANES]);
            }
            load_rows(b, g, m0, stop, n0, cout, thread);
            __syncthreads();
            for (int m = 0; m < SLAB; ++m) sums.add_outer(&a[m][row], 1, &b[m][column]);
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
