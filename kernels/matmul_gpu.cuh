// How a GPU loads and multiplies a tile of matmul.cu. matmul_cpu.cuh does the same for a CPU. As in conv_gpu.cuh, no
// warp meets a bank conflict, and the next slab is loaded while a slab is multiplied.

// A slab lies in shared memory with a row for each step of the depth. Rows are a vector longer than the tile, so that
// what is stored along a column lies in different banks.
typedef real TileA[SLAB][TILE_M + 4], TileB[SLAB][TILE_N + 4];

#define UNROLL_STORES UNROLL  // or the sums would not stay in registers

// A thread's outputs: vectors of rows and of columns, each next to those of its neighbours.
__device__ __forceinline__ int my_row(int thread, int r) {
    return (r / LANES * THREADS_M + thread / THREADS_N) * LANES + r % LANES;
}
__device__ __forceinline__ int my_column(int thread, int v) { return (v * THREADS_N + thread % THREADS_N) * LANES; }

// A tile of R x C numbers on its way from memory to shared memory: the vectors that one thread loads. They lie along
// that axis of the matrix on which neighbours are neighbours in memory.
template <int R, int C>
struct Loads {
    static constexpr int COUNT = R * C / LANES / THREADS, DOWN = R / LANES, ACROSS = C / LANES;
    static_assert(COUNT * THREADS * LANES == R * C && DOWN == 4 && C % 16 == 0, "some would not be loaded");
    V next[COUNT];

    // Where the i-th of them begins: on the axis along which it lies, and on the other. A warp reads whole sectors of 32
    // bytes, and stores to different banks. So along columns it has 2 vectors of 16 columns, and along rows that are
    // short 4 vectors of 8 rows.
    static __device__ __forceinline__ void place(bool along_row, int i, int &along, int &across) {
        int e = i * THREADS + int(threadIdx.x), warp = e / 32;
        if (along_row) {
            along = (ACROSS == 4 ? e / 8 % 4 : e % ACROSS) * LANES;
            across = ACROSS == 4 ? e % 8 + warp * 8 : e / ACROSS;
        } else {
            along = (e % 2 + warp % 2 * 2) * LANES;
            across = e % 32 / 2 + warp / 2 * 16;
        }
    }
    // Of the tile at (row, column) of a matrix, with zeros for what lies beyond it.
    __device__ __forceinline__ void fetch(const Matrix &matrix, int row, int column) {
        bool along_row = matrix.column_step == 1;
        const real *start = matrix.start + (long long)row * matrix.row_step + (long long)column * matrix.column_step;
        int step = along_row ? matrix.row_step : matrix.column_step;
        int rows = matrix.rows - row, columns = matrix.columns - column;
        bool aligned = aligned_rows(start, step);
        UNROLL for (int i = 0; i < COUNT; ++i) {
            int along, across;
            place(along_row, i, along, across);
            int left = across < (along_row ? rows : columns) ? (along_row ? columns : rows) - along : 0;
            next[i] = load(start + (across * step + along), left, aligned);
        }
    }
    __device__ __forceinline__ void put(bool along_row, real (&tile)[R][C + 4]) const {
        UNROLL for (int i = 0; i < COUNT; ++i) {
            int along, across;
            place(along_row, i, along, across);
            if (along_row) next[i].store(&tile[across][along]);
            else
                UNROLL for (int lane = 0; lane < LANES; ++lane) tile[along + lane][across] = next[i].lane[lane];
        }
    }
};

// The slabs of a tile, one after another. A is loaded as A^T: the same memory with its steps exchanged.
struct Slabs {
    const Matrix turned_a, &b;
    int row0, column0;
    Loads<SLAB, TILE_M> next_a;
    Loads<SLAB, TILE_N> next_b;

    __device__ __forceinline__ Slabs(const Matrix &a, const Matrix &b, int row0, int column0)
        : turned_a{a.start, a.columns, a.rows, a.column_step, a.row_step}, b(b), row0(row0), column0(column0) {}
    __device__ __forceinline__ void fetch(int k0) {
        next_a.fetch(turned_a, k0, row0);
        next_b.fetch(b, k0, column0);
    }
    __device__ __forceinline__ void put(TileA &tile_a, TileB &tile_b, int) const {
        next_a.put(turned_a.column_step == 1, tile_a);
        next_b.put(b.column_step == 1, tile_b);
    }
    static __device__ __forceinline__ void multiply(V (&sum)[ROWS_M][VECS], const TileA &tile_a, const TileB &tile_b,
                                                    int) {
        int thread = threadIdx.x;
        UNROLL for (int l = 0; l < SLAB; ++l) {
            V left[ROWS_M / LANES], right[VECS];
            UNROLL for (int u = 0; u < ROWS_M / LANES; ++u) left[u] = V::load(&tile_a[l][my_row(thread, u * LANES)]);
            UNROLL for (int v = 0; v < VECS; ++v) right[v] = V::load(&tile_b[l][my_column(thread, v)]);
            UNROLL for (int r = 0; r < ROWS_M; ++r)
                UNROLL for (int v = 0; v < VECS; ++v) sum[r][v].fma(left[r / LANES].lane[r % LANES], right[v]);
        }
    }
};
