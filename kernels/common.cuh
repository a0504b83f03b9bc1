// What every kernel may use. This text is put in front of each kernel file, on every device. On a GPU it is compiled by
// NVRTC, which has no standard headers. On a CPU it is compiled by the C++ compiler, after kernels/cpu/cuda.h.
//
// `real` is float or double. The command line says which: -Dreal=float.

#ifndef real
#define real float
#endif
#ifdef __CUDACC_RTC__
#pragma nv_diag_suppress 177  // not every kernel uses every constant of this file
#endif

// ---- Element-wise loops ------------------------------------------------------------------------------
//
//     FOR_EACH(i, n) y[i] = x[i] + z[i];
//
// runs the n iterations in any order, spread over all threads of the launch. So they must not depend on each other. i
// has the type of n. Any grid and any block give the right result. These are fast: - GPU: blocks of 256 threads.
// Neighbouring threads take neighbouring elements, and each thread steps on by the number of
//   all threads (a grid-stride loop). So each access of a warp is one run of memory.
// - CPU: blocks of one thread, a few for each core. Each takes one contiguous run, in a plain loop that the compiler
// turns
//   into vector instructions. Runs start at multiples of 64 elements, so that no two threads write to the same cache
//   line (if the arrays are aligned).
#define THREAD_NUMBER (blockIdx.x * blockDim.x + threadIdx.x)
#define THREAD_COUNT (gridDim.x * blockDim.x)
#ifdef CPU
template <class I>
inline I run_start(I n, unsigned part, unsigned parts) {
    long long run = ((n + parts - 1LL) / parts + 63) / 64 * 64;
    long long start = run * part;
    return start < n ? I(start) : n;
}
// Before a loop: its iterations do not depend on each other, so the compiler may vectorise it without proof.
#ifdef __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif
#define FOR_EACH(i, n)                                                                    \
    INDEPENDENT for (decltype((n) + 0) i = run_start((n) + 0, THREAD_NUMBER, THREAD_COUNT), \
                     i##_end = run_start((n) + 0, THREAD_NUMBER + 1, THREAD_COUNT);         \
                     i < i##_end; ++i)
#else
#define INDEPENDENT
// The step is written so that i never passes n: for n near 2^31, i + step would overflow.
#define FOR_EACH(i, n)                                                                              \
    for (decltype((n) + 0) i = THREAD_NUMBER, i##_end = (n), i##_step = THREAD_COUNT;               \
         i < i##_end; i = i##_end - i > i##_step ? i + i##_step : i##_end)
#endif

// ---- What a kernel assumes of its launch --------------------------------------------------------------
//
//     REQUIRE(blockDim.x == THREADS);
//
// at the start of a kernel: a launch that is cut up in another way ends there, before it leaves out numbers or writes
// beyond an array. static_assert checks what the compiler already knows. The macros of a file, such as THREADS, come
// from minisrgan/device/geometry.py.
#ifdef CPU
#define REQUIRE(condition)                                              \
    do {                                                                \
        if (!(condition)) cuda_refuse(#condition, __FILE__, __LINE__); \
    } while (0)
#else
#define REQUIRE(condition)           \
    do {                             \
        if (!(condition)) __trap(); \
    } while (0)
#endif

// ---- Shared memory -----------------------------------------------------------------------------------
//
//     SHARED(real, tile, [8][LANES]);    // __shared__ real tile[8][LANES], aligned for Vec
//     SHARED_DYNAMIC(real, tile);        // real *tile, with as many bytes as the launch asked for
//
// Plain `__shared__ real tile[64];` works too. But on a CPU it is slower: the compiler looks up the address of a
// thread-local variable anew at each use, even in a loop. And the check for reads of uninitialised shared memory does
// not see it.
#ifdef CPU
#define SHARED(type, name, dimensions)     \
    typedef type name##_type dimensions;   \
    __shared__ name##_type name##_storage; \
    name##_type &name = *cuda_shared(&name##_storage)
#else
#define SHARED(type, name, dimensions) __shared__ __align__(16) type name dimensions
#endif
#ifdef __CUDACC__
#define SHARED_DYNAMIC(type, name)                       \
    extern __shared__ __align__(16) char name##_bytes[]; \
    type *name = reinterpret_cast<type *>(name##_bytes)
#else
#define SHARED_DYNAMIC(type, name) \
    type *name = reinterpret_cast<type *>(cuda_shared(cuda_thread.dynamic_shared, cuda_thread.dynamic_bytes))
#endif

// ---- Asynchronous copies -----------------------------------------------------------------------------
//
//     copy_async(&tile[j], x + i, i < n);    // copy 16 bytes from global to shared memory, or zeros if false
//     copy_async_commit();                   // the copies so far are a group
//     copy_async_wait<1>();                  // wait for all groups of this thread but the last one
//     __syncthreads();                       // and for those of the other threads
//
// On a GPU from sm_80 on, the copies bypass the registers and go on while the thread computes. On an older GPU and on a
// CPU they happen at once. In the checked mode `late` they happen at the last moment that is allowed. Both addresses
// must be multiples of 16 bytes.
struct __align__(16) SixteenBytes {
    int word[4];
};
static __device__ __forceinline__ void copy_async(void *shared, const void *global, bool valid = true) {
#if !defined(CPU) && __CUDA_ARCH__ >= 800
    unsigned to = unsigned(__cvta_generic_to_shared(shared));
    int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes) : "memory");
#else
#ifdef CPU
    if (cuda_late_copies) return cuda_copy_later(shared, valid ? global : nullptr, 16);
#endif
    SixteenBytes zero = {};
    *static_cast<SixteenBytes *>(shared) = valid ? *static_cast<const SixteenBytes *>(global) : zero;
#endif
}
static __device__ __forceinline__ void copy_async_commit() {
#ifdef CPU
    if (cuda_late_copies) cuda_commit_copies();
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int pending>
static __device__ __forceinline__ void copy_async_wait() {
#ifdef CPU
    if (cuda_late_copies) cuda_wait_copies(pending);
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

// ---- Registers ---------------------------------------------------------------------------------------
//
// LANES: how many reals one vector holds.
#if !defined(CPU)
constexpr int LANES = 16 / sizeof(real);
#elif defined(__AVX512F__)
constexpr int LANES = 64 / sizeof(real);
#elif defined(__AVX__)
constexpr int LANES = 32 / sizeof(real);
#else
constexpr int LANES = 16 / sizeof(real);
#endif

// SUM_ROWS: how many rows of two vectors of sums fit into the registers of a CPU, if three more vectors must fit too: a
// row of two that is multiplied, and one with the number that multiplies it.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int SUM_ROWS = 12;  // of 32 registers
#else
constexpr int SUM_ROWS = 6;  // of 16
#endif

// Before a loop over registers, with a constant number of steps. An array in registers has no address, so each index
// into it must be a constant.
#ifdef CPU
#define UNROLL _Pragma("GCC unroll 16")
#else
#define UNROLL _Pragma("unroll")
#endif

// N reals that are handled together. On a GPU they are N registers, which are loaded and stored 16 bytes at a time. On
// a CPU they are one vector register, or a few. On both, load and store need an address that is a multiple of 16 bytes
// (or of the whole Vec if that is smaller). For other addresses use load_partial, store_partial and load_any.
template <int N, class T = real>  // T is always real; g++ ignores vector_size on a type that is no template parameter
struct Vec {
    static constexpr int ALIGN = N * sizeof(real) < 16 ? N * sizeof(real) : 16;
#ifdef CPU
    typedef T Register __attribute__((vector_size(N * sizeof(T))));
    typedef T Memory __attribute__((vector_size(N * sizeof(T)), aligned(ALIGN), may_alias));
    Register lane;

    static __forceinline__ Vec load(const real *from) { return {*reinterpret_cast<const Memory *>(from)}; }
    __forceinline__ void store(real *to) const { *reinterpret_cast<Memory *>(to) = lane; }
    static __forceinline__ Vec broadcast(real s) { return {s - Register{}}; }
    // this += s * b
    __forceinline__ void fma(real s, const Vec &b) { lane += s * b.lane; }
    __forceinline__ void fma(const Vec &a, const Vec &b) { lane += a.lane * b.lane; }
    friend __forceinline__ Vec operator+(const Vec &a, const Vec &b) { return {a.lane + b.lane}; }
    friend __forceinline__ Vec operator-(const Vec &a, const Vec &b) { return {a.lane - b.lane}; }
    friend __forceinline__ Vec operator*(const Vec &a, const Vec &b) { return {a.lane * b.lane}; }
    friend __forceinline__ Vec operator*(real s, const Vec &b) { return {s * b.lane}; }
    // In each lane, a where x > 0, else b.
    static __forceinline__ Vec where_positive(const Vec &x, const Vec &a, const Vec &b) {
        return {x.lane > Register{} ? a.lane : b.lane};
    }
#else
    struct alignas(ALIGN) Memory {
        real lane[ALIGN / sizeof(real)];
    };
    real lane[N];

    static __device__ __forceinline__ Vec load(const real *from) {
        Vec v;
        for (int i = 0; i < N; i += ALIGN / sizeof(real)) {
            Memory part = *reinterpret_cast<const Memory *>(from + i);
            for (int j = 0; j < ALIGN / sizeof(real); ++j) v.lane[i + j] = part.lane[j];
        }
        return v;
    }
    __device__ __forceinline__ void store(real *to) const {
        for (int i = 0; i < N; i += ALIGN / sizeof(real)) {
            Memory part;
            for (int j = 0; j < ALIGN / sizeof(real); ++j) part.lane[j] = lane[i + j];
            *reinterpret_cast<Memory *>(to + i) = part;
        }
    }
    static __device__ __forceinline__ Vec broadcast(real s) {
        Vec v;
        for (int i = 0; i < N; ++i) v.lane[i] = s;
        return v;
    }
    __device__ __forceinline__ void fma(real s, const Vec &b) {
        for (int i = 0; i < N; ++i) lane[i] += s * b.lane[i];
    }
    __device__ __forceinline__ void fma(const Vec &a, const Vec &b) {
        for (int i = 0; i < N; ++i) lane[i] += a.lane[i] * b.lane[i];
    }
    friend __device__ __forceinline__ Vec operator+(const Vec &a, const Vec &b) {
        Vec v;
        for (int i = 0; i < N; ++i) v.lane[i] = a.lane[i] + b.lane[i];
        return v;
    }
    friend __device__ __forceinline__ Vec operator-(const Vec &a, const Vec &b) {
        Vec v;
        for (int i = 0; i < N; ++i) v.lane[i] = a.lane[i] - b.lane[i];
        return v;
    }
    friend __device__ __forceinline__ Vec operator*(const Vec &a, const Vec &b) {
        Vec v;
        for (int i = 0; i < N; ++i) v.lane[i] = a.lane[i] * b.lane[i];
        return v;
    }
    friend __device__ __forceinline__ Vec operator*(real s, const Vec &b) {
        Vec v;
        for (int i = 0; i < N; ++i) v.lane[i] = s * b.lane[i];
        return v;
    }
    static __device__ __forceinline__ Vec where_positive(const Vec &x, const Vec &a, const Vec &b) {
        Vec v;
        for (int i = 0; i < N; ++i) v.lane[i] = x.lane[i] > 0 ? a.lane[i] : b.lane[i];
        return v;
    }
#endif
    // At an edge: only the first `count` lanes are loaded or stored. The others are zero. The address may be any.
    static __device__ __forceinline__ Vec load_partial(const real *from, int count) {
        Vec v = broadcast(0);
        for (int i = 0; i < N; ++i)
            if (i < count) v.lane[i] = from[i];
        return v;
    }
    __device__ __forceinline__ void store_partial(real *to, int count) const {
        for (int i = 0; i < N; ++i)
            if (i < count) to[i] = lane[i];
    }
    // From an address of any alignment.
    static __device__ __forceinline__ Vec load_any(const real *from) {
        Vec v;
#ifdef CPU
        __builtin_memcpy(&v.lane, from, sizeof v.lane);
#else
        for (int i = 0; i < N; ++i) v.lane[i] = from[i];
#endif
        return v;
    }
    // The next of `left` numbers: a vector, or what is left of one. `whole` says that a whole vector is left and
    // aligned.
    static __device__ __forceinline__ Vec load_edge(const real *from, int left, bool whole) {
        return whole ? load(from) : load_partial(from, left);
    }
    __device__ __forceinline__ void store_edge(real *to, int left, bool whole) const {
        if (whole) store(to);
        else store_partial(to, left);
    }
};
