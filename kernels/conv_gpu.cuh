// How a GPU loads and multiplies a tile of conv.cu. conv_cpu.cuh does the same for a CPU.
//
// Shared memory has 32 banks of 4 bytes. Vectors of 16 bytes are loaded by a quarter of a warp at a time, and if its 8
// threads ask for two different words of a bank, it takes twice as long. All below is laid out so that this happens
// nowhere (tests/device/test_bank_conflicts.py).

// A thread's outputs: 2 x 2 vectors. A warp has 8 x 4 threads, and each of the four vectors of a thread is next to those
// of the threads beside it. So a quarter of a warp loads a run of A, and two or four vectors of B. The numbers of two
// neighbouring lanes, or of every second one, are the same: a GPU then serves two quarters at once.
//
//     bits of the lane      4        3 2 1    0
//                           column   row      column
struct Mine {
    static constexpr int WARP_ROWS = 8, WARP_COLUMNS = 4, WARPS_N = THREADS_N / WARP_COLUMNS;
    static_assert(THREADS % 32 == 0 && WARPS_N * WARP_COLUMNS == THREADS_N, "a warp is 8 x 4 threads");
    static_assert(ROWS_M == 2 * LANES && COLS == 2 * LANES, "a thread has 2 x 2 vectors");
    int row, column;  // of the first

    __device__ __forceinline__ explicit Mine(int thread) {
        int lane = thread % 32, warp = thread / 32;
        row = warp / WARPS_N * WARP_ROWS * ROWS_M + lane / 2 % 8 * LANES;
        column = warp % WARPS_N * WARP_COLUMNS * COLS + (lane % 2 + lane / 16 * 2) * LANES;
    }
    __device__ __forceinline__ int row_of(int r) const { return row + r / LANES * WARP_ROWS * LANES + r % LANES; }
    __device__ __forceinline__ int column_of(int v) const { return column + v * WARP_COLUMNS * LANES; }
};

// A slab in shared memory: a row for each step of the depth. The rows of A are a vector longer than the tile, so that
// what DepthSlabs stores lies in different banks.
typedef real SlabA[SLAB][TILE_M + 4], SlabB[SLAB][TILE_N];
typedef SlabA PixelSlabA;

// A thread's sums: ROWS_M x COLS outputs of the block's tile.
struct Sums {
    V of[ROWS_M][VECS];
    __device__ __forceinline__ void clear() {
        UNROLL for (int r = 0; r < ROWS_M; ++r)
            UNROLL for (int v = 0; v < VECS; ++v) of[r][v] = V::broadcast(0);
    }
    // Add a slab's products: for each step of the depth the outer product of a row of A and a row of B.
    __device__ __forceinline__ void add(const SlabA &a, const SlabB &b, const Mine &mine, int) {
        UNROLL for (int k = 0; k < SLAB; ++k) {
            V left[2], right[VECS];
            UNROLL for (int u = 0; u < 2; ++u) left[u] = V::load(&a[k][mine.row_of(u * LANES)]);
            UNROLL for (int v = 0; v < VECS; ++v) right[v] = V::load(&b[k][mine.column_of(v)]);
            UNROLL for (int r = 0; r < ROWS_M; ++r)
                UNROLL for (int v = 0; v < VECS; ++v) of[r][v].fma(left[r / LANES].lane[r % LANES], right[v]);
        }
    }
};

// A column of A: which tap (i, j) and channel c it is, and how far it lies from the start of a window in memory. It is
// worked out once and then moved on, since a division takes a GPU some twenty instructions.
struct Column {
    int i, j, c, offset;

    __device__ __forceinline__ Column(const Image &image, int k) {
        int tap = k / image.channels, kw = max(image.kw, 1);  // 0: a pixel of x that meets no tap
        c = k % image.channels, i = tap / kw, j = tap % kw;
        offset = (i * image.width + j) * image.channels + c;
    }
    __device__ __forceinline__ void move_on(const Image &image, int steps) {
        for (c += steps, offset += steps; c >= image.channels;) {  // the channels of the next tap follow in memory
            c -= image.channels;
            if (++j < image.kw) continue;
            j = 0, ++i;
            offset += (image.width - image.kw) * image.channels;
        }
    }
    // Whether it is inside of the image, in some window. (There are no columns beyond the last row of taps.)
    __device__ __forceinline__ bool inside(const Image &image, const Window &window) const {
        return i < image.kh && unsigned(window.row + i) < unsigned(image.height) &&
               unsigned(window.column + j) < unsigned(image.width);
    }
};

// LANES neighbouring columns of a window, with zeros for what lies beyond the image. If channels come in whole vectors,
// they are a vector in memory.
__device__ __forceinline__ V gather(const Image &image, Window window, Column column) {
    if (image.channels % LANES == 0)
        return column.inside(image, window) ? V::load(image.x + (window.address + column.offset)) : V::broadcast(0);
    V v = V::broadcast(0);
    UNROLL for (int lane = 0; lane < LANES; ++lane) {
        if (column.inside(image, window)) v.lane[lane] = image.x[window.address + column.offset];
        column.move_on(image, 1);
    }
    return v;
}

// Rows of a matrix, from row `first` on, of TILE_N columns that begin at some column: the factor B. Rows from `end` on
// and columns beyond the matrix are zeros. A thread always loads the same columns, of every LOADERS-th row of a slab.
struct Rows {
    static constexpr int CHUNKS = TILE_N / LANES, LOADERS = THREADS / CHUNKS, LOADS = SLAB / LOADERS;
    static_assert(CHUNKS * LOADERS == THREADS && LOADS * LOADERS == SLAB, "some numbers would not be loaded");
    const real *matrix;
    int first, end, column, width;

