// Convolution on tensor cores, in the three directions of its trilinear form (minisrgan/ops/conv.py). It needs channels
// that are multiples of 4. conv.cu has the same products without tensor cores, and the idea of an implicit GEMM.
//
//     conv2d_mma         Y = A W         a row of A is the window of an output pixel, K = kh kw Cin deep
//     input_grad_mma     dX = A W'       a row of A is the window of a pixel of x in the cotangent, K = kh' kw' Cout
//     weight_grad_mma    dW = A^T G      in parts, each the sum over some pixels
//
// Precision.  PRECISION=1: factors are rounded to TF32, 10 bits after the point. PRECISION=3: a factor is the sum of
// two TF32 numbers, high and low, and a product is high high + high low + low high: nearly as exact as float32, at
// three times the work. PRECISION=16: factors are rounded to bf16, 7 bits. Sums are float32 in all three. Tensor cores
// round them towards zero. This is less than what TF32 and bf16 lose, but with PRECISION=3 it would be the largest error,
// so there each step of 8 has sums of its own, which are added outside of the tensor cores.
//
// Tiles.  A block of 4 warps makes TILE_M x TILE_N outputs. A warp makes ROWS x COLUMNS of them, as M_STEPS x N_STEPS
// small matrices of 16 x 8, whose sums stay in its registers.
//
// Stages.  The block goes along K in slabs of SLAB numbers. Shared memory has STAGES slabs of both factors. While one
// is multiplied, the copies of the next ones are under way (cp.async). Each slab costs one barrier: after it, the slab
// has arrived for all threads, and all are done with the slab before, into whose place the next copies go.
//
// Shared memory.  A factor that lies along K in global memory is kept as rows of SLAB numbers, and ldmatrix reads it. A
// row's pieces of 16 bytes are exchanged by its number (`swizzled`), or 8 rows would meet in the same banks. The other
// factors are kept as they lie, a row for each k. There the rows are 8 numbers longer than the tile, so that the 4 x 8
// numbers that a warp reads at a time lie in 32 different banks. tests/device/test_bank_conflicts.py works this out.
//
// Indices.  The four numbers that a thread copies at a time belong to one tap, since channels are multiples of 4. A
// thread knows their channel and tap, and moves on by SLAB with each slab. So no slab after the first one costs a
// division.
//
// Split K.  A layer with few pixels has fewer tiles than a GPU has multiprocessors. Then K is cut into parts. Each block
// stores the sums of its part, and the last block of a tile adds them up in order and goes on with the tile. A weight
// gradient has many more parts, and sum_parts of elementwise.cu adds those up.
//
// Memory traffic.  As conv.cu's: x is read kh kw / stride^2 times for each column of tiles, mostly from the cache.
//
// Variants: PRECISION=1 TILE_N=32; PRECISION=1 TILE_N=64; PRECISION=1 TILE_N=128; PRECISION=3 TILE_N=32; PRECISION=3 TILE_N=64; PRECISION=16 TILE_N=32; PRECISION=16 TILE_N=64; PRECISION=16 TILE_N=128

#include "convolution.cuh"
#include "last_block.cuh"
#include "mma.cuh"

// Before a loop over registers (common.cuh, UNROLL). An emulated GPU has none, and the compiler would take long.
#ifdef __CUDACC__
#define IN_REGISTERS UNROLL
#else
#define IN_REGISTERS
#endif

static_assert(sizeof(real) == 4, "tensor cores sum in float32: conv.cu is for float64");
constexpr int WARPS_N = TILE_N == 32 ? 1 : 2, WARPS_M = THREADS / 32 / WARPS_N;
constexpr int ROWS = TILE_M / WARPS_M, COLUMNS = TILE_N / WARPS_N, M_STEPS = ROWS / 16, N_STEPS = COLUMNS / 8;
constexpr int CHUNK = 4, CHUNKS = SLAB / CHUNK;  // a chunk is 16 bytes, what copy_async copies
constexpr int PAD = 8, PITCH_M = TILE_M + PAD, PITCH_N = TILE_N + PAD;
constexpr int COPIES_M = TILE_M * CHUNKS / THREADS, COPIES_N = TILE_N * CHUNKS / THREADS;  // of a thread, for a slab
static_assert(SLAB == 16 && THREADS == 128, "swizzled, and how threads share the copies, are made for these");

