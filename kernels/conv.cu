// Convolution on NHWC arrays, in the three directions of its trilinear form (minisrgan/ops/conv.py).
//
//     y[n, p, q, o] = sum over i, j, c of x[n, s p + i - P, s q + j - P, c] * w[i, j, c, o]
//
// This is a matrix product Y = A W. A has a row for each output pixel, the numbers of x in that pixel's window, and its
// depth is K = kh kw Cin. A is never made. A block gathers the piece that it needs into shared memory ("implicit
// GEMM").
//
//     conv2d             Y = A W        also the input gradient, with weights from turn_weights
//     weight_grad        W = A^T G      in parts, each the sum over some pixels; elementwise.cu adds them in order
//
// A convolution with few output channels would leave most of a tile empty. conv_few.cu is for those.
//
// Tiles.  A block of THREADS threads makes TILE_M x TILE_N outputs. Each thread has ROWS_M x COLS of them in its
// registers. The block goes through the depth in slabs: it loads a slab of both factors into shared memory, waits,
// multiplies, and waits again. So a number that was loaded from memory once is used TILE_M or TILE_N times, and a
// number from shared memory ROWS_M or COLS times. Blocks take tiles in turn, so that any grid is right.
//
// Memory traffic.  x is read kh kw / stride^2 times for each column of tiles, the first time from memory and then from
// the cache. w is read once for each row of tiles, and y is written once.
//
// Variants: WIDE=1; WIDE=2; WIDE=4

#include "convolution.cuh"

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
// A slab of B lies in shared memory in panels. On a CPU a panel has the columns of one thread, which reads them one row
// after another. (Rows whose length is a power of two would share a few sets of the L1 cache.) On a GPU such panels
// would cause bank conflicts, so there is one panel, of all columns.
#ifdef CPU
constexpr int PANEL = COLS;
#else
constexpr int PANEL = TILE_N;
#endif
typedef Vec<LANES> V;
typedef real SlabB[TILE_N / PANEL][SLAB][PANEL];

// Where the rows of A come from: images x of (N, H, W, C), and a window of kw columns.
struct Image {
    const real *x;
    int height, width, channels, kw;
};

// The first pixel of an output pixel's window: its row and column in the image, and where it lies in x. A pixel beyond
// the last one has a window outside of the image, which reads as zeros.
struct Window {
    int row, column, address;
};

// The window of output pixel number m. Pixels from `end` on have none.
__device__ __forceinline__ Window window_of(const Geometry &g, int m, int end) {
    if (m >= end) return {-0x40000000, 0, 0};
    int q = m % g.out_w, p = m / g.out_w % g.out_h, image = m / g.out_w / g.out_h;
    int row = p * g.stride_y - g.pad_y, column = q * g.stride_x - g.pad_x;
    return {row, column, ((image * g.height + row) * g.width + column) * g.cin};
}

// my_columns says which columns of A a thread loads, and load_windows loads them, for the rows of some windows.
#ifdef CPU
#include "conv_load_cpu.cuh"
#else
#include "conv_load_gpu.cuh"
#endif

// Load a slab of B: rows `row` and on of a matrix of `rows` x `width` numbers, and TILE_N columns from `column` on,
// with zeros for what lies beyond the matrix. A thread always loads the same columns, of every LOADERS-th row.
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

// A thread's sums: ROWS_M x COLS outputs of the block's tile.
struct Sums {
    V of[ROWS_M][VECS];
    __device__ __forceinline__ void clear() {
        UNROLL for (int r = 0; r < ROWS_M; ++r)
            for (int v = 0; v < VECS; ++v) of[r][v] = V::broadcast(0);
    }
    // Add the outer product of a column of A, whose numbers lie `stride` apart, and a row of B.
    __device__ __forceinline__ void add_outer(const real *a, int stride, const real *b) {
        V right[VECS];
        UNROLL for (int v = 0; v < VECS; ++v) right[v] = V::load(b + v * LANES);
        UNROLL for (int r = 0; r < ROWS_M; ++r) {
            real left = a[r * stride];
            UNROLL for (int v = 0; v < VECS; ++v) of[r][v].fma(left, right[v]);
        }
    }
};

// Where conv2d's outputs go in y, an image of y_h x y_w pixels: pixel (p, q) to (p step_y + first_y, q step_x +
// first_x). At stride s the input gradient is made in s * s launches, each for every s-th pixel.
struct Placement {
    int shuffle, y_h, y_w, step_y, step_x, first_y, first_x;
};