    __device__ __forceinline__ void fetch(V (&v)[LOADS], int thread) {
        int c = column + thread % CHUNKS * LANES, left = width - c, r = first + thread / CHUNKS;
        const real *from = matrix + (long long)r * width + c;
        UNROLL for (int l = 0; l < LOADS; ++l)
            v[l] = r + l * LOADERS < end && left > 0
                       ? V::load_edge(from + (long long)l * LOADERS * width, left, width % LANES == 0)
                       : V::broadcast(0);
        first += SLAB;
    }
    static __device__ __forceinline__ void put(const V (&v)[LOADS], SlabB &tile, int thread) {
        UNROLL for (int l = 0; l < LOADS; ++l) v[l].store(&tile[thread / CHUNKS + l * LOADERS][thread % CHUNKS * LANES]);
    }
};

// conv2d's slabs: the same windows all the time, and one piece of their depth after another. `fetch` begins to load a
// slab into registers, and `put` stores it to shared memory. In between, the slab before it is multiplied, which takes
// longer than memory does.
//
// A warp loads 2 vectors of 16 windows, which are whole sectors of 32 bytes. It stores them turned round.
struct DepthSlabs {
    static constexpr int CHUNKS = SLAB / LANES, LOADERS = THREADS / CHUNKS, LOADS = TILE_M / LOADERS;
    static_assert(CHUNKS % 2 == 0 && LOADERS % 16 == 0 && LOADS * LOADERS == TILE_M, "windows would not be loaded");
    const Image &image;
    Rows rows;
    int thread, chunk, row;
    Column column;
    V a_next[LOADS], b_next[Rows::LOADS];

    __device__ __forceinline__ DepthSlabs(const Image &image, const Rows &rows, int thread)
        : image(image), rows(rows), thread(thread), chunk(thread % 2 + thread / 32 % (CHUNKS / 2) * 2),
          row(thread % 32 / 2 + thread / 32 / (CHUNKS / 2) * 16), column(image, rows.first + chunk * LANES) {}
    __device__ __forceinline__ void fetch(const Window *window) {
        UNROLL for (int l = 0; l < LOADS; ++l) a_next[l] = gather(image, window[row + l * LOADERS], column);
        column.move_on(image, SLAB);
        rows.fetch(b_next, thread);
    }
    __device__ __forceinline__ void put(SlabA &a, SlabB &b, const Window *) const {
        UNROLL for (int l = 0; l < LOADS; ++l)
            UNROLL for (int lane = 0; lane < LANES; ++lane)
                a[chunk * LANES + lane][row + l * LOADERS] = a_next[l].lane[lane];
        Rows::put(b_next, b, thread);
    }
};

// weight_grad's slabs: the same piece of the depth all the time, and one run of pixels after another.
struct PixelSlabs {
    static constexpr int CHUNKS = TILE_M / LANES, LOADERS = THREADS / CHUNKS, LOADS = SLAB / LOADERS;
    static_assert(CHUNKS * LOADERS == THREADS && LOADS * LOADERS == SLAB, "some windows would not be loaded");
    const Image &image;
    Rows rows;
    int thread;
    Column column;
    V a_next[LOADS], b_next[Rows::LOADS];

    __device__ __forceinline__ PixelSlabs(const Image &image, const Rows &rows, int thread, int k, int)
        : image(image), rows(rows), thread(thread), column(image, k + thread % CHUNKS * LANES) {}
    __device__ __forceinline__ void fetch(const Window *window) {
        UNROLL for (int l = 0; l < LOADS; ++l)
            a_next[l] = gather(image, window[thread / CHUNKS + l * LOADERS], column);
        rows.fetch(b_next, thread);
    }
    __device__ __forceinline__ void put(PixelSlabA &a, SlabB &b, const Window *) const {
        UNROLL for (int l = 0; l < LOADS; ++l)
            a_next[l].store(&a[thread / CHUNKS + l * LOADERS][thread % CHUNKS * LANES]);
        Rows::put(b_next, b, thread);
    }
};

// The windows of the pixels from m on, SLAB of them at a time. Pixels from `end` on have none. Each of the first SLAB
// threads has one, which it moves on without a division.
struct Windows {
    const Geometry &g;
    int m, end, thread, p, q;
    Window window;

    __device__ __forceinline__ Windows(const Geometry &g, int first, int end, int thread)
        : g(g), m(first + thread), end(end), thread(thread), p(m / g.out_w % g.out_h), q(m % g.out_w),
          window(window_of(g, m, 0x7fffffff)) {}
    __device__ __forceinline__ void put(Window *to) {
        if (thread >= SLAB) return;
        Window now = window;
        if (m >= end) now.row = -0x40000000;
        to[thread] = now;
        m += SLAB, q += SLAB;
        window.column += SLAB * g.stride_x, window.address += SLAB * g.stride_x * g.cin;
        while (q >= g.out_w) {  // the next row of outputs
            q -= g.out_w, window.column -= g.out_w * g.stride_x;
            window.row += g.stride_y, window.address += (g.stride_y * g.width - g.out_w * g.stride_x) * g.cin;
            if (++p < g.out_h) continue;
            p = 0, window.row -= g.out_h * g.stride_y;  // the next image
            window.address += (g.height - g.out_h * g.stride_y) * g.width * g.cin;
        }
    }
};
