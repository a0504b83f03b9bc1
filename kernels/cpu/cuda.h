// CUDA's vocabulary for a C++ compiler. Included before a kernel file (-include kernels/cpu/cuda.h), it lets
// g++ or clang++ compile the same .cu text that NVRTC compiles for a GPU. What happens behind these
// declarations is in runtime.cpp; README.md beside this file tells the whole story.
//
// Exactly what the kernels use is here, and no more.
#pragma once
#define CPU 1

#include <math.h>  // the C++ wrapper: exp(float) and exp(double) are overloads, as in CUDA
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>  // CUDA has printf in kernels
#include <string.h>

#include <type_traits>
#include <utility>

// ---- Who am I ----------------------------------------------------------------------------------------

struct uint3 {
    unsigned x, y, z;
};

// The running CUDA thread, as its operating-system thread sees it. The runtime rewrites it whenever another
// CUDA thread takes over. (__thread, not thread_local: no constructor to check for at each access.)
struct CudaThread {
    uint3 thread, block, block_dim, grid_dim;
    char *dynamic_shared;
    unsigned dynamic_bytes;
    struct Worker *worker;
};
extern __thread CudaThread cuda_thread;

#define threadIdx (cuda_thread.thread)
#define blockIdx (cuda_thread.block)
#define blockDim (cuda_thread.block_dim)
#define gridDim (cuda_thread.grid_dim)

// ---- Qualifiers --------------------------------------------------------------------------------------

#define __global__ __attribute__((noinline))
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))

// Shared memory belongs to a block, and a block runs on one operating-system thread, so a thread-local
// variable is shared memory. AddressSanitizer guards no thread-local variables: the build for it runs all
// blocks on one thread and uses plain static ones.
#ifdef CHECK_ADDRESS
#define __shared__ static __attribute__((aligned(64)))
#else
#define __shared__ static thread_local __attribute__((aligned(64)))
#endif

// SHARED and SHARED_DYNAMIC in common.cuh pass the address of each array through here, once in each thread.
extern "C" bool cuda_poison;
extern "C" void cuda_poison_once(void *array, size_t bytes);
template <class T>
__forceinline__ T *cuda_shared(T *array, size_t bytes = sizeof(T)) {
    if (cuda_poison) cuda_poison_once(array, bytes);
    asm("" : "+r"(array));  // the compiler forgets where the address came from, so it must keep it
    return array;
}

// ---- Vector types ------------------------------------------------------------------------------------

