// Convolution on NHWC arrays, in the three directions of its trilinear form (minisrgan/ops/conv.py).
//
//     y[n, p, q, o] = sum over i, j, c of x[n, s p + i - P, s q + j - P, c] * w[i, j, c, o]
//
// This is a matrix product Y = A W. A has a row for each output pixel, the numbers of x in that pixel's window, and its
// depth is K = kh kw Cin. A is never made. A block gathers the piece that it needs into shared memory ("implicit
// GEMM").
//
//     conv2d             Y = A W        also the input gradient, with weights from turn_weights. On a GPU, where there
//                                       are few tiles, in parts of the depth; finish_conv2d adds them in order
//     weight_grad        W = A^T G      in parts, each the sum over some pixels; elementwise.cu adds them in order
//
// A convolution with few output channels would leave most of a tile empty. conv_few.cu is for those.
//
// Tiles.  A block of THREADS threads makes TILE_M x TILE_N outputs. Each thread has ROWS_M x COLS of them in its
// registers. The block goes through the depth in slabs: it loads a slab of both factors into shared memory, waits,
// multiplies, and waits again. So a number that was loaded from memory once is used TILE_M or TILE_N times, and a
// number from shared memory ROWS_M or COLS times. Blocks take tiles in turn, so that any grid is right. On a GPU the
// next slab is on its way into registers while a slab is multiplied.
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
constexpr int THREADS_N = WIDE == 1 ? 4 : 8, SLAB = 16, VECS = 2, ROWS_M = 2 * LANES;
#define GPU_UNROLL UNROLL  // an array in registers has no address: each index into it must be a constant
#endif
constexpr int COLS = LANES * VECS, THREADS_M = THREADS / THREADS_N;
constexpr int TILE_M = ROWS_M * THREADS_M, TILE_N = COLS * THREADS_N;
static_assert(THREADS_M * THREADS_N == THREADS, "threads beyond the last whole row of them would have no outputs");
typedef Vec<LANES> V;

// Where the rows of A come from: images x of (N, H, W, C), and a window of kh rows and kw columns.
struct Image {
    const real *x;
    int height, width, channels, kh, kw;
};

// The first pixel of an output pixel's window: its row and column in the image, and where it lies in x. A pixel beyond
// the last one has a window outside of the image, which reads as zeros.
struct __align__(16) Window {
    int row, column, address;
};

// The window of output pixel number m. Pixels from `end` on have none.
__device__ __forceinline__ Window window_of(const Geometry &g, int m, int end) {
    if (m >= end) return {-0x40000000, 0, 0};
    int q = m % g.out_w, p = m / g.out_w % g.out_h, image = m / g.out_w / g.out_h;
    int row = p * g.stride_y - g.pad_y, column = q * g.stride_x - g.pad_x;
    return {row, column, ((image * g.height + row) * g.width + column) * g.cin};
}

// These have, for a CPU and for a GPU: Mine, which outputs of a tile a thread makes; SlabA, PixelSlabA and SlabB, how a
// slab lies in shared memory; Sums, which multiplies it; Windows, which walks over the windows of some pixels; and
// Slabs, which brings one slab after another.
#ifdef CPU
#include "conv_cpu.cuh"
#else
#include "conv_gpu.cuh"
#endif

// Where conv2d's outputs go in y, an image of y_h x y_w pixels: pixel (p, q) to (p step_y + first_y, q step_x +
// first_x). At stride s the input gradient is made in s * s launches, each for every s-th pixel.
struct Placement {
    int shuffle, y_h, y_w, step_y, step_x, first_y, first_x;
};

// Y = A W. Row m of Y is output pixel m. bias, negative_slope and residual may be null (Epilogue in convolution.cuh).
extern "C" __global__ void __launch_bounds__(THREADS)
conv2d(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/, const real *bias /*[cout]*/,
       const real *negative_slope /*[cout/shuffle/shuffle]*/, const real *residual /*[n*y_h*y_w*cout]*/,
       real *y /*[n_parts*n*y_h*y_w*cout]*/, Geometry g, Placement place, int part_depth, int n_parts) {
    REQUIRE(blockDim.x == THREADS);
    REQUIRE((long long)n_parts * part_depth >= depth_of(g) && part_depth % SLAB * (n_parts - 1) == 0);
    SHARED(SlabA, a, [1]);
    SHARED(SlabB, b, [1]);
    SHARED(Window, window, [TILE_M]);
    int thread = threadIdx.x, pixels = pixels_of(g), depth = depth_of(g);
    Mine mine(thread);
    Epilogue epilogue = {y, bias, negative_slope, residual, place.y_h, place.y_w, g.cout, place.shuffle};
    REQUIRE(place.shuffle == 1 || epilogue.whole_pixels(LANES));
    int tiles_n = (g.cout + TILE_N - 1) / TILE_N, tiles_m = (pixels + TILE_M - 1) / TILE_M;
    Image image = {x, g.height, g.width, g.cin, g.kh, g.kw};

    for (int tile = blockIdx.x; tile < tiles_m * tiles_n * n_parts; tile += gridDim.x) {
        int part = tile / (tiles_m * tiles_n), m0 = tile / tiles_n % tiles_m * TILE_M, n0 = tile % tiles_n * TILE_N;
        int start = part * part_depth, stop = min(start + part_depth, depth);
        for (int m = thread; m < TILE_M; m += THREADS) window[m] = window_of(g, m0 + m, pixels);
        Sums sums;
        sums.clear();
        __syncthreads();
        DepthSlabs slabs{image, {w, start, stop, n0, g.cout}, thread};
        slabs.fetch(window);
        for (int k0 = start; k0 < stop; k0 += SLAB) {
            slabs.put(*a, *b, window);
            __syncthreads();
            slabs.fetch(window);
            sums.add(*a, *b, mine, min(SLAB, stop - k0));
            __syncthreads();
        }
        GPU_UNROLL for (int v = 0; v < VECS; ++v) {
            int o = n0 + mine.column_of(v);
            if (o >= g.cout) break;
            EpilogueChannels<LANES> channels(epilogue, o);
            GPU_UNROLL for (int r = 0; r < ROWS_M; ++r) {
                int m = m0 + mine.row_of(r);
                if (m >= pixels) break;
                int q = m % g.out_w, p = m / g.out_w % g.out_h, number = m / g.out_w / g.out_h;
                channels.store(epilogue, sums.of[r][v], part * g.n + number, p * place.step_y + place.first_y,
                               q * place.step_x + place.first_x);
            }
        }
    }
}