// ---- Shared memory -------------------------------------------------------------------------------------

// Where chunk number `chunk` of a row lies, if rows are SLAB numbers long. Rows 2i and 2i + 1 fill all 32 banks. The
// chunks of the next two rows are exchanged, so that one chunk of 8 rows fills all banks too.
__device__ __forceinline__ int swizzled(int row, int chunk) { return row * SLAB + (chunk ^ (row >> 1 & 3)) * CHUNK; }

// Numbers of the two factors' slabs in one stage. A factor is kept BY_ROWS, or as it lies: a row for each k.
template <bool BY_ROWS, int TILE>
constexpr int slab_size = BY_ROWS ? TILE * SLAB : SLAB * (TILE + PAD);

// Numbers k8 to k8 + 8 of 16 rows of A, from `row` on, as a fragment.
template <bool BY_ROWS>
__device__ __forceinline__ void load_a(Fragment &to, const float *tile, int row, int k8) {
    int lane = threadIdx.x % 32;
    if (BY_ROWS) {
        load_rows_of_four(to, tile + swizzled(row + lane % 16, k8 / CHUNK + lane / 16));
    } else {
        IN_REGISTERS for (int e = 0; e < 4; ++e)
            to[e] = bits_of(tile[(k8 + lane % 4 + e / 2 * 4) * PITCH_M + row + lane / 4 + e % 2 * 8]);
    }
}

// Numbers k8 to k8 + 8 of 16 columns of B, from `column` on: two fragments of B, one after the other.
template <bool BY_ROWS>
__device__ __forceinline__ void load_b(Fragment &to, const float *tile, int column, int k8) {
    int lane = threadIdx.x % 32;
    if (BY_ROWS) {
        load_rows_of_four(to, tile + swizzled(column + lane / 16 * 8 + lane % 8, k8 / CHUNK + lane / 8 % 2));
    } else {
        IN_REGISTERS for (int e = 0; e < 4; ++e)
            to[e] = bits_of(tile[(k8 + lane % 4 + e % 2 * 4) * PITCH_N + column + lane / 4 + e / 2 * 8]);
    }
}

// ---- Products ------------------------------------------------------------------------------------------

// A warp's sums: M_STEPS x N_STEPS matrices of 16 x 8, of which a lane has four numbers each.
struct Sums {
    float of[M_STEPS][N_STEPS][4];

    __device__ __forceinline__ void clear() {
        IN_REGISTERS for (int m = 0; m < M_STEPS; ++m)
            IN_REGISTERS for (int n = 0; n < N_STEPS; ++n)
                IN_REGISTERS for (int e = 0; e < 4; ++e) of[m][n][e] = 0;
    }