// Y = A W. Row m of Y is output pixel m. bias, negative_slope and residual may be null (Epilogue in convolution.cuh).
extern "C" __global__ void __launch_bounds__(THREADS)
conv2d(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/, const real *bias /*[cout]*/,
       const real *negative_slope /*[cout/shuffle/shuffle]*/, const real *residual /*[n*y_h*y_w*cout]*/,
       real *y /*[n*y_h*y_w*cout]*/, Geometry g, Placement place) {
    REQUIRE(blockDim.x == THREADS);
    SHARED(real, a, [TILE_M][SLAB]);
    SHARED(SlabB, b, [1]);
    SHARED(Window, window, [TILE_M]);
    int thread = threadIdx.x, pixels = pixels_of(g), depth = depth_of(g);
    int row = thread / THREADS_N * ROWS_M, column = thread % THREADS_N * COLS;
    Epilogue epilogue = {y, bias, negative_slope, residual, place.y_h, place.y_w, g.cout, place.shuffle};
    REQUIRE(place.shuffle == 1 || epilogue.whole_pixels(LANES));
    int tiles_n = (g.cout + TILE_N - 1) / TILE_N, tiles = (pixels + TILE_M - 1) / TILE_M * tiles_n;
    Image image = {x, g.height, g.width, g.cin, g.kw};

    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        int m0 = tile / tiles_n * TILE_M, n0 = tile % tiles_n * TILE_N;
        for (int m = thread; m < TILE_M; m += THREADS) window[m] = window_of(g, m0 + m, pixels);
        Sums sums;
        sums.clear();
        __syncthreads();
        for (int k0 = 0; k0 < depth; k0 += SLAB) {
            int slab = min(SLAB, depth - k0);
            Columns columns = my_columns(image, k0, slab, thread % (SLAB / LANES) * LANES);
            load_windows<TILE_M>(a, image, window, columns, thread);
            load_rows(*b, w, k0, depth, n0, g.cout, thread);
            __syncthreads();
            for (int k = 0; k < slab; ++k) sums.add_outer(&a[row][k], SLAB, &(*b)[column / PANEL][k][column % PANEL]);
            __syncthreads();
        }
        GPU_UNROLL for (int v = 0; v < VECS; ++v) {
            int o = n0 + column + v * LANES;
            if (o >= g.cout) break;
            EpilogueChannels<LANES> channels(epilogue, o);
            GPU_UNROLL for (int r = 0; r < ROWS_M; ++r) {
                int m = m0 + row + r;
                if (m >= pixels) break;
                int q = m % g.out_w, p = m / g.out_w % g.out_h, number = m / g.out_w / g.out_h;
                channels.store(epilogue, sums.of[r][v], number, p * place.step_y + place.first_y,
                               q * place.step_x + place.first_x);
            }
        }
    }
}

// The weights with which the input gradient is a convolution of g: turned by 180 degrees and transposed. At stride s a
// pixel of x meets only some taps, i = i0, i0 + s, ..., where i0 depends on the pixel's remainder by s. There are kh'
// such taps (turned_h below):
//     turned[i', j', o, c] = w[i0 + s (kh' - 1 - i'), j0 + s (kw' - 1 - j'), c, o]
// A block transposes squares of channels in shared memory, so that it reads rows and writes rows. Rows have an odd
// length there, so that the numbers of a column lie in different banks.
constexpr int SQUARE = 32;
extern "C" __global__ void turn_weights(const real *w /*[kh*kw*cin*cout]*/,
                                        real *turned /*[turned_h*turned_w*cout*cin]*/, int kh, int kw, int cin,
                                        int cout, int i0, int j0, int stride_y, int stride_x, int turned_h,
                                        int turned_w) {
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

// W = A^T G. Row k of W is a tap and input channel. Each part is the sum over `part_pixels` pixels.
// __grid_constant__: the struct is read where the launch put it. A copy would cost registers, which are all in use.
extern "C" __global__ void __launch_bounds__(THREADS)
weight_grad(const real *x /*[n*height*width*cin]*/, const real *cotangent /*[n*out_h*out_w*cout]*/,
            real *parts /*[n_parts*kh*kw*cin*cout]*/, const __grid_constant__ Geometry g, int part_pixels,
            int n_parts) {
    REQUIRE(blockDim.x == THREADS);
    REQUIRE((long long)n_parts * part_pixels >= pixels_of(g));
    SHARED(real, a, [SLAB][TILE_M]);
    SHARED(SlabB, b, [1]);
    SHARED(Window, window, [SLAB]);
    int thread = threadIdx.x, pixels = pixels_of(g), depth = depth_of(g);
    int row = thread / THREADS_N * ROWS_M, column = thread % THREADS_N * COLS;
    bool whole = g.cout % LANES == 0;
    int tiles_n = (g.cout + TILE_N - 1) / TILE_N, tiles_k = (depth + TILE_M - 1) / TILE_M;
    Image image = {x, g.height, g.width, g.cin, g.kw};

    for (int tile = blockIdx.x; tile < tiles_k * tiles_n * n_parts; tile += gridDim.x) {
        int part = tile / (tiles_k * tiles_n), k0 = tile / tiles_n % tiles_k * TILE_M, n0 = tile % tiles_n * TILE_N;
        int start = part * part_pixels, stop = min(start + part_pixels, pixels);
        Columns columns = my_columns(image, k0, min(TILE_M, depth - k0), thread % (TILE_M / LANES) * LANES);
        bool busy = k0 + row < depth;
        Sums sums;
        sums.clear();
        for (int m0 = start; m0 < stop; m0 += SLAB) {
            for (int m = thread; m < SLAB; m += THREADS) window[m] = window_of(g, m0 + m, stop);
            __syncthreads();
            load_windows<SLAB>(a, image, window, columns, thread);
            load_rows(*b, cotangent, m0, stop, n0, g.cout, thread);
            __syncthreads();
            for (int m = 0; m < (busy ? SLAB : 0); ++m)
                sums.add_outer(&a[m][row], 1, &(*b)[column / PANEL][m][column % PANEL]);
            // No barrier is needed: the next round writes windows, which no thread reads any more, and then waits.
        }
        GPU_UNROLL for (int r = 0; r < ROWS_M; ++r)
            GPU_UNROLL for (int v = 0; v < VECS; ++v) {
                int o = n0 + column + v * LANES;
                if (o >= g.cout || k0 + row + r >= depth) break;
                real *to = parts + ((long long)part * depth + k0 + row + r) * g.cout + o;
                sums.of[r][v].store_edge(to, g.cout - o, whole);
            }
    }
}
