// How a CPU loads and multiplies a tile of conv.cu. conv_gpu.cuh does the same for a GPU.

// A thread's outputs: ROWS_M rows one below the other, and a run of columns.
struct Mine {
    int row, column;  // the first
    __device__ __forceinline__ explicit Mine(int thread)
        : row(thread / THREADS_N * ROWS_M), column(thread % THREADS_N * COLS) {}
    __device__ __forceinline__ int row_of(int r) const { return row + r; }
    __device__ __forceinline__ int column_of(int v) const { return column + v * LANES; }
};

// A slab of B lies in shared memory in panels. A panel has the columns of one thread, which reads them one row after
// another. (Rows whose length is a power of two would share a few sets of the L1 cache.)
typedef real SlabA[TILE_M][SLAB], PixelSlabA[SLAB][TILE_M], SlabB[THREADS_N][SLAB][COLS];

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
    // Add a slab's products of depth `count`.
    __device__ __forceinline__ void add(const SlabA &a, const SlabB &b, const Mine &mine, int count) {
        for (int k = 0; k < count; ++k) add_outer(&a[mine.row][k], SLAB, b[mine.column / COLS][k]);
    }
    __device__ __forceinline__ void add(const PixelSlabA &a, const SlabB &b, const Mine &mine, int) {
        for (int m = 0; m < SLAB; ++m) add_outer(&a[m][mine.row], 1, b[mine.column / COLS][m]);
    }
};

// Numbers k to k + count of each row of A. Number k lies in row `first_row` of the window, at place `first` of its run.
struct Columns {
    int first_row, first, count;
    __device__ __forceinline__ Columns(const Image &image, int k, int count)
        : first_row(k / (image.kw * image.channels)), first(k % (image.kw * image.channels)), count(count) {}
};

// tile[r] = those numbers of the window of row r, with zeros for what lies beyond the image. In NHWC each row of a
// window is one run of kw * channels numbers in memory, apart from what lies beyond the sides of the image. So a thread
// copies a whole run at once, and has rows of the tile to itself.
template <int ROWS, int WIDTH>
__device__ __forceinline__ void load_windows(real (&tile)[ROWS][WIDTH], const Image &image, const Window *window,
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

// Rows of a matrix, from row `first` on, of TILE_N columns that begin at some column: the factor B. Rows from `end` on
// and columns beyond the matrix are zeros. A thread always loads the same columns, of every LOADERS-th row of a slab.
struct Rows {
    const real *matrix;
    int first, end, column, width;

    __device__ __forceinline__ void load(SlabB &tile, int thread) {
        constexpr int CHUNKS = TILE_N / LANES, LOADERS = THREADS / CHUNKS;
        static_assert(CHUNKS * LOADERS == THREADS, "two threads would load the same numbers");
        int c = thread % CHUNKS * LANES, left = width - column - c;
        real(*to)[COLS] = tile[c / COLS];
        const real *from = matrix + (long long)first * width + column + c;
        bool whole = left >= LANES && width % LANES == 0;
        if (whole && first + SLAB <= end)  // nearly always
            for (int r = thread / CHUNKS; r < SLAB; r += LOADERS) V::load(from + r * width).store(&to[r][c % COLS]);
        else
            for (int r = thread / CHUNKS; r < SLAB; r += LOADERS)
                (first + r < end && left > 0 ? V::load_edge(from + (long long)r * width, left, whole) : V::broadcast(0))
                    .store(&to[r][c % COLS]);
        first += SLAB;
    }
};

// conv2d's slabs: the same windows all the time, and one piece of their depth after another. A CPU loads straight into
// shared memory: fetch, which begins to load the next slab on a GPU, has nothing to do.
struct DepthSlabs {
    const Image &image;
    Rows rows;
    int thread;

    __device__ __forceinline__ void fetch(const Window *) {}
    __device__ __forceinline__ void put(SlabA &a, SlabB &b, const Window *window) {
        Columns columns(image, rows.first, min(SLAB, rows.end - rows.first));
        load_windows(a, image, window, columns, thread);
        rows.load(b, thread);
    }
};

// weight_grad's slabs: the same piece of the depth all the time, and one run of pixels after another.
struct PixelSlabs {
    const Image &image;
    Rows rows;
    int thread;
    Columns columns;

    __device__ __forceinline__ PixelSlabs(const Image &image, Rows rows, int thread, int k, int depth)
        : image(image), rows(rows), thread(thread), columns(image, k, min(TILE_M, depth - k)) {}
    __device__ __forceinline__ void fetch(const Window *) {}
    __device__ __forceinline__ void put(PixelSlabA &a, SlabB &b, const Window *window) {
        load_windows(a, image, window, columns, thread);
        rows.load(b, thread);
    }
};

// The windows of the pixels from m on, SLAB of them at a time. Pixels from `end` on have none.
struct Windows {
    const Geometry &g;
    int m, end, thread;

    __device__ __forceinline__ void put(Window *window) {
        if (m >= end) return;  // there is no such slab
        for (int r = thread; r < SLAB; r += THREADS) window[r] = window_of(g, m + r, end);
        m += SLAB;
    }
};