    // Add the product of a slab of A, from the warp's row on, and a slab of B, from the warp's column on.
    template <bool A_BY_ROWS, bool B_BY_ROWS>
    __device__ __forceinline__ void add(const float *a, const float *b, int row, int column) {
        if constexpr (PRECISION == 16) {
            // One product is 16 deep. Its numbers k may come in any order, if it is the same one in A and in B. So a
            // pair is what a lane has of TF32's fragments anyway: numbers k and k + 4.
            Fragment left[M_STEPS];
            IN_REGISTERS for (int m = 0; m < M_STEPS; ++m) {
                Fragment low, high;
                load_a<A_BY_ROWS>(low, a, row + 16 * m, 0);
                load_a<A_BY_ROWS>(high, a, row + 16 * m, 8);
                IN_REGISTERS for (int e = 0; e < 2; ++e) {
                    left[m][e] = as_bf16_pair(float_of(low[e]), float_of(low[e + 2]));
                    left[m][e + 2] = as_bf16_pair(float_of(high[e]), float_of(high[e + 2]));
                }
            }
            IN_REGISTERS for (int n = 0; n < N_STEPS; n += 2) {
                Fragment low, high, right;
                load_b<B_BY_ROWS>(low, b, column + 8 * n, 0);
                load_b<B_BY_ROWS>(high, b, column + 8 * n, 8);
                IN_REGISTERS for (int e = 0; e < 4; e += 2) {
                    right[e] = as_bf16_pair(float_of(low[e]), float_of(low[e + 1]));
                    right[e + 1] = as_bf16_pair(float_of(high[e]), float_of(high[e + 1]));
                }
                IN_REGISTERS for (int m = 0; m < M_STEPS; ++m)
                    IN_REGISTERS for (int i = 0; i < 2; ++i) multiply_bf16(of[m][n + i], left[m], right + 2 * i);
            }
        } else {
            IN_REGISTERS for (int k8 = 0; k8 < SLAB; k8 += 8) {
                Fragment left[M_STEPS], left_low[M_STEPS];
                IN_REGISTERS for (int m = 0; m < M_STEPS; ++m) {
                    load_a<A_BY_ROWS>(left[m], a, row + 16 * m, k8);
                    split(left[m], left_low[m]);
                }
                IN_REGISTERS for (int n = 0; n < N_STEPS; n += 2) {
                    Fragment right, right_low;
                    load_b<B_BY_ROWS>(right, b, column + 8 * n, k8);
                    split(right, right_low);
                    IN_REGISTERS for (int m = 0; m < M_STEPS; ++m)
                        IN_REGISTERS for (int i = 0; i < 2; ++i) {
                            if (PRECISION != 3) {
                                multiply_tf32(of[m][n + i], left[m], right + 2 * i);
                                continue;
                            }
                            // The small products first.
                            float sums[4] = {};
                            multiply_tf32(sums, left_low[m], right + 2 * i);
                            multiply_tf32(sums, left[m], right_low + 2 * i);
                            multiply_tf32(sums, left[m], right + 2 * i);
                            IN_REGISTERS for (int e = 0; e < 4; ++e) of[m][n + i][e] += sums[e];
                        }
                }
            }
        }
    }

    // Round the factors to TF32, and keep in `low` what that leaves of them.
    static __device__ __forceinline__ void split(Fragment &factor, Fragment &low) {
        IN_REGISTERS for (int e = 0; e < 4; ++e) {
            float whole = float_of(factor[e]);
            factor[e] = as_tf32(whole);
            if (PRECISION == 3) low[e] = as_tf32(whole - float_of(factor[e]));
        }
    }

    // Store a thread's sums with those of the other threads, in an order that suits memory.
    __device__ __forceinline__ void store(float *to) const {
        IN_REGISTERS for (int m = 0; m < M_STEPS; ++m)
            IN_REGISTERS for (int n = 0; n < N_STEPS; ++n) {
                Vec<4> four = Vec<4>::broadcast(0);
                IN_REGISTERS for (int e = 0; e < 4; ++e) four.lane[e] = of[m][n][e];
                four.store(to + ((m * N_STEPS + n) * THREADS + threadIdx.x) * 4);
            }
    }

    // The sums of all parts, in order, from where `store` has put them.
    __device__ __forceinline__ void add_parts(const float *parts, int n_parts) {
        clear();
        for (int part = 0; part < n_parts; ++part, parts += TILE_M * TILE_N)
            IN_REGISTERS for (int m = 0; m < M_STEPS; ++m)
                IN_REGISTERS for (int n = 0; n < N_STEPS; ++n) {
                    Vec<4> four = Vec<4>::load(parts + ((m * N_STEPS + n) * THREADS + threadIdx.x) * 4);
                    IN_REGISTERS for (int e = 0; e < 4; ++e) of[m][n][e] += four.lane[e];
                }
    }

    // scratch[w][c] = the sum of value_of(c)(number) over the rows of column c of the tile that the warps of row w have,
    // and that are above the first `rows` of it. The caller waits.
    template <class ValueOf>
    __device__ __forceinline__ void add_rows(float *scratch, int row, int column, int rows, ValueOf value_of) const {
        int lane = threadIdx.x % 32;
        IN_REGISTERS for (int n = 0; n < N_STEPS; ++n)
            IN_REGISTERS for (int e = 0; e < 2; ++e) {
                int c = column + 8 * n + lane % 4 * 2 + e;
                auto value = value_of(c);
                float total = 0;
                IN_REGISTERS for (int r = 0; r < 2 * M_STEPS; ++r)
                    if (row + 8 * r + lane / 4 < rows) total += value(of[r / 2][n][r % 2 * 2 + e]);
                IN_REGISTERS for (int bits = 4; bits < 32; bits *= 2) total += __shfl_xor_sync(0xffffffff, total, bits);
                if (lane < 4) scratch[row / ROWS * TILE_N + c] = total;
            }
    }