struct __attribute__((aligned(8), may_alias)) float2 {
    float x, y;
};
struct __attribute__((aligned(16), may_alias)) float4 {
    float x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

// ---- Synchronisation ---------------------------------------------------------------------------------

enum WarpOperation { WARP_SYNC, WARP_SHUFFLE, WARP_BALLOT };

extern "C" {
int cuda_barrier(int vote, const char *file, int line);
uint64_t cuda_warp(int operation, unsigned mask, uint64_t value, int source, const char *file, int line);
void cuda_fence();
}

// The call site travels along as default arguments, so that an error names a line of the .cu file. The empty
// asm statement tells the compiler that memory changes here: shared arrays are to be read again.
#define CUDA_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define CUDA_MEMORY_CHANGES asm volatile("" ::: "memory")

inline int __syncthreads_count(int predicate, CUDA_SITE) {
    CUDA_MEMORY_CHANGES;
    int count = cuda_barrier(predicate != 0, file, line);
    CUDA_MEMORY_CHANGES;
    return count;
}
inline void __syncthreads(CUDA_SITE) { __syncthreads_count(0, file, line); }
inline int __syncthreads_or(int predicate, CUDA_SITE) { return __syncthreads_count(predicate, file, line) > 0; }
inline int __syncthreads_and(int predicate, CUDA_SITE) { return __syncthreads_count(!predicate, file, line) == 0; }

inline void __syncwarp(unsigned mask = 0xffffffffu, CUDA_SITE) {
    CUDA_MEMORY_CHANGES;
    cuda_warp(WARP_SYNC, mask, 0, 0, file, line);
    CUDA_MEMORY_CHANGES;
}
inline unsigned __ballot_sync(unsigned mask, int predicate, CUDA_SITE) {
    return unsigned(cuda_warp(WARP_BALLOT, mask, predicate != 0, 0, file, line));
}
inline int __any_sync(unsigned mask, int predicate, CUDA_SITE) { return __ballot_sync(mask, predicate, file, line) != 0; }
inline int __all_sync(unsigned mask, int predicate, CUDA_SITE) { return __ballot_sync(mask, !predicate, file, line) == 0; }

inline int cuda_lane() {
    return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32;
}
template <class T>
T cuda_shuffle(unsigned mask, T value, int source, const char *file, int line) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle moves at most 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(T));
    bits = cuda_warp(WARP_SHUFFLE, mask, bits, source, file, line);
    memcpy(&value, &bits, sizeof(T));
    return value;
}
// A shuffle that points outside its group of `width` lanes returns the lane's own value.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, CUDA_SITE) {
    return cuda_shuffle(mask, value, (cuda_lane() & ~(width - 1)) | (source & (width - 1)), file, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_SITE) {
    int lane = cuda_lane(), first = lane & ~(width - 1), source = lane - int(delta);
    return cuda_shuffle(mask, value, source < first ? lane : source, file, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_SITE) {
    int lane = cuda_lane(), last = lane | (width - 1), source = lane + int(delta);
    return cuda_shuffle(mask, value, source > last ? lane : source, file, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, CUDA_SITE) {
    int lane = cuda_lane(), last = lane | (width - 1), source = lane ^ bits;
    return cuda_shuffle(mask, value, source > last ? lane : source, file, line);
}

// ---- Asynchronous copies (their wrappers are in common.cuh) --------------------------------------------

extern "C" {
extern bool cuda_late_copies;
void cuda_copy_later(void *to, const void *from, int bytes);  // from null: zeros
void cuda_commit_copies();
void cuda_wait_copies(int pending);
}

// ---- Atomics: relaxed, as CUDA's are; each returns the old value ---------------------------------------

inline int atomicAdd(int *to, int value) { return __atomic_fetch_add(to, value, __ATOMIC_RELAXED); }
inline unsigned atomicAdd(unsigned *to, unsigned value) { return __atomic_fetch_add(to, value, __ATOMIC_RELAXED); }

template <class T, class Change>
T cuda_atomic(T *at, Change change) {
    T old, now;
    __atomic_load(at, &old, __ATOMIC_RELAXED);
    do {
        now = change(old);
    } while (!__atomic_compare_exchange(at, &old, &now, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}
inline float atomicAdd(float *to, float value) {
    return cuda_atomic(to, [=](float old) { return old + value; });
}
inline double atomicAdd(double *to, double value) {
    return cuda_atomic(to, [=](double old) { return old + value; });
}
inline int atomicMax(int *at, int value) {
    return cuda_atomic(at, [=](int old) { return old > value ? old : value; });
}
inline int atomicCAS(int *at, int expected, int value) {
    __atomic_compare_exchange_n(at, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}
inline void __threadfence() { cuda_fence(); }

// ---- Arithmetic --------------------------------------------------------------------------------------

// min and max as CUDA has them: of two floats, one of them NaN, the other one is returned.
template <class A, class B>
inline auto min(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>) return T(fmin(T(a), T(b)));
    else return T(b) < T(a) ? T(b) : T(a);
}
template <class A, class B>
inline auto max(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>) return T(fmax(T(a), T(b)));
    else return T(a) < T(b) ? T(b) : T(a);
}
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float rsqrt(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }

// The fast approximations of a GPU are the library's functions here. Macros, because glibc declares
// functions of these names itself.
#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __fdividef(x, y) ((x) / (y))

// ---- Refusing a launch (REQUIRE in common.cuh) ---------------------------------------------------------

extern "C" [[noreturn]] void cuda_refuse(const char *condition, const char *file, int line);

// What REQUIRE does on a GPU, where a kernel's text for that runs here.
[[noreturn]] inline void __trap(CUDA_SITE) { cuda_refuse("not to come here", file, line); }

// ---- Launching ---------------------------------------------------------------------------------------

extern "C" int cuda_launch(const char *name, void (*run_thread)(void **), void *(*find_shared)(),
                           const unsigned grid[3], const unsigned block[3], unsigned shared_bytes, void **args);

// An operating-system thread gets a library's thread-local memory when it first asks for an address in it. The
// runtime has it ask before a block, not in the middle of one.
static __thread char cuda_some_shared;
static inline void *cuda_find_shared() { return &cuda_some_shared; }

// A kernel's parameter types, taken from the kernel itself: args[i] points at the value of the i-th one.
template <auto kernel>
struct CudaEntry;
template <class... Parameters, void (*kernel)(Parameters...)>
struct CudaEntry<kernel> {
    template <size_t... i>
    static void call(void **args, std::index_sequence<i...>) {
        kernel(*static_cast<Parameters *>(args[i])...);
    }
    static void run_thread(void **args) { call(args, std::index_sequence_for<Parameters...>{}); }
};

// EXPORT_KERNEL(name) exports launch_<name>, with cuLaunchKernel's arguments. It returns 0, or else 1 and
// kernel_error() says why.
#define EXPORT_KERNEL(name)                                                                              \
    extern "C" __attribute__((visibility("default"))) int launch_##name(                                 \
        const unsigned grid[3], const unsigned block[3], unsigned shared_bytes, void **args) {           \
        return cuda_launch(#name, CudaEntry<name>::run_thread, cuda_find_shared, grid, block,            \
                           shared_bytes, args);                                                          \
    }
