// Matrix product C = A B, of (M, K) and (K, N), tiled as the convolution is (conv.cu).
//
// Tiles.  A block makes TILE_M x TILE_N numbers of C, each of its threads ROWS_M x COLS of them, in registers. It goes
// along K in slabs of SLAB: both factors' slabs to shared memory, wait, multiply, wait. So a number
// from memory is used TILE_M or TILE_N times, one from shared memory ROWS_M or COLS times. Blocks take tiles in
// turn, so that any grid is right.
//
// Transposing.  Each matrix comes with two strides, of which one is 1: the transpose of a matrix is the same
// memory with its strides exchanged, and costs nothing. Slabs are read along the stride of 1, neighbouring threads
// at neighbouring addresses, and lie in shared memory the same way whichever it was.
//
// Split K.  The dense layer of D is 16 x 18432 times 18432 x 1024: one row of tiles, so too few blocks, and 75 MB
// of weights that are used 16 times each: it is bound by memory. So K is cut into parts, each with a C of its own,
// and elementwise.cu's sum_parts adds them up in their order. No atomics: the same bits on every run. A batch of products is
// the same thing, but for the sum.
//
// Few rows.  With SKINNY=1 the first factor has up to 16 rows, with NARROW=1 the second has up to 16 columns. On a CPU one
// row, or one column, of threads has them all, so each number of the large factor is used by one thread alone: it goes
// straight to a register, since a detour by shared memory would only cost. SKINNY is for few numbers along K too: the
// product is large then, and a wide tile writes it in long runs.
//
// Variants: ; SKINNY=1; NARROW=1

#if !defined(CPU)
constexpr int ROWS_M = 8, VECS = SKINNY || NARROW ? 1 : 2, SLAB = 16;
#elif SKINNY
constexpr int ROWS_M = 16, VECS = 1, SLAB = 64;
#elif NARROW
constexpr int ROWS_M = 16, VECS = 16 / LANES, SLAB = 256;
#else
constexpr int ROWS_M = SUM_ROWS, VECS = 2, SLAB = 64;
#endif
constexpr int THREADS_M = THREADS / THREADS_N, COLS = LANES * VECS;
static_assert(THREADS_M * THREADS_N == THREADS, "threads beyond the last whole row of them would have no outputs");
constexpr int TILE_M = ROWS_M * THREADS_M, TILE_N = COLS * THREADS_N;
typedef Vec<LANES> V;

// rows x columns numbers; one of the two steps is 1
struct Matrix {
    const real *start;
    int rows, columns, row_step, column_step;
};

// Whether every row begins at an address that vectors can be loaded from.
__device__ __forceinline__ bool aligned_rows(const real *start, int step) {
    return (unsigned long long)start % V::ALIGN == 0 && step % int(V::ALIGN / sizeof(real)) == 0;
}

// LANES numbers, or `left` if those are fewer.
__device__ __forceinline__ V load(const real *from, int left, bool aligned) {
    if (aligned && left >= LANES) return V::load(from);
    return left <= 0 ? V::broadcast(0) : V::load_partial(from, left);
}

// tile[r][c] = matrix[row + r][column + c] for r < rows and c < columns, with zeros for what is beyond the matrix.
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

// c[z] = a[z] b[z], of (m, depth) and (depth, n), for each z < count. A step of z is of a_next numbers in a, of
// b_next in b and of m n in c; where it goes along K, it is k_next long there, and 0 where it counts a batch.
extern "C" __global__ void __launch_bounds__(THREADS)
matmul(const real *a, const real *b, real *c /*[count*m*n]*/, int m, int n, int k, int a_row, int a_column, int b_row,
       int b_column, int c_row, int c_column, int a_next, int b_next, int k_next, int count) {
    REQUIRE(blockDim.x == THREADS);
    REQUIRE(k_next == 0 || (long long)k_next * count >= k);
    SHARED(real, tile_a, [TILE_M][SLAB]);
    SHARED(real, tile_b, [SLAB][TILE_N]);
    int row = threadIdx.x / THREADS_N * ROWS_M, column = threadIdx.x % THREADS_N * COLS;
    int tiles_m = (m - 1) / TILE_M + 1, tiles_n = (n - 1) / TILE_N + 1;

    for (int tile = blockIdx.x; tile < tiles_m * tiles_n * count; tile += gridDim.x) {
        int z = tile / tiles_n / tiles_m, depth = k_next ? min(k_next, k - z * k_next) : k;
        int row0 = tile / tiles_n % tiles_m * TILE_M, column0 = tile % tiles_n * TILE_N;
        Matrix matrix_a = {a + (long long)z * a_next, m, depth, a_row, a_column};
        Matrix matrix_b = {b + (long long)z * b_next, depth, n, b_row, b_column};
        bool busy = row0 + row < m && column0 + column < n;  // at an edge, the others only load
        bool direct_a = THREADS_N == 1 && a_column == 1 && row0 + TILE_M <= m;
        bool direct_b = THREADS_M == 1 && b_column == 1 && column0 + TILE_N <= n && aligned_rows(matrix_b.start + column0, b_row);

        V sum[ROWS_M][VECS];
        UNROLL for (int r = 0; r < ROWS_M; ++r)
            for (int v = 0; v < VECS; ++v) sum[r][v] = V::broadcast(0);
        for (int k0 = 0; k0 < depth; k0 += SLAB) {
            int slab = min(SLAB, depth - k0);
            if (!direct_a) load_tile(tile_a, matrix_a, row0, k0, TILE_M, slab);
            if (!direct_b) load_tile(tile_b, matrix_b, k0, column0, slab, TILE_N);
            __syncthreads();
            const real *left = direct_a ? matrix_a.start + (long long)(row0 + row) * a_row + k0 : tile_a[row];
            const real *right = direct_b ? matrix_b.start + (long long)k0 * b_row + column0 + column : &tile_b[0][column];
            long long left_step = direct_a ? a_row : SLAB, right_step = direct_b ? b_row : TILE_N;
            for (int l = 0; l < (busy ? slab : 0); ++l, ++left, right += right_step) {
                V other[VECS];
                UNROLL for (int v = 0; v < VECS; ++v) other[v] = V::load(right + v * LANES);
                UNROLL for (int r = 0; r < ROWS_M; ++r) {
                    real factor = left[r * left_step];
                    UNROLL for (int v = 0; v < VECS; ++v) sum[r][v].fma(factor, other[v]);
                }
            }
            __syncthreads();
        }

        real *out = c + (long long)z * m * n;
        bool aligned = c_column == 1 && aligned_rows(out, c_row);
        for (int r = 0; r < ROWS_M && row0 + row + r < m; ++r)
            for (int v = 0; v < VECS; ++v) {
                int first = column0 + column + v * LANES, left = n - first;
                real *to = out + (long long)(row0 + row + r) * c_row + (long long)first * c_column;
                if (aligned && left >= LANES) {
                    sum[r][v].store(to);
                } else {
                    for (int lane = 0; lane < LANES; ++lane)
                        if (lane < left) to[(long long)lane * c_column] = sum[r][v].lane[lane];
                }
            }
    }
}