    // Call of_column(column)(at, two sums) for each two neighbours that this lane has, in rows and columns of the tile.
    // at is what where(row) says of the row. It is worked out once for all columns, for AT_ONCE rows at a time: more
    // need more registers.
    template <class At, int AT_ONCE = 2 * M_STEPS, class Where, class OfColumn>
    __device__ __forceinline__ void for_each_pair(int row, int column, Where where, OfColumn of_column) const {
        int lane = threadIdx.x % 32;
        IN_REGISTERS for (int first = 0; first < 2 * M_STEPS; first += AT_ONCE) {
            At at[AT_ONCE];
            IN_REGISTERS for (int r = 0; r < AT_ONCE; ++r) at[r] = where(row + 8 * (first + r) + lane / 4);
            IN_REGISTERS for (int n = 0; n < N_STEPS; ++n) {
                auto store = of_column(column + 8 * n + lane % 4 * 2);
                IN_REGISTERS for (int r = 0; r < AT_ONCE; ++r) {
                    Vec<2> pair = Vec<2>::broadcast(0);
                    IN_REGISTERS for (int e = 0; e < 2; ++e)
                        pair.lane[e] = of[(first + r) / 2][n][(first + r) % 2 * 2 + e];
                    store(at[r], pair);
                }
            }
        }
    }
};

// sums = the product of `slabs` slabs. load(a, b) begins to copy the next slab of both factors, and is called once for
// each. look(b) is called for each slab of B that is there. row and column: where the warp's part of the tile begins.
template <bool A_BY_ROWS, bool B_BY_ROWS, class Load, class Look>
__device__ __forceinline__ void multiply(Sums &sums, float *shared, int slabs, int row, int column, Load load,
                                         Look look) {
    constexpr int SIZE_A = slab_size<A_BY_ROWS, TILE_M>, SIZE_B = slab_size<B_BY_ROWS, TILE_N>;
    auto stage = [=](int slab) { return shared + slab % STAGES * (SIZE_A + SIZE_B); };
    sums.clear();
    for (int slab = 0; slab < STAGES - 1; ++slab) {
        if (slab < slabs) load(stage(slab), stage(slab) + SIZE_A);
        copy_async_commit();  // a group for each slab, empty if there is none
    }
    for (int slab = 0; slab < slabs; ++slab) {
        copy_async_wait<STAGES - 2>();
        __syncthreads();
        int next = slab + STAGES - 1;
        if (next < slabs) load(stage(next), stage(next) + SIZE_A);
        copy_async_commit();
        look(stage(slab) + SIZE_A);
        sums.add<A_BY_ROWS, B_BY_ROWS>(stage(slab), stage(slab) + SIZE_A, row, column);
    }
}

// ---- The convolution and its input gradient ------------------------------------------------------------

// The convolution that a block computes: of an image of height x width x channels, with kh x kw taps.
struct Inner {
    int height, width, channels, kh, kw, stride_y, stride_x, pad_y, pad_x, out_h, out_w;
};

// A place in the depth of A: a channel of a tap.
struct Place {
    int c, j, i;
};

__device__ __forceinline__ Place place_of(const Inner &inner, int k) {
    int tap = k / inner.channels, kw = max(inner.kw, 1);  // 0: a pixel of x that meets no tap
    return {k - tap * inner.channels, tap % kw, tap / kw};
}

__device__ __forceinline__ void move_on(const Inner &inner, Place &place) {
    for (place.c += SLAB; place.c >= inner.channels && place.i < inner.kh; place.c -= inner.channels)
        if (++place.j == inner.kw) place.j = 0, ++place.i;
}

