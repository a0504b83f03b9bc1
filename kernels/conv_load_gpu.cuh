// How a GPU loads a tile of A for conv.cu. Neighbouring threads take neighbouring vectors of a row, so that a warp
// reads runs of memory. A thread has the same LANES columns in every row that it loads, so it works out once which tap
// and channel each of them is. conv_load_cpu.cuh does the same for a CPU.

// The thread's columns of A: tap (i, j), and how far the number lies from the start of a window. `whole` says that all
// of them belong to one tap, and are a vector in memory. Where channels are no multiple of LANES, each is loaded by
// itself.
struct Columns {
    int i[LANES], j[LANES], offset[LANES];
    bool whole;
};

// Columns k + chunk and on, of the `count` columns that begin at k.
__device__ __forceinline__ Columns my_columns(const Image &image, int k, int count, int chunk) {
    Columns columns;
    columns.whole = image.channels % LANES == 0 && chunk < count;
    UNROLL for (int lane = 0; lane < LANES; ++lane) {
        int e = k + chunk + lane, c = e % image.channels, tap = e / image.channels;
        int i = tap / image.kw, j = tap % image.kw;
        columns.i[lane] = chunk + lane < count ? i : -0x20000000;  // beyond the last column: outside of the image
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

// tile[r] = those columns of the window of row r, with zeros for what lies beyond the image.
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
