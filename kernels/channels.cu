// Everything that has one number for each channel: biases, PReLU, batch norm, and the sums down the columns that are
// their gradients. Here an NHWC array is a matrix, with a row for each pixel and a column for each channel. It lies in
// memory row after row.
//
//     bias          y = x + b                          batch norm    z = gamma (x - mean) / sigma + beta
//     PReLU         y = x where x > 0, else a x        gradients     sums over the rows, for each column
//
// Threads.  A block takes a tile: `rows_per_part` rows (blockIdx.x says which) of up to WIDTH columns (blockIdx.y). If
// a row is shorter than WIDTH, the block handles as many rows at once as fit ("abreast"). These lie one after another
// in memory, so a block always reads one run of it. A thread keeps its COLUMNS columns all the way down the tile. So it
// loads the numbers of a channel once, into registers, and needs no division to find its channel. On a GPU these are 4
// columns: 16 bytes of a row, which it loads and stores at once. On a CPU they are a few vector registers.
//
// Sums.  Each thread adds up its columns. Then the block adds up the rows that are abreast, in shared memory, where it
// folds one half onto the other again and again. The sum of a block is a part. The last block to finish its columns adds
// up all parts, in the same way; each block draws a ticket to know whether it is the last. The order of the additions
// depends on the shape of x and on nothing else. So every run gives the same bits, however many threads the machine has.
//
// Memory traffic.  It is all that these kernels cost: each says how often it passes over its arrays.

#include "last_block.cuh"

constexpr int WIDTH = THREADS * COLUMNS;
typedef Vec<COLUMNS> V;

struct Tile {
    int first, last;    // its rows
    int from, columns;  // its channels
    int channels;       // of the whole matrix
    int abreast;        // rows handled at once
};

__device__ __forceinline__ Tile my_tile(int rows, int channels, int rows_per_part) {
    REQUIRE(blockDim.x == THREADS);
    REQUIRE((gridDim.x - 1LL) * rows_per_part < rows && rows <= (long long)gridDim.x * rows_per_part);
    REQUIRE((gridDim.y - 1LL) * WIDTH < channels && channels <= (long long)gridDim.y * WIDTH);
    int first = blockIdx.x * rows_per_part, from = blockIdx.y * WIDTH;
    return {first, min(rows_per_part, rows - first) + first, from, min(WIDTH, channels - from), channels,
            max(1, WIDTH / channels)};
}

// Call body(i, count) for each row of the thread's: its columns there are `count` elements from element i on.
template <class Body>
__device__ __forceinline__ void for_each_row(const Tile &tile, const Body &body) {
    int mine = threadIdx.x * COLUMNS;
    for (long long row = tile.first; row < tile.last; row += tile.abreast) {
        long long i = row * tile.channels + tile.from + mine;
        body(i, int(min((long long)tile.abreast, tile.last - row)) * tile.columns - mine);
    }
}

// Call body(i, j, x[i], ...) for each of the thread's elements in the tile: element i of the matrices x, ..., in the
// thread's column j.
//
// On a GPU, a thread's columns of a row are a vector where `channels` is a multiple of COLUMNS. No index into an array of
// COLUMNS numbers depends on `count` there, so that these arrays are registers. A CPU's compiler makes vectors of the
// plain loops by itself.
template <class Body, class... Arrays>
__device__ __forceinline__ void for_each_element(const Tile &tile, const Body &body, const Arrays *...x) {
    for_each_row(tile, [&](long long i, int count) {
#ifdef CPU
        if (count >= COLUMNS) {  // the usual case, of a length that the compiler knows
            INDEPENDENT for (int j = 0; j < COLUMNS; ++j) body(i + j, j, x[i + j]...);
        } else {
            INDEPENDENT for (int j = 0; j < count; ++j) body(i + j, j, x[i + j]...);
        }
#else
        auto lanes = [&](const auto &...v) {
            UNROLL for (int j = 0; j < COLUMNS; ++j)
                if (j < count) body(i + j, j, v.lane[j]...);
        };
        bool whole = count >= COLUMNS && i % COLUMNS == 0;
        if (count > 0) lanes(V::load_edge(x + i, count, whole)...);
#endif
    });
}

