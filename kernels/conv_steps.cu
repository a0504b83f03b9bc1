// Four steps to a fast convolution, for reading. Training uses none of them, but conv.cu, which is the fifth.
//
//     y[n, p, q, o] = sum over i, j, c of x[n, s p + i - P, s q + j - P, c] * w[i, j, c, o]
//
// Each multiply-add needs a number of x and one of w. Arithmetic is cheap and memory is far away, so all depends on
// how often a number is used once it has been loaded. Each step adds one idea:
//
// 1. direct     A thread for each output: it loads two numbers for each multiply-add, and nothing is used twice but by
//               the caches' grace.
// 2. tiled      A block of threads makes a tile of TILE x TILE outputs (pixels x channels), which need the same numbers.
//               They load a slab of them to shared memory together, wait, and multiply from there: a number from memory
//               is used TILE times. But each multiply-add still needs two numbers from shared memory.
// 3. blocked    A thread makes a block of 8 x 8 outputs in registers: 16 numbers from shared memory are 64 multiply-adds.
//               And so a quarter of the threads make a tile of 16 times the size.
// 4. vectors    A load, a store and, on a CPU, a multiply-add are of a whole vector of outputs, Vec<LANES>: as many
//               numbers in a fraction of the instructions. A compiler makes poor vectors of step 3 by itself.
//
//                    threads         tile of a block     multiply-adds for a number
//                                                        from memory     from shared memory
//     1. direct      any             -                   1/2             -
//     2. tiled       16 x 16         16 x 16             8               1/2
//     3. blocked     8 x 8           64 x 64             32              4
//     4. vectors     16 x 8          128 x 64            43              4         float on a GPU
//                    16 x 2          192 x 64            48              8.7       float on a CPU with AVX-512
//
// (A tile of M x N with a slab k deep loads (M + N) k numbers for M N k multiply-adds.) So memory traffic: x is read
// kh kw cout / stride^2 times in step 1, and kh kw cout / stride^2 / N times in the others; w once for each output pixel,
// and once for each M of them. y is written once.
//
// The block of threads is 1-dimensional everywhere. Tiles are of output pixels (their rows) and output channels; at an edge,
// what is beyond is loaded as zeros and not stored. Blocks take tiles in turn, so that any grid is right.
//
// What is left to conv.cu: here, where a pixel lies is worked out anew for each of its taps and slabs, and a slab has a
// single tap, which is thin where there are few channels. What is left after that: fewer multiplications, winograd.cu.
//
// On a CPU, whose caches hold all of this and whose threads take turns at a barrier, step 2 alone costs more than it
// gains: it pays by what it makes possible. `minisrgan bench --steps` measures all of them.

#ifdef CPU
constexpr int SLAB = 64;  // channels that are loaded between barriers: a CPU has the room, and barriers cost it more
#else
constexpr int SLAB = 16;
#endif

struct Geometry {
    int n, height, width, cin, kh, kw, cout, out_h, out_w, stride_y, stride_x, pad_y, pad_x;
    __device__ __forceinline__ int pixels() const { return n * out_h * out_w; }
};

// The pixel of x that output pixel m meets at tap (i, j); null beyond the image, and for m beyond the last.
__device__ __forceinline__ const real *pixel_under(const Geometry &g, const real *x, int m, int i, int j) {
    int q = m % g.out_w, p = m / g.out_w % g.out_h, image = m / g.out_w / g.out_h;
    int row = p * g.stride_y + i - g.pad_y, column = q * g.stride_x + j - g.pad_x;
    bool inside = image < g.n && unsigned(row) < unsigned(g.height) && unsigned(column) < unsigned(g.width);
    return inside ? x + ((image * g.height + row) * g.width + column) * g.cin : nullptr;
}

// ---- 1. A thread for each output ---------------------------------------------------------------------

extern "C" __global__ void conv_step1_direct(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/,
                                             real *y /*[n*out_h*out_w*cout]*/, int n, int height, int width, int cin,
                                             int kh, int kw, int cout, int out_h, int out_w, int stride_y, int stride_x,
                                             int pad_y, int pad_x) {
    Geometry g = {n, height, width, cin, kh, kw, cout, out_h, out_w, stride_y, stride_x, pad_y, pad_x};
    FOR_EACH(e, g.pixels() * cout) {
        int o = e % cout;
        real sum = 0;
        for (int tap = 0; tap < kh * kw; ++tap)
            if (const real *pixel = pixel_under(g, x, e / cout, tap / kw, tap % kw))
                for (int c = 0; c < cin; ++c) sum += pixel[c] * w[(tap * cin + c) * cout + o];
        y[e] = sum;
    }
}

// ---- 2. Tiles in shared memory -----------------------------------------------------------------------