// Slabs first_slab to first_slab + slabs of rows m0 and on of A, times B. load_b_slab(to, place) copies B's slab; place
// is that of the thread's chunk in A.
template <bool B_BY_ROWS, class LoadB>
__device__ __forceinline__ void convolve(Sums &sums, float *shared, const float *x, const Inner &inner, int m0,
                                         int pixels, int first_slab, int slabs, int row, int column,
                                         LoadB load_b_slab) {
    int thread = threadIdx.x, chunk = thread % CHUNKS;
    int top[COPIES_M], left[COPIES_M], address[COPIES_M];  // of the windows of the rows that this thread copies
    IN_REGISTERS for (int l = 0; l < COPIES_M; ++l) {
        int m = m0 + thread / CHUNKS + l * (THREADS / CHUNKS), image = m / inner.out_w / inner.out_h;
        top[l] = m < pixels ? m / inner.out_w % inner.out_h * inner.stride_y - inner.pad_y : -0x40000000;
        left[l] = m % inner.out_w * inner.stride_x - inner.pad_x;
        address[l] = m < pixels ? ((image * inner.height + top[l]) * inner.width + left[l]) * inner.channels : 0;
    }
    Place place = place_of(inner, first_slab * SLAB + chunk * CHUNK);
    auto load = [&](float *a, float *b) {
        int offset = (place.i * inner.width + place.j) * inner.channels + place.c;
        IN_REGISTERS for (int l = 0; l < COPIES_M; ++l) {
            bool in = unsigned(top[l] + place.i) < unsigned(inner.height) && place.i < inner.kh &&
                      unsigned(left[l] + place.j) < unsigned(inner.width);
            int to = swizzled(thread / CHUNKS + l * (THREADS / CHUNKS), chunk);
            copy_async(a + to, in ? x + (address[l] + offset) : x, in);
        }
        load_b_slab(b, place);
        move_on(inner, place);
    };
    multiply<true, B_BY_ROWS>(sums, shared, slabs, row, column, load, [](const float *) {});
}

// Which tile and which part of the depth are this block's.
struct Work {
    int tile, m0, n0, part, n_parts, first_slab, slabs;
};

__device__ __forceinline__ Work my_work(int columns, int depth, int tiles, int n_parts) {
    REQUIRE(gridDim.x == unsigned(tiles * n_parts));
    int tile = blockIdx.x % tiles, part = blockIdx.x / tiles;
    int tiles_n = (columns + TILE_N - 1) / TILE_N, slabs = (depth + SLAB - 1) / SLAB;
    int part_slabs = (slabs + n_parts - 1) / n_parts, first = min(part * part_slabs, slabs);
    return {tile + int(blockIdx.y) * tiles,   tile / tiles_n * TILE_M, tile % tiles_n * TILE_N, part, n_parts, first,
            min(part_slabs, slabs - first)};
}

// Of a tile with several parts, whether this block is to go on: it is the last one, and has the sums of all parts now.
__device__ __forceinline__ bool has_all(Sums &sums, const Work &work, float *parts, unsigned *tickets) {
    if (work.n_parts == 1) return true;
    float *of_tile = parts + (long long)work.tile * work.n_parts * TILE_M * TILE_N;
    sums.store(of_tile + work.part * TILE_M * TILE_N);
    if (!is_last(tickets + work.tile, work.n_parts)) return false;
    sums.add_parts(of_tile, work.n_parts);
    return true;
}

// Of an output: the number of its line in all images, -1 for none; and its column.
struct Pixel {
    int line, column;
};

// The mean of each column of the tile, of its first `rows` rows, and the sum of the squares about this mean: for batch
// norm, which need not read Y for them. They go to a row of `means` and `squares` for each row of tiles; merge_moments
// of channels.cu merges the rows.
__device__ __forceinline__ void store_moments(const Sums &sums, float *shared, int row, int column, const Work &work,
                                              int pixels, const real *bias, real *means, real *squares,
                                              const Geometry &g) {
    int rows = min(TILE_M, pixels - work.m0);
    float *first = shared, *second = shared + WARPS_M * TILE_N;  // what the slabs no longer need
    auto total = [](const float *scratch, int c) {
        float sum = 0;
        for (int w = 0; w < WARPS_M; ++w) sum += scratch[w * TILE_N + c];
        return sum;
    };
    __syncthreads();
    sums.add_rows(first, row, column, rows, [](int) { return [](float number) { return number; }; });
    __syncthreads();
    sums.add_rows(second, row, column, rows, [&](int c) {
        float mean = total(first, c) / rows;
        return [=](float number) { return (number - mean) * (number - mean); };
    });
    __syncthreads();
    int c = threadIdx.x, o = work.n0 + c;
    if (c >= TILE_N || o >= g.cout) return;
    long long at = (long long)(work.m0 / TILE_M) * g.cout + o;
    means[at] = total(first, c) / rows + (bias ? bias[o] : 0);
    squares[at] = total(second, c);
}