// y[i] = f(j, x[i], ...) for each of the thread's elements.
template <class F, class... Arrays>
__device__ __forceinline__ void map_elements(const Tile &tile, real *y, const F &f, const Arrays *...x) {
    for_each_row(tile, [&](long long i, int count) {
#ifdef CPU
        if (count >= COLUMNS) {
            INDEPENDENT for (int j = 0; j < COLUMNS; ++j) y[i + j] = f(j, x[i + j]...);
        } else {
            INDEPENDENT for (int j = 0; j < count; ++j) y[i + j] = f(j, x[i + j]...);
        }
#else
        auto lanes = [&](const auto &...v) {
            V out;
            UNROLL for (int j = 0; j < COLUMNS; ++j) out.lane[j] = f(j, v.lane[j]...);
            return out;
        };
        bool whole = count >= COLUMNS && i % COLUMNS == 0;
        if (count > 0) lanes(V::load_edge(x + i, count, whole)...).store_edge(y + i, count, whole);
#endif
    });
}

// Fill `numbers` with f(channel) for each of the thread's columns.
template <class Function>
__device__ __forceinline__ void for_my_channels(const Tile &tile, real (&numbers)[COLUMNS], Function f) {
    int c = threadIdx.x * COLUMNS % tile.columns;
    for (int j = 0; j < COLUMNS; ++j) {
        numbers[j] = f(tile.from + c);
        if (++c == tile.columns) c = 0;
    }
}

// total[c] = the sum of column c of the tile, over all threads and all rows abreast.
__device__ __forceinline__ void fold(const Tile &tile, const real (&sum)[COLUMNS], real (&total)[WIDTH]) {
    int mine = threadIdx.x * COLUMNS;
    for (int j = 0; j < COLUMNS; ++j) total[mine + j] = sum[j];
    for (int rows = tile.abreast; rows > 1; rows = (rows + 1) / 2) {
        __syncthreads();
        int below = (rows + 1) / 2 * tile.columns, left = rows / 2 * tile.columns - mine;
        for (int j = 0; j < COLUMNS; ++j)
            if (j < left) total[mine + j] += total[mine + j + below];
    }
    __syncthreads();
}

// Write the tile's totals to its row of an array of (groups, parts, channels).
__device__ __forceinline__ void store_part(const Tile &tile, const real *total, real *parts) {
    real *to = parts + ((long long)blockIdx.z * gridDim.x + blockIdx.x) * tile.channels + tile.from;
    for (int c = threadIdx.x; c < tile.columns; c += THREADS) to[c] = total[c];
}

// The tile of an array of (parts, channels) that has the columns of `tile`.
__device__ __forceinline__ Tile parts_of(const Tile &tile) {
    return {0, int(gridDim.x), tile.from, tile.columns, tile.channels, tile.abreast};
}

// sums = the sum of the parts of all blocks, for the tile's columns.
__device__ __forceinline__ void add_parts(const Tile &tile, const real *parts, real (&total)[WIDTH], real *sums) {
    Tile all = parts_of(tile);
    real sum[COLUMNS] = {};
    for_each_element(all, [&](long long, int j, real part) { sum[j] += part; }, parts);
    fold(all, sum, total);
    for (int c = threadIdx.x; c < tile.columns; c += THREADS) sums[tile.from + c] = total[c];
    __syncthreads();
}

// ---- Sums down the columns ----------------------------------------------------------------------------

// Reads x once. `parts` is scratch memory of (gridDim.x, channels).
extern "C" __global__ void column_sums(const real *x /*[rows*channels]*/, real *parts, real *sums /*[channels]*/,
                                       unsigned *tickets, int rows, int channels, int rows_per_part) {
    SHARED(real, total, [WIDTH]);
    Tile tile = my_tile(rows, channels, rows_per_part);
    real sum[COLUMNS] = {};
    for_each_element(tile, [&](long long, int j, real x) { sum[j] += x; }, x);
    fold(tile, sum, total);
    store_part(tile, total, parts);
    if (is_last(&tickets[blockIdx.y], gridDim.x)) add_parts(tile, parts, total, sums);
}

// The sum of (a - b)^2 over all elements: a matrix of one column. Reads both once.
extern "C" __global__ void squared_error(const real *a /*[rows*channels]*/, const real *b /*[rows*channels]*/,
                                         real *parts, real *sums /*[channels]*/, unsigned *tickets, int rows,
                                         int channels, int rows_per_part) {
    SHARED(real, total, [WIDTH]);
    Tile tile = my_tile(rows, channels, rows_per_part);
    real sum[COLUMNS] = {};
    for_each_element(tile, [&](long long, int j, real a, real b) { sum[j] += (a - b) * (a - b); }, a, b);
    fold(tile, sum, total);
    store_part(tile, total, parts);
    if (is_last(&tickets[blockIdx.y], gridDim.x)) add_parts(tile, parts, total, sums);
}