// What is left of a convolution whose depth was divided: y = the epilogue of the sum of the parts, in their order, so
// that every run gives the same bits. A thread takes a vector of a pixel's channels.
extern "C" __global__ void finish_conv2d(const real *parts /*[n_parts*n*out_h*out_w*cout]*/,
                                         const real *bias /*[cout]*/,
                                         const real *negative_slope /*[cout/shuffle/shuffle]*/,
                                         const real *residual /*[n*y_h*y_w*cout]*/, real *y /*[n*y_h*y_w*cout]*/,
                                         Geometry g, Placement place, int n_parts) {
    Epilogue epilogue = {y, bias, negative_slope, residual, place.y_h, place.y_w, g.cout, place.shuffle};
    REQUIRE(place.shuffle == 1 || epilogue.whole_pixels(LANES));
    int vectors = (g.cout + LANES - 1) / LANES;
    bool whole = g.cout % LANES == 0;
    long long next_part = (long long)pixels_of(g) * g.cout;
    FOR_EACH(e, pixels_of(g) * vectors) {
        int o = e % vectors * LANES, m = e / vectors;
        const real *from = parts + (long long)m * g.cout + o;
        V sum = V::load_edge(from, g.cout - o, whole);
        for (int part = 1; part < n_parts; ++part)
            sum = sum + V::load_edge(from + part * next_part, g.cout - o, whole);
        int q = m % g.out_w, p = m / g.out_w % g.out_h, number = m / g.out_w / g.out_h;
        EpilogueChannels<LANES> channels(epilogue, o);
        channels.store(epilogue, sum, number, p * place.step_y + place.first_y, q * place.step_x + place.first_x);
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
    SHARED(PixelSlabA, a, [1]);
    SHARED(SlabB, b, [1]);
    SHARED(Window, window, [2][SLAB]);
    int thread = threadIdx.x, pixels = pixels_of(g), depth = depth_of(g);
    Mine mine(thread);
    bool whole = g.cout % LANES == 0;
    int tiles_n = (g.cout + TILE_N - 1) / TILE_N, tiles_k = (depth + TILE_M - 1) / TILE_M;
    Image image = {x, g.height, g.width, g.cin, g.kh, g.kw};

    for (int tile = blockIdx.x; tile < tiles_k * tiles_n * n_parts; tile += gridDim.x) {
        int part = tile / (tiles_k * tiles_n), k0 = tile / tiles_n % tiles_k * TILE_M, n0 = tile % tiles_n * TILE_N;
        int start = part * part_pixels, stop = min(start + part_pixels, pixels);
        bool busy = k0 + mine.row < depth;
        Sums sums;
        sums.clear();
        Windows windows{g, start, stop, thread};
        windows.put(window[0]);
        __syncthreads();
        PixelSlabs slabs{image, {cotangent, start, stop, n0, g.cout}, thread, k0, depth};
        slabs.fetch(window[0]);
        for (int m0 = start, turn = 0; m0 < stop; m0 += SLAB, turn ^= 1) {
            slabs.put(*a, *b, window[turn]);
            windows.put(window[turn ^ 1]);  // of the next slab
            __syncthreads();
            slabs.fetch(window[turn ^ 1]);
            if (busy) sums.add(*a, *b, mine, SLAB);
            __syncthreads();
        }
        GPU_UNROLL for (int r = 0; r < ROWS_M; ++r)
            GPU_UNROLL for (int v = 0; v < VECS; ++v) {
                int o = n0 + mine.column_of(v), k = k0 + mine.row_of(r);
                if (o >= g.cout || k >= depth) break;
                real *to = parts + ((long long)part * depth + k) * g.cout + o;
                sums.of[r][v].store_edge(to, g.cout - o, whole);
            }
    }
}