// Y = A W, through the epilogue (convolution.cuh). parts and tickets are for several parts (last_block.cuh). means and
// squares may be null (store_moments); else Y is the sums and the bias.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
conv2d_mma(const real *x /*[n*height*width*cin]*/, const real *w /*[kh*kw*cin*cout]*/, const real *bias /*[cout]*/,
           const real *negative_slope /*[cout/shuffle/shuffle]*/, const real *residual /*[n*out_h*out_w*cout]*/,
           real *y /*[n*out_h*out_w*cout]*/, real *means, real *squares, real *parts /*[tiles*n_parts*TILE_M*TILE_N]*/,
           unsigned *tickets, const __grid_constant__ Geometry g, int shuffle, int tiles, int n_parts) {
    REQUIRE(blockDim.x == THREADS && g.cin % CHUNK == 0 && g.cout % CHUNK == 0);
    SHARED_DYNAMIC(float, shared);
    int thread = threadIdx.x, warp = thread / 32, row = warp / WARPS_N * ROWS, column = warp % WARPS_N * COLUMNS;
    int pixels = pixels_of(g), depth = depth_of(g);
    REQUIRE(tiles == (pixels + TILE_M - 1) / TILE_M * ((g.cout + TILE_N - 1) / TILE_N));
    Work work = my_work(g.cout, depth, tiles, n_parts);
    Inner inner = {g.height, g.width, g.cin, g.kh, g.kw, g.stride_y, g.stride_x, g.pad_y, g.pad_x, g.out_h, g.out_w};

    int at_n = thread % (TILE_N / CHUNK) * CHUNK, at_k = thread / (TILE_N / CHUNK), n = work.n0 + at_n;
    int k = work.first_slab * SLAB + at_k;
    Sums sums;
    convolve<false>(sums, shared, x, inner, work.m0, pixels, work.first_slab, work.slabs, row, column,
                    [&](float *b, const Place &) {
                        IN_REGISTERS for (int l = 0; l < COPIES_N; ++l) {
                            int down = l * (SLAB / COPIES_N);
                            bool in = k + down < depth && n < g.cout;
                            copy_async(b + (at_k + down) * PITCH_N + at_n,
                                       in ? w + ((long long)(k + down) * g.cout + n) : w, in);
                        }
                        k += SLAB;
                    });

    if (!has_all(sums, work, parts, tickets)) return;
    Epilogue epilogue = {y, bias, negative_slope, residual, g.out_h, g.out_w, g.cout, shuffle};
    REQUIRE(shuffle == 1 || epilogue.whole_pixels(2));
    REQUIRE(!means || (shuffle == 1 && !negative_slope && !residual));
    if (means) store_moments(sums, shared, row, column, work, pixels, bias, means, squares, g);
    sums.for_each_pair<Pixel>(
        work.m0 + row, work.n0 + column,
        [&](int m) { return m < pixels ? Pixel{m / g.out_w, m % g.out_w} : Pixel{-1, 0}; },
        [&](int o) {
            EpilogueChannels<2, true> channels(epilogue, min(o, g.cout - 2));
            return [&, channels, o](const Pixel &at, const Vec<2> &pair) {
                if (at.line >= 0 && o < g.cout) channels.store(epilogue, pair, 0, at.line, at.column);
            };
        });
}

// The pixels of x whose place, with the padding, has the remainder `a` by the stride, on one axis: they meet only the
// taps a, a + stride, ... They are a convolution of the cotangent, with these taps turned around (see
// minisrgan/device/conv.py).
struct Remainder {
    int taps, first, size, pad;
};

__device__ __forceinline__ Remainder remainder_of(int a, int kernel, int stride, int padding, int size) {
    int taps = a < kernel ? (kernel - a + stride - 1) / stride : 0;
    int first = (a - padding % stride + stride) % stride;
    return {taps, first, first < size ? (size - first + stride - 1) / stride : 0,
            taps - 1 - (first + padding - a) / stride};
}