// ---- A vector for all rows ----------------------------------------------------------------------------

// y = x + b: one pass.
extern "C" __global__ void add_channels(const real *x /*[rows*channels]*/, const real *b /*[channels]*/,
                                        real *y /*[rows*channels]*/, int rows, int channels, int rows_per_part) {
    Tile tile = my_tile(rows, channels, rows_per_part);
    real bias[COLUMNS];
    for_my_channels(tile, bias, [=](int c) { return b[c]; });
    map_elements(tile, y, [&](int j, real x) { return x + bias[j]; }, x);
}

// y = a x: one pass.
extern "C" __global__ void scale_channels(const real *x /*[rows*channels]*/, const real *a /*[channels]*/,
                                          real *y /*[rows*channels]*/, int rows, int channels, int rows_per_part) {
    Tile tile = my_tile(rows, channels, rows_per_part);
    real scale[COLUMNS];
    for_my_channels(tile, scale, [=](int c) { return a[c]; });
    map_elements(tile, y, [&](int j, real x) { return x * scale[j]; }, x);
}

// ---- PReLU --------------------------------------------------------------------------------------------

// y = x where x > 0, else a x: one pass.
extern "C" __global__ void prelu_forward(const real *x /*[rows*channels]*/, const real *a /*[channels]*/,
                                         real *y /*[rows*channels]*/, int rows, int channels, int rows_per_part) {
    Tile tile = my_tile(rows, channels, rows_per_part);
    real negative_slope[COLUMNS];
    for_my_channels(tile, negative_slope, [=](int c) { return a[c]; });
    map_elements(tile, y, [&](int j, real x) { return x > 0 ? x : negative_slope[j] * x; }, x);
}

// dx = g where x > 0, else a g: one pass over two arrays, to a third.
extern "C" __global__ void prelu_backward(const real *g /*[rows*channels]*/, const real *x /*[rows*channels]*/,
                                          const real *a /*[channels]*/, real *dx /*[rows*channels]*/, int rows,
                                          int channels, int rows_per_part) {
    Tile tile = my_tile(rows, channels, rows_per_part);
    real negative_slope[COLUMNS];
    for_my_channels(tile, negative_slope, [=](int c) { return a[c]; });
    map_elements(tile, dx, [&](int j, real g, real x) { return x > 0 ? g : negative_slope[j] * g; }, g, x);
}

// da = the sum of g x where x is not positive: reads both once.
extern "C" __global__ void slope_gradient(const real *g /*[rows*channels]*/, const real *x /*[rows*channels]*/,
                                          real *parts, real *sums /*[channels]*/, unsigned *tickets, int rows,
                                          int channels, int rows_per_part) {
    SHARED(real, total, [WIDTH]);
    Tile tile = my_tile(rows, channels, rows_per_part);
    real sum[COLUMNS] = {};
    for_each_element(tile, [&](long long, int j, real g, real x) { sum[j] += x > 0 ? 0 : g * x; }, g, x);
    fold(tile, sum, total);
    store_part(tile, total, parts);
    if (is_last(&tickets[blockIdx.y], gridDim.x)) add_parts(tile, parts, total, sums);
}

// ---- Batch norm ---------------------------------------------------------------------------------------

// The rows may be of several groups, each with statistics of its own: an array is (groups, rows, channels). Where a group
// begins:
__device__ __forceinline__ long long start_of(int group, int rows, int channels) {
    return (long long)group * rows * channels;
}

// And the block's own, blockIdx.z. On a GPU it must be a multiple of 16 bytes.
__device__ __forceinline__ long long my_start(int groups, int rows, int channels) {
    REQUIRE(gridDim.z == groups);
#ifndef CPU
    REQUIRE(groups == 1 || channels % COLUMNS == 0);
#endif
    return start_of(blockIdx.z, rows, channels);
}

// Mean and variance of each channel. The mean of x^2 minus the square of the mean would cancel: at a mean of 10^4 and a
// variance of 1, float32 has no digit left. So every number is taken relative to one that is near, the first of its
// channel. A part first sums up these differences, and then the squares about its own mean. These are two passes over
// the part, but one over memory: the second pass finds the part in the cache.
//
// The last block merges the means and squares of all parts. Then the running averages follow, if they are not null:
// running <- running + momentum (batch - running), the variance times rows/(rows - 1).
struct Moments {
    real *mean, *var, *running_mean, *running_var, momentum;
};