// How many neighbouring threads load a row of a slab together. On a GPU neighbours read neighbouring numbers, so that a
// warp's load is a few runs of memory; on a CPU each thread has rows of its own.
#ifdef CPU
#define ABREAST(numbers) 1
#else
#define ABREAST(numbers) (numbers)
#endif

// a[r][k] = channel c0 + k of the pixel under tap `tap` of output pixel m0 + r, or 0. WIDTH numbers at a time.
template <int WIDTH, int ROWS>
__device__ __forceinline__ void load_pixels(real (&a)[ROWS][SLAB], const Geometry &g, const real *x, int m0, int tap,
                                            int c0) {
    typedef Vec<WIDTH> V;
    constexpr int SHARERS = ABREAST(SLAB / WIDTH);
    int left = g.cin - c0;
    bool whole = g.cin % WIDTH == 0;
    for (int r = threadIdx.x / SHARERS; r < ROWS; r += blockDim.x / SHARERS) {
        const real *pixel = pixel_under(g, x, m0 + r, tap / g.kw, tap % g.kw);
        for (int k = threadIdx.x % SHARERS * WIDTH; k < min(SLAB, left); k += SHARERS * WIDTH)
            (pixel ? V::load_edge(pixel + c0 + k, left - k, whole) : V::broadcast(0)).store(&a[r][k]);
    }
}