// dX: blockIdx.y is a remainder of the pixels of x by the strides, (a, b) = (y / stride_x, y % stride_x). `tiles` is the
// most that a remainder has. parts and tickets are for several parts.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
input_grad_mma(const real *cotangent /*[n*out_h*out_w*cout]*/, const real *w /*[kh*kw*cin*cout]*/,
               real *dx /*[n*height*width*cin]*/, real *parts /*[stride_y*stride_x*tiles*n_parts*TILE_M*TILE_N]*/,
               unsigned *tickets, const __grid_constant__ Geometry g, int tiles, int n_parts) {
    REQUIRE(blockDim.x == THREADS && g.cin % CHUNK == 0 && g.cout % CHUNK == 0);
    REQUIRE(gridDim.y == unsigned(g.stride_y * g.stride_x));
    SHARED_DYNAMIC(float, shared);
    int thread = threadIdx.x, warp = thread / 32, row = warp / WARPS_N * ROWS, column = warp % WARPS_N * COLUMNS;
    int a = blockIdx.y / g.stride_x, b = blockIdx.y % g.stride_x;
    Remainder down = remainder_of(a, g.kh, g.stride_y, g.pad_y, g.height);
    Remainder across = remainder_of(b, g.kw, g.stride_x, g.pad_x, g.width);
    int pixels = g.n * down.size * across.size, depth = down.taps * across.taps * g.cout;
    Work work = my_work(g.cin, depth, tiles, n_parts);
    REQUIRE(tiles >= (pixels + TILE_M - 1) / TILE_M * ((g.cin + TILE_N - 1) / TILE_N));
    if (work.m0 >= pixels) return;  // another remainder has more tiles
    int last_i = a + g.stride_y * (down.taps - 1), last_j = b + g.stride_x * (across.taps - 1);  // taps are turned around
    Inner inner = {g.out_h, g.out_w, g.cout, down.taps, across.taps, 1, 1, down.pad, across.pad, down.size,
                   across.size};

    Sums sums;
    convolve<true>(sums, shared, cotangent, inner, work.m0, pixels, work.first_slab, work.slabs, row, column,
                   [&](float *to, const Place &place) {
                       int tap = (last_i - g.stride_y * place.i) * g.kw + last_j - g.stride_x * place.j;
                       const real *from = w + (tap * g.cin * g.cout + place.c);
                       IN_REGISTERS for (int l = 0; l < COPIES_N; ++l) {
                           int at = thread / CHUNKS + l * (THREADS / CHUNKS), c = work.n0 + at;
                           bool in = place.i < inner.kh && c < g.cin;
                           copy_async(to + swizzled(at, thread % CHUNKS), in ? from + c * g.cout : w, in);
                       }
                   });

    if (!has_all(sums, work, parts, tickets)) return;
    sums.for_each_pair<int, 2>(
        work.m0 + row, work.n0 + column,
        [&](int m) {
            int image = m / across.size / down.size, p = m / across.size % down.size, q = m % across.size;
            int line = image * g.height + p * g.stride_y + down.first;
            return m < pixels ? line * g.width + q * g.stride_x + across.first : -1;
        },
        [&](int c) {
            return [&, c](int pixel, const Vec<2> &pair) {
                if (pixel >= 0 && c < g.cin) pair.store(dx + (long long)pixel * g.cin + c);
            };
        });
}

// ---- The weight gradient -------------------------------------------------------------------------------