// Merge the means and squares of the parts `all`. Chan, Golub and LeVeque 1979: a part of n numbers has squares about
// its own mean; its squares about the mean of all numbers are greater by n (its mean - mean of all)^2. Each part has
// rows_per_part rows, the last one may have fewer. Means are relative to `origin`, if it is not null.
__device__ __forceinline__ void merge(const Tile &all, const real *means, const real *squares, const real *origin,
                                      const Moments &to, int rows, int rows_per_part, real (&total)[WIDTH],
                                      real (&total_square)[WIDTH]) {
    long long last_part = (long long)(all.last - 1) * all.channels;
    real usual = rows_per_part, last = rows - (all.last - 1) * rows_per_part;
    real sum[COLUMNS] = {}, middle[COLUMNS], square[COLUMNS] = {};
    auto rows_of = [=](long long i) { return i < last_part ? usual : last; };
    for_each_element(all, [&](long long i, int j, real mean) { sum[j] += rows_of(i) * mean; }, means);
    fold(all, sum, total);
    for_my_channels(all, middle, [&](int c) { return total[c - all.from] / rows; });
    auto add_squares = [&](long long i, int j, real mean, real squares) {
        real off = mean - middle[j];
        square[j] += squares + rows_of(i) * off * off;
    };
    for_each_element(all, add_squares, means, squares);
    fold(all, square, total_square);
    for (int c = threadIdx.x; c < all.columns; c += THREADS) {
        int at = all.from + c;
        to.mean[at] = (origin ? origin[at] : 0) + total[c] / rows;
        to.var[at] = total_square[c] / rows;
        if (!to.running_mean) continue;
        to.running_mean[at] += to.momentum * (to.mean[at] - to.running_mean[at]);
        to.running_var[at] += to.momentum * (total_square[c] / max(rows - 1, 1) - to.running_var[at]);
    }
}

extern "C" __global__ void column_moments(const real *x /*[groups*rows*channels]*/, real *means, real *squares,
                                          real *mean_of_all /*[groups*channels]*/, real *var /*[groups*channels]*/,
                                          real *running_mean /*[channels]*/, real *running_var /*[channels]*/,
                                          real momentum, unsigned *tickets, int groups, int rows, int channels,
                                          int rows_per_part) {
    SHARED(real, total, [WIDTH]);
    SHARED(real, total_square, [WIDTH]);
    Tile tile = my_tile(rows, channels, rows_per_part);
    const real *mine = x + my_start(groups, rows, channels);
    real origin[COLUMNS], sum[COLUMNS] = {}, mean[COLUMNS], square[COLUMNS] = {};
    for_my_channels(tile, origin, [=](int c) { return mine[c]; });
    for_each_element(tile, [&](long long, int j, real x) { sum[j] += x - origin[j]; }, mine);
    fold(tile, sum, total);
    for_my_channels(tile, mean, [&](int c) { return total[c - tile.from] / (tile.last - tile.first); });
    auto add_square = [&](long long, int j, real x) {
        real off = x - origin[j] - mean[j];
        square[j] += off * off;
    };
    for_each_element(tile, add_square, mine);
    fold(tile, square, total_square);
    for (int c = threadIdx.x; c < tile.columns; c += THREADS) total[c] /= tile.last - tile.first;
    store_part(tile, total, means);
    store_part(tile, total_square, squares);
    if (!is_last(&tickets[blockIdx.y], gridDim.x * gridDim.z)) return;
    for (int group = 0; group < groups; ++group) {
        long long part = start_of(group, gridDim.x, channels), at = start_of(group, 1, channels);
        Moments to = {mean_of_all + at, var + at, running_mean, running_var, momentum};
        merge(parts_of(tile), means + part, squares + part, x + start_of(group, rows, channels), to, rows,
              rows_per_part, total, total_square);
        __syncthreads();
    }
}