// b[k][c] = w[tap, c0 + k, o0 + c], or 0. WIDTH numbers at a time.
template <int WIDTH, int COLUMNS>
__device__ __forceinline__ void load_weights(real (&b)[SLAB][COLUMNS], const Geometry &g, const real *w, int tap, int c0,
                                             int o0) {
    typedef Vec<WIDTH> V;
    constexpr int SHARERS = ABREAST(COLUMNS / WIDTH);
    bool whole = g.cout % WIDTH == 0;
    for (int k = threadIdx.x / SHARERS; k < min(SLAB, g.cin - c0); k += blockDim.x / SHARERS) {
        const real *row = w + (tap * g.cin + c0 + k) * g.cout;
        for (int c = threadIdx.x % SHARERS * WIDTH; c < COLUMNS; c += SHARERS * WIDTH) {
            int left = g.cout - o0 - c;
            (left > 0 ? V::load_edge(row + o0 + c, left, whole) : V::broadcast(0)).store(&b[k][c]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(TILE * TILE)
conv_step2_tiled(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/,
                 real *y /*[n*out_h*out_w*cout]*/, int n, int height, int width, int cin, int kh, int kw, int cout,
                 int out_h, int out_w, int stride_y, int stride_x, int pad_y, int pad_x) {
    REQUIRE(blockDim.x == TILE * TILE);
    SHARED(real, a, [TILE][SLAB]);
    SHARED(real, b, [SLAB][TILE]);
    Geometry g = {n, height, width, cin, kh, kw, cout, out_h, out_w, stride_y, stride_x, pad_y, pad_x};
    int row = threadIdx.x / TILE, column = threadIdx.x % TILE;
    int tiles_m = (g.pixels() + TILE - 1) / TILE, tiles_o = (cout + TILE - 1) / TILE;
    for (int tile = blockIdx.x; tile < tiles_m * tiles_o; tile += gridDim.x) {
        int m0 = tile / tiles_o * TILE, o0 = tile % tiles_o * TILE;
        real sum = 0;
        for (int tap = 0; tap < kh * kw; ++tap)
            for (int c0 = 0; c0 < cin; c0 += SLAB) {
                load_pixels<1>(a, g, x, m0, tap, c0);
                load_weights<1>(b, g, w, tap, c0, o0);
                __syncthreads();  // all is loaded
                for (int k = 0; k < min(SLAB, cin - c0); ++k) sum += a[row][k] * b[k][column];
                __syncthreads();  // all is used: it may be overwritten
            }
        int m = m0 + row, o = o0 + column;
        if (m < g.pixels() && o < cout) y[m * cout + o] = sum;
    }
}

// ---- 3. A block of outputs in each thread's registers ------------------------------------------------

// UNROLL: an array in registers has no address, so each index into it must be a constant.
constexpr int BLOCK = 8, TILE3 = BLOCK * SIDE;  // outputs of a thread, and of a block of SIDE x SIDE threads: each way

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
conv_step3_blocked(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/,
                   real *y /*[n*out_h*out_w*cout]*/, int n, int height, int width, int cin, int kh, int kw, int cout,
                   int out_h, int out_w, int stride_y, int stride_x, int pad_y, int pad_x) {
    REQUIRE(blockDim.x == SIDE * SIDE);
    SHARED(real, a, [TILE3][SLAB]);
    SHARED(real, b, [SLAB][TILE3]);
    Geometry g = {n, height, width, cin, kh, kw, cout, out_h, out_w, stride_y, stride_x, pad_y, pad_x};
    int row = threadIdx.x / SIDE * BLOCK, column = threadIdx.x % SIDE * BLOCK;
    int tiles_m = (g.pixels() + TILE3 - 1) / TILE3, tiles_o = (cout + TILE3 - 1) / TILE3;
    for (int tile = blockIdx.x; tile < tiles_m * tiles_o; tile += gridDim.x) {
        int m0 = tile / tiles_o * TILE3, o0 = tile % tiles_o * TILE3;
        real sum[BLOCK][BLOCK] = {};
        for (int tap = 0; tap < kh * kw; ++tap)
            for (int c0 = 0; c0 < cin; c0 += SLAB) {
                load_pixels<1>(a, g, x, m0, tap, c0);
                load_weights<1>(b, g, w, tap, c0, o0);
                __syncthreads();
                for (int k = 0; k < min(SLAB, cin - c0); ++k)
                    UNROLL for (int r = 0; r < BLOCK; ++r)
                        UNROLL for (int c = 0; c < BLOCK; ++c) sum[r][c] += a[row + r][k] * b[k][column + c];
                __syncthreads();
            }
        UNROLL for (int r = 0; r < BLOCK; ++r)
            UNROLL for (int c = 0; c < BLOCK; ++c) {
                int m = m0 + row + r, o = o0 + column + c;
                if (m < g.pixels() && o < cout) y[m * cout + o] = sum[r][c];
            }
    }
}

// ---- 4. Vectors --------------------------------------------------------------------------------------

// A thread has ROWS x VECS vectors of outputs. On a CPU a multiply-add of vectors is one instruction, so its sums are
// as many as its vector registers allow, beside VECS of b and one of a; on a GPU they are 8 x 8 numbers.
#ifdef CPU
constexpr int VECS = 2, ROWS = SUM_ROWS;
#else
constexpr int VECS = 2, ROWS = 8;
#endif
constexpr int THREADS_M = 16, THREADS_O = THREADS / THREADS_M;
static_assert(THREADS_M * THREADS_O == THREADS, "threads beyond the last whole row of them would have no outputs");
constexpr int COLUMNS = VECS * LANES, TILE_M = THREADS_M * ROWS, TILE_O = THREADS_O * COLUMNS;
typedef Vec<LANES> V;

extern "C" __global__ void __launch_bounds__(THREADS)
conv_step4_vectors(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/,
                   real *y /*[n*out_h*out_w*cout]*/, int n, int height, int width, int cin, int kh, int kw, int cout,
                   int out_h, int out_w, int stride_y, int stride_x, int pad_y, int pad_x) {
    REQUIRE(blockDim.x == THREADS);
    SHARED(real, a, [TILE_M][SLAB]);
    SHARED(real, b, [SLAB][TILE_O]);
    Geometry g = {n, height, width, cin, kh, kw, cout, out_h, out_w, stride_y, stride_x, pad_y, pad_x};
    int row = threadIdx.x / THREADS_O * ROWS, column = threadIdx.x % THREADS_O * COLUMNS;
    int tiles_m = (g.pixels() + TILE_M - 1) / TILE_M, tiles_o = (cout + TILE_O - 1) / TILE_O;
    for (int tile = blockIdx.x; tile < tiles_m * tiles_o; tile += gridDim.x) {
        int m0 = tile / tiles_o * TILE_M, o0 = tile % tiles_o * TILE_O;
        V sum[ROWS][VECS];
        UNROLL for (int r = 0; r < ROWS; ++r)
            UNROLL for (int v = 0; v < VECS; ++v) sum[r][v] = V::broadcast(0);
        for (int tap = 0; tap < kh * kw; ++tap)
            for (int c0 = 0; c0 < cin; c0 += SLAB) {
                load_pixels<LANES>(a, g, x, m0, tap, c0);
                load_weights<LANES>(b, g, w, tap, c0, o0);
                __syncthreads();
                for (int k = 0; k < min(SLAB, cin - c0); ++k) {
                    V right[VECS];
                    UNROLL for (int v = 0; v < VECS; ++v) right[v] = V::load(&b[k][column + v * LANES]);
                    UNROLL for (int r = 0; r < ROWS; ++r) {
                        real left = a[row + r][k];
                        UNROLL for (int v = 0; v < VECS; ++v) sum[r][v].fma(left, right[v]);
                    }
                }
                __syncthreads();
            }
        UNROLL for (int r = 0; r < ROWS; ++r)
            UNROLL for (int v = 0; v < VECS; ++v) {
                int m = m0 + row + r, o = o0 + column + v * LANES;
                if (m < g.pixels() && o < cout) sum[r][v].store_edge(y + m * cout + o, cout - o, cout % LANES == 0);
            }
    }
}
