// A round of power iteration: u = W v / |W v|, then v = W'u / |W'u|. Miyato et al. 2018; ops/spectral_norm.py has the use.
//
// Each of the two is one launch, which reads W once. The last block to finish has the whole vector before it, and divides
// it by its length (last_block.cuh).

#include "last_block.cuh"

constexpr int ROW_THREADS = 32;  // threads that work on a row together

// vector /= its length.
__device__ __forceinline__ void normalise(real *vector, int n) {
    SHARED(double, part, [THREADS]);
    double square = 0;
    for (int i = threadIdx.x; i < n; i += THREADS) square += double(vector[i]) * vector[i];
    part[threadIdx.x] = square;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    }
    __syncthreads();
    real length = sqrt(part[0]) + 1e-12;
    for (int i = threadIdx.x; i < n; i += THREADS) vector[i] /= length;
}

// u = W v / |W v|.
// Threads.  32 threads multiply a row, neighbours next to each other. The blocks take the rows in turn.
extern "C" __global__ void __launch_bounds__(THREADS)
refine_u(const real *w /*[rows*columns]*/, const real *v /*[columns]*/, real *u /*[rows]*/, unsigned *tickets, int rows,
         int columns) {
    REQUIRE(blockDim.x == THREADS);
    SHARED(real, part, [THREADS]);
    constexpr int ABREAST = THREADS / ROW_THREADS;
    int lane = threadIdx.x % ROW_THREADS;
    for (int first = blockIdx.x * ABREAST; first < rows; first += gridDim.x * ABREAST) {
        int row = first + threadIdx.x / ROW_THREADS;
        real sum = 0;
        if (row < rows)
            for (int c = lane; c < columns; c += ROW_THREADS) sum += w[(long long)row * columns + c] * v[c];
        part[threadIdx.x] = sum;
        for (int half = ROW_THREADS / 2; half > 0; half /= 2) {
            __syncthreads();
            if (lane < half) part[threadIdx.x] += part[threadIdx.x + half];
        }
        if (lane == 0 && row < rows) u[row] = part[threadIdx.x];
        __syncthreads();
    }
    if (is_last(tickets, gridDim.x)) normalise(u, rows);
}

// v = W'u / |W'u|. parts: scratch memory of (gridDim.x, columns).
// Threads.  A thread has a column, and adds up `rows_per_part` rows of it.
extern "C" __global__ void __launch_bounds__(THREADS)
refine_v(const real *w /*[rows*columns]*/, const real *u /*[rows]*/, real *parts, real *v /*[columns]*/,
         unsigned *tickets, int rows, int columns, int rows_per_part) {
    REQUIRE(blockDim.x == THREADS && (long long)gridDim.x * rows_per_part >= rows);
    REQUIRE((long long)gridDim.y * THREADS >= columns);
    int column = blockIdx.y * THREADS + threadIdx.x, first = blockIdx.x * rows_per_part;
    if (column < columns) {
        real sum = 0;
        for (int row = first; row < min(first + rows_per_part, rows); ++row)
            sum += u[row] * w[(long long)row * columns + column];
        parts[(long long)blockIdx.x * columns + column] = sum;
    }
    if (!is_last(tickets, gridDim.x * gridDim.y)) return;
    for (int c = threadIdx.x; c < columns; c += THREADS) {
        real sum = 0;
        for (int part = 0; part < gridDim.x; ++part) sum += parts[(long long)part * columns + c];
        v[c] = sum;
    }
    normalise(v, columns);  // each thread has its own columns there too
}