// Merge the means and squares of parts that another kernel has made (conv_mma.cu).
extern "C" __global__ void merge_moments(const real *means /*[groups*parts*channels]*/,
                                         const real *squares /*[groups*parts*channels]*/,
                                         real *mean /*[groups*channels]*/, real *var /*[groups*channels]*/,
                                         real *running_mean /*[channels]*/, real *running_var /*[channels]*/,
                                         real momentum, int groups, int parts, int channels, int rows,
                                         int rows_per_part) {
    SHARED(real, total, [WIDTH]);
    SHARED(real, total_square, [WIDTH]);
    REQUIRE((parts - 1LL) * rows_per_part < rows && rows <= (long long)parts * rows_per_part);
    for (int group = 0; group < groups; ++group) {
        long long part = start_of(group, parts, channels), at = start_of(group, 1, channels);
        Moments to = {mean + at, var + at, running_mean, running_var, momentum};
        merge(my_tile(parts, channels, parts), means + part, squares + part, nullptr, to, rows, rows_per_part, total,
              total_square);
        __syncthreads();
    }
}

// z = gamma (x - mean) / sigma + beta, sigma^2 = var + eps, and what follows in the same pass:
//
//     y = (z where z > 0, else a z) + residual
//
// a is PReLU's slope of the channel, or the same `leak` everywhere if `slope` is null; a leak of 1 leaves z as it is. The
// derivatives compute z once more from x, which costs less than to store it and to load it.

// The numbers of the thread's columns from which z follows, and a.
struct Normal {
    real middle[COLUMNS], scale[COLUMNS], shift[COLUMNS], negative[COLUMNS];

    __device__ __forceinline__ Normal(const Tile &tile, const real *gamma, const real *beta, const real *mean,
                                      const real *var, real eps, const real *slope, real leak) {
        mean += start_of(blockIdx.z, 1, tile.channels), var += start_of(blockIdx.z, 1, tile.channels);
        for_my_channels(tile, middle, [=](int c) { return mean[c]; });
        for_my_channels(tile, scale, [=](int c) { return gamma[c] / sqrt(var[c] + eps); });
        for_my_channels(tile, shift, [=](int c) { return beta[c]; });
        for_my_channels(tile, negative, [=](int c) { return slope ? slope[c] : leak; });
    }
    __device__ __forceinline__ real z(real x, int j) const { return (x - middle[j]) * scale[j] + shift[j]; }
    // `number` times the activation's derivative at z; of z itself, the activation
    __device__ __forceinline__ real activate(real z, real number, int j) const {
        return z > 0 ? number : negative[j] * number;
    }
};

// One pass over x and the residual, which may be null, to y.
extern "C" __global__ void batch_norm_forward(const real *x /*[groups*rows*channels]*/,
                                              const real *gamma /*[channels]*/, const real *beta /*[channels]*/,
                                              const real *mean /*[groups*channels]*/,
                                              const real *var /*[groups*channels]*/,
                                              const real *slope /*[channels]*/,
                                              const real *residual /*[groups*rows*channels]*/, real eps, real leak,
                                              real *y /*[groups*rows*channels]*/, int groups, int rows, int channels,
                                              int rows_per_part) {
    Tile tile = my_tile(rows, channels, rows_per_part);
    Normal normal(tile, gamma, beta, mean, var, eps, slope, leak);
    long long start = my_start(groups, rows, channels);
    auto out = [&](int j, real x) {
        real z = normal.z(x, j);
        return normal.activate(z, z, j);
    };
    auto out_and_residual = [&](int j, real x, real residual) { return out(j, x) + residual; };
    if (residual) map_elements(tile, y + start, out_and_residual, x + start, residual + start);
    else map_elements(tile, y + start, out, x + start);
}

