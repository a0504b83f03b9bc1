// Matrix product C = A B of A (M, K) and B (K, N). The tiles are those of conv.cu.
//
// Tiles.  A block makes TILE_M x TILE_N numbers of C. Each of its threads has ROWS_M x COLS of them, in registers. The
// block goes along K in slabs of SLAB numbers: it loads a slab of both factors into shared memory, waits, multiplies,
// and waits again. So a number that was loaded from memory once is used TILE_M or TILE_N times, and a number from
// shared memory ROWS_M or COLS times. Blocks take tiles in turn, so that any grid is right.
//
// Transposed matrices.  Each matrix comes with two strides: how far apart its rows are in memory, and how far apart its
// columns are. One of the two is 1. A transposed matrix is the same memory with its strides exchanged, so to transpose
// costs nothing. A slab is read along the stride of 1, so that neighbouring threads read neighbouring numbers. It lies
// in shared memory the same way in both cases.
//
// Split K.  The dense layer of D multiplies 16 x 18432 by 18432 x 1024. That is a single row of tiles, so there would
// be too few blocks. And its 75 MB of weights are used only 16 times each, so memory bounds its speed. So K is cut into
// parts. Each part makes a C of its own, and sum_parts of elementwise.cu adds these up in order, without atomics: the
// same bits on every run. A batch of products is made in the same way, without the sum.
//
// Few rows or columns.  With SKINNY=1, A has at most 16 rows; with NARROW=1, B has at most 16 columns. On a CPU one row
// or one column of threads has all of them. Then each number of the large factor is used by one thread only, and goes
// straight to a register: to go through shared memory would only cost time. SKINNY is for a short K too. The product is
// large then, and a wide tile writes it in long runs.
//
// Memory traffic.  A is read once for each column of tiles, B once for each row of tiles, and C is written once.
//
// Variants: ; SKINNY=1; NARROW=1

#if !defined(CPU)
constexpr int ROWS_M = 8, VECS = SKINNY ? 1 : NARROW ? 4 / LANES : 2, SLAB = 4 * LANES;
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

// A matrix in memory: how many rows and columns it has, and how far apart they are. One of the two steps is 1.
struct Matrix {
    const real *start;
    int rows, columns, row_step, column_step;
};

// Whether vectors can be loaded from the beginning of every row.
__device__ __forceinline__ bool aligned_rows(const real *start, int step) {
    return (unsigned long long)start % V::ALIGN == 0 && step % int(V::ALIGN / sizeof(real)) == 0;
}

// LANES numbers; if fewer than that are left, zeros after them.
__device__ __forceinline__ V load(const real *from, int left, bool aligned) {
    if (aligned && left >= LANES) return V::load(from);
    return left <= 0 ? V::broadcast(0) : V::load_partial(from, left);
}

// These have, for a CPU and for a GPU: TileA and TileB, how a slab lies in shared memory; my_row and my_column, where a
// thread's sums are in the tile; and Slabs, which brings one slab after another and multiplies it.
#ifdef CPU
#include "matmul_cpu.cuh"
#else
#include "matmul_gpu.cuh"
#endif

// `count` products C[z] = A[z] B[z]. A[z] begins a_next numbers after A[z - 1], B[z] b_next numbers after B[z - 1], and
// C[z] m n numbers after C[z - 1]. If K is cut into parts, k_next is the depth of a part. It is 0 for a batch of
// products.
struct Products {
    int a_row, a_column, b_row, b_column, c_row, c_column;  // how far apart rows and columns are
    int m, n, k;
    int a_next, b_next, k_next, count;
};

// __grid_constant__: the struct is read where the launch put it. A copy would cost registers, which are all in use.
extern "C" __global__ void __launch_bounds__(THREADS, 4)
matmul(const real *a, const real *b, real *c /*[count*m*n]*/, const __grid_constant__ Products of) {
    int m = of.m, n = of.n, k = of.k, k_next = of.k_next;
    REQUIRE(blockDim.x == THREADS);
    REQUIRE(k_next == 0 || (long long)k_next * of.count >= k);
    SHARED(TileA, tile_a, [1]);
    SHARED(TileB, tile_b, [1]);
    int thread = threadIdx.x, tiles_m = (m - 1) / TILE_M + 1, tiles_n = (n - 1) / TILE_N + 1;

    for (int tile = blockIdx.x; tile < tiles_m * tiles_n * of.count; tile += gridDim.x) {
        int z = tile / tiles_n / tiles_m, depth = k_next ? min(k_next, k - z * k_next) : k;
        int row0 = tile / tiles_n % tiles_m * TILE_M, column0 = tile % tiles_n * TILE_N;
        Matrix matrix_a = {a + (long long)z * of.a_next, m, depth, of.a_row, of.a_column};
        Matrix matrix_b = {b + (long long)z * of.b_next, depth, n, of.b_row, of.b_column};
        // At an edge, the other threads only load.
        bool busy = row0 + my_row(thread, 0) < m && column0 + my_column(thread, 0) < n;

        V sum[ROWS_M][VECS];
        UNROLL for (int r = 0; r < ROWS_M; ++r)
            UNROLL for (int v = 0; v < VECS; ++v) sum[r][v] = V::broadcast(0);
        Slabs slabs(matrix_a, matrix_b, row0, column0);
        slabs.fetch(0);
        for (int k0 = 0; k0 < depth; k0 += SLAB) {
            slabs.put(*tile_a, *tile_b, k0);
            __syncthreads();
            slabs.fetch(k0 + SLAB);
            if (busy) slabs.multiply(sum, *tile_a, *tile_b, k0);
            __syncthreads();
        }

        real *out = c + (long long)z * m * n;
        bool aligned = of.c_column == 1 && aligned_rows(out, of.c_row);
        UNROLL_STORES for (int r = 0; r < ROWS_M; ++r) {
            if (row0 + my_row(thread, r) >= m) break;
            UNROLL_STORES for (int v = 0; v < VECS; ++v) {
                int first = column0 + my_column(thread, v), left = n - first;
                real *to = out + (long long)(row0 + my_row(thread, r)) * of.c_row + (long long)first * of.c_column;
                if (aligned && left >= LANES) {
                    sum[r][v].store(to);
                } else {
                    for (int lane = 0; lane < LANES; ++lane)
                        if (lane < left) to[(long long)lane * of.c_column] = sum[r][v].lane[lane];
                }
            }
        }
    }
}
