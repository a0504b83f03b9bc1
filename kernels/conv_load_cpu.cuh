// How a CPU loads a tile of A for conv.cu. In NHWC each row of a window is one run of kw * channels numbers in memory,
// apart from what lies beyond the sides of the image. So a thread copies a whole run at once, and has rows of the tile
// to itself. conv_load_gpu.cuh does the same for a GPU.

// Numbers k to k + count of each row of A. Number k lies in row `first_row` of the window, at place `first` of its run.
struct Columns {
    int first_row, first, count;
};

__device__ __forceinline__ Columns my_columns(const Image &image, int k, int count, int) {
    int run = image.kw * image.channels;
    return {k / run, k % run, count};
}

// tile[r] = those numbers of the window of row r, with zeros for what lies beyond the image.
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