// With h = g times the activation's derivative: dbeta = the sum of h, dgamma = the sum of h (x - mean) / sigma, and, if
// `slope` is not null, dslope = the sum of g z where z is not positive. Reads g and x once. The sums are those of each
// group and, if there are more than one, after them those of all.
extern "C" __global__ void batch_norm_sums(const real *g /*[groups*rows*channels]*/,
                                           const real *x /*[groups*rows*channels]*/,
                                           const real *gamma /*[channels]*/, const real *beta /*[channels]*/,
                                           const real *mean /*[groups*channels]*/,
                                           const real *var /*[groups*channels]*/, const real *slope /*[channels]*/,
                                           real eps, real leak, real *parts_gamma, real *parts_beta,
                                           real *parts_slope, real *dgamma /*[sums*channels]*/,
                                           real *dbeta /*[sums*channels]*/, real *dslope /*[sums*channels]*/,
                                           unsigned *tickets, int sums, int groups, int rows, int channels,
                                           int rows_per_part) {
    REQUIRE(sums == (groups == 1 ? 1 : groups + 1));
    SHARED(real, total_gamma, [WIDTH]);
    SHARED(real, total_beta, [WIDTH]);
    SHARED(real, total_slope, [WIDTH]);
    Tile tile = my_tile(rows, channels, rows_per_part);
    Normal normal(tile, gamma, beta, mean, var, eps, slope, leak);
    long long start = my_start(groups, rows, channels), mine = start_of(blockIdx.z, 1, channels);
    real inverse[COLUMNS], sum_gamma[COLUMNS] = {}, sum_beta[COLUMNS] = {}, sum_slope[COLUMNS] = {};
    for_my_channels(tile, inverse, [=](int c) { return 1 / sqrt(var[mine + c] + eps); });
    auto add = [&](long long, int j, real g, real x) {
        real z = normal.z(x, j), h = normal.activate(z, g, j);
        sum_gamma[j] += h * (x - normal.middle[j]);
        sum_beta[j] += h;
        return z;
    };
    auto add_all = [&](long long i, int j, real g, real x) {
        real z = add(i, j, g, x);
        sum_slope[j] += z > 0 ? 0 : g * z;
    };
    if (slope) for_each_element(tile, add_all, g + start, x + start);
    else for_each_element(tile, add, g + start, x + start);
    for (int j = 0; j < COLUMNS; ++j) sum_gamma[j] *= inverse[j];
    fold(tile, sum_gamma, total_gamma);
    fold(tile, sum_beta, total_beta);
    store_part(tile, total_gamma, parts_gamma);
    store_part(tile, total_beta, parts_beta);
    if (slope) {
        fold(tile, sum_slope, total_slope);
        store_part(tile, total_slope, parts_slope);
    }
    if (!is_last(&tickets[blockIdx.y], gridDim.x * gridDim.z)) return;
    for (int group = 0; group < groups; ++group) {
        long long part = start_of(group, gridDim.x, channels), at = start_of(group, 1, channels);
        add_parts(tile, parts_gamma + part, total_gamma, dgamma + at);
        add_parts(tile, parts_beta + part, total_beta, dbeta + at);
        if (slope) add_parts(tile, parts_slope + part, total_slope, dslope + at);
    }
    if (groups == 1) return;
    auto add_groups = [&](real *of) {
        for (int c = tile.from + threadIdx.x; c < tile.from + tile.columns; c += THREADS) {
            real sum = 0;
            for (int group = 0; group < groups; ++group) sum += of[start_of(group, 1, channels) + c];
            of[start_of(groups, 1, channels) + c] = sum;
        }
    };
    add_groups(dgamma);
    add_groups(dbeta);
    if (slope) add_groups(dslope);
}

// dx = gamma / sigma (h - dbeta / rows - (x - mean) / sigma dgamma / rows): one pass over two arrays, to a third.
extern "C" __global__ void batch_norm_backward(const real *g /*[groups*rows*channels]*/,
                                               const real *x /*[groups*rows*channels]*/,
                                               const real *gamma /*[channels]*/, const real *beta /*[channels]*/,
                                               const real *mean /*[groups*channels]*/,
                                               const real *var /*[groups*channels]*/,
                                               const real *slope /*[channels]*/,
                                               const real *dgamma /*[sums*channels]*/,
                                               const real *dbeta /*[sums*channels]*/, real eps, real leak,
                                               real *dx /*[groups*rows*channels]*/, int sums, int groups, int rows,
                                               int channels, int rows_per_part) {
    REQUIRE(groups <= sums);
    Tile tile = my_tile(rows, channels, rows_per_part);
    Normal normal(tile, gamma, beta, mean, var, eps, slope, leak);
    long long start = my_start(groups, rows, channels), mine = start_of(blockIdx.z, 1, channels);
    real tilt[COLUMNS], mean_h[COLUMNS];
    for_my_channels(tile, tilt, [=](int c) { return dgamma[mine + c] / rows / sqrt(var[mine + c] + eps); });
    for_my_channels(tile, mean_h, [=](int c) { return dbeta[mine + c] / rows; });
    auto gradient = [&](int j, real g, real x) {
        real h = normal.activate(normal.z(x, j), g, j);
        return normal.scale[j] * (h - mean_h[j] - (x - normal.middle[j]) * tilt[j]);
    };
    map_elements(tile, dx + start, gradient, g + start, x + start);
}
