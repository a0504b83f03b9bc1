// How a CPU loads and multiplies a tile of matmul.cu. matmul_gpu.cuh does the same for a GPU.

typedef real TileA[TILE_M][SLAB], TileB[SLAB][TILE_N];

#define UNROLL_STORES  // no: unrolled, they take registers from the loop that multiplies, and it is a fifth slower

// A thread's outputs: ROWS_M rows one below the other, and a run of columns.
__device__ __forceinline__ int my_row(int thread, int r) { return thread / THREADS_N * ROWS_M + r; }
__device__ __forceinline__ int my_column(int thread, int v) { return thread % THREADS_N * COLS + v * LANES; }

// tile[r][c] = matrix[row + r][column + c] for r < rows and c < columns, with zeros for what lies beyond the matrix.
template <int R, int C>
__device__ __forceinline__ void load_tile(real (&tile)[R][C], const Matrix &matrix, int row, int column, int rows,
                                          int columns) {
    const real *start = matrix.start + (long long)row * matrix.row_step + (long long)column * matrix.column_step;
    constexpr int LOADS = R * C / LANES / THREADS;
    static_assert(LOADS * THREADS * LANES == R * C && R % LANES == 0 && C % LANES == 0, "some would not be loaded");
    int rows_left = matrix.rows - row, columns_left = matrix.columns - column;
    if (matrix.column_step == 1) {
        bool aligned = aligned_rows(start, matrix.row_step);
        for (int i = 0; i < LOADS; ++i) {
            int e = i * THREADS + int(threadIdx.x), r = e / (C / LANES), c = e % (C / LANES) * LANES;
            if (r < rows && c < columns)
                load(start + (long long)r * matrix.row_step + c, r < rows_left ? columns_left - c : 0, aligned)
                    .store(&tile[r][c]);
        }
    } else {
        bool aligned = aligned_rows(start, matrix.column_step);
        for (int i = 0; i < LOADS; ++i) {
            int e = i * THREADS + int(threadIdx.x), c = e / (R / LANES), r = e % (R / LANES) * LANES;
            if (r >= rows || c >= columns) continue;
            V v = load(start + (long long)c * matrix.column_step + r, c < columns_left ? rows_left - r : 0, aligned);
            for (int lane = 0; lane < LANES; ++lane) tile[r + lane][c] = v.lane[lane];
        }
    }
}

// The slabs of a tile, one after another. A factor of which each number is used by one thread only is not loaded to
// shared memory: it goes straight to a register.
struct Slabs {
    const Matrix &a, &b;
    int row0, column0;
    bool direct_a, direct_b;

    __device__ __forceinline__ Slabs(const Matrix &a, const Matrix &b, int row0, int column0)
        : a(a), b(b), row0(row0), column0(column0),
          direct_a(THREADS_N == 1 && a.column_step == 1 && row0 + TILE_M <= a.rows),
          direct_b(THREADS_M == 1 && b.column_step == 1 && column0 + TILE_N <= b.columns &&
                   aligned_rows(b.start + column0, b.row_step)) {}
    static __device__ __forceinline__ void fetch(int) {}  // a GPU begins to load the next slab here
    __device__ __forceinline__ void put(TileA &tile_a, TileB &tile_b, int k0) const {
        int slab = min(SLAB, a.columns - k0);
        if (!direct_a) load_tile(tile_a, a, row0, k0, TILE_M, slab);
        if (!direct_b) load_tile(tile_b, b, k0, column0, slab, TILE_N);
    }
    __device__ __forceinline__ void multiply(V (&sum)[ROWS_M][VECS], const TileA &tile_a, const TileB &tile_b,
                                             int k0) const {
        int row = my_row(threadIdx.x, 0), column = my_column(threadIdx.x, 0), slab = min(SLAB, a.columns - k0);
        const real *left = direct_a ? a.start + (long long)(row0 + row) * a.row_step + k0 : tile_a[row];
        const real *right = direct_b ? b.start + (long long)k0 * b.row_step + column0 + column : &tile_b[0][column];
        long long left_step = direct_a ? a.row_step : SLAB, right_step = direct_b ? b.row_step : TILE_N;
        for (int l = 0; l < slab; ++l, ++left, right += right_step) {
            V other[VECS];
            UNROLL for (int v = 0; v < VECS; ++v) other[v] = V::load(right + v * LANES);
            UNROLL for (int r = 0; r < ROWS_M; ++r) {
                real factor = left[r * left_step];
                UNROLL for (int v = 0; v < VECS; ++v) sum[r][v].fma(factor, other[v]);
            }
        }
    }
};