// dW = A^T G. Row k of dW is a tap and input channel. Each part is the sum over `part_pixels` pixels, a multiple of
// SLAB. One more row of it is the sum of G over these pixels: the gradient of the bias, for which G need not be read
// again.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
weight_grad_mma(const real *x /*[n*height*width*cin]*/, const real *cotangent /*[n*out_h*out_w*cout]*/,
                real *parts /*[n_parts*(kh*kw*cin+1)*cout]*/, const __grid_constant__ Geometry g, int part_pixels,
                int n_parts) {
    REQUIRE(blockDim.x == THREADS && g.cin % CHUNK == 0 && g.cout % CHUNK == 0 && part_pixels % SLAB == 0);
    SHARED_DYNAMIC(float, shared);
    int thread = threadIdx.x, warp = thread / 32, row = warp / WARPS_N * ROWS, column = warp % WARPS_N * COLUMNS;
    int pixels = pixels_of(g), depth = depth_of(g);
    int tiles_n = (g.cout + TILE_N - 1) / TILE_N, tiles_k = (depth + TILE_M - 1) / TILE_M;
    REQUIRE(gridDim.x == unsigned(tiles_k * tiles_n * n_parts) && (long long)n_parts * part_pixels >= pixels);
    int part = blockIdx.x / (tiles_k * tiles_n), tile = blockIdx.x % (tiles_k * tiles_n);
    int k0 = tile / tiles_n * TILE_M, n0 = tile % tiles_n * TILE_N;
    int start = part * part_pixels, stop = min(start + part_pixels, pixels), slabs = (stop - start + SLAB - 1) / SLAB;

    // A thread always copies the same four columns of A, one tap's, of pixels that are SLAB apart.
    Inner inner = {g.height, g.width, g.cin, g.kh, g.kw, g.stride_y, g.stride_x, g.pad_y, g.pad_x, g.out_h, g.out_w};
    int at_k = thread % (TILE_M / CHUNK) * CHUNK, at_m = thread / (TILE_M / CHUNK);
    Place place = place_of(inner, k0 + at_k);
    bool some = k0 + at_k < depth;
    int line[COPIES_M], p[COPIES_M], q[COPIES_M];  // line: the first one of the pixel's image, in all images of x
    IN_REGISTERS for (int l = 0; l < COPIES_M; ++l) {
        int m = start + at_m + l * (SLAB / COPIES_M);
        line[l] = m / g.out_w / g.out_h * g.height, p[l] = m / g.out_w % g.out_h, q[l] = m % g.out_w;
    }
    int step_q = SLAB % g.out_w, step_p = SLAB / g.out_w % g.out_h, step = SLAB / g.out_w / g.out_h * g.height;
    int at_n = thread % (TILE_N / CHUNK) * CHUNK, at_row = thread / (TILE_N / CHUNK), m = start;
    float sum = 0;  // of column n0 + thread of G

    auto load = [&](float *a, float *b) {
        IN_REGISTERS for (int l = 0; l < COPIES_M; ++l) {
            int down = at_m + l * (SLAB / COPIES_M);
            int y = p[l] * g.stride_y - g.pad_y + place.i, at = q[l] * g.stride_x - g.pad_x + place.j;
            bool in = some && m + down < stop && unsigned(y) < unsigned(g.height) && unsigned(at) < unsigned(g.width);
            copy_async(a + down * PITCH_M + at_k,
                       in ? x + (((line[l] + y) * g.width + at) * g.cin + place.c) : x, in);
            // SLAB pixels on: at most one carry of each kind
            q[l] += step_q, p[l] += step_p, line[l] += step;
            if (q[l] >= g.out_w) q[l] -= g.out_w, ++p[l];
            if (p[l] >= g.out_h) p[l] -= g.out_h, line[l] += g.height;
        }
        IN_REGISTERS for (int l = 0; l < COPIES_N; ++l) {
            int down = at_row + l * (SLAB / COPIES_N);
            bool in = m + down < stop && n0 + at_n < g.cout;
            copy_async(b + down * PITCH_N + at_n,
                       in ? cotangent + ((long long)(m + down) * g.cout + n0 + at_n) : cotangent, in);
        }
        m += SLAB;
    };
    auto look = [&](const float *b) {
        if (k0 == 0 && thread < TILE_N)
            for (int k = 0; k < SLAB; ++k) sum += b[k * PITCH_N + thread];
    };
    Sums sums;
    multiply<false, false>(sums, shared, slabs, row, column, load, look);

    real *to = parts + (long long)part * (depth + 1) * g.cout;
    if (k0 == 0 && thread < TILE_N && n0 + thread < g.cout) to[(long long)depth * g.cout + n0 + thread] = sum;
    sums.for_each_pair<int, 2>(
        k0 + row, n0 + column, [](int k) { return k; },
        [&](int o) {
            return [&, o](int k, const Vec<2> &pair) {
                if (k < depth && o < g.cout) pair.store(to + (long long)k * g.cout + o);
            };
        });
}
