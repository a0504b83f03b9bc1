// CUDA's words for a C++ compiler. If this file is included before a kernel file (-include kernels/cpu/cuda.h), g++ or
// clang++ compiles the same .cu text that NVRTC compiles for a GPU. runtime.cpp has what happens behind these
// declarations, and README.md beside this file explains all of it.
//
// Only those words of CUDA are here that a kernel of this repository uses. A test holds this file to it.
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

// The running CUDA thread, as its operating-system thread sees it. The runtime rewrites it whenever another CUDA thread
// takes over. (It is __thread and not thread_local, so that no access has to check for a constructor.)
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

// Shared memory belongs to a block, and a block runs on one operating-system thread. So a thread-local variable serves
// as shared memory. AddressSanitizer does not guard thread-local variables, so the build for it runs all blocks on one
// thread and uses plain static ones.
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

// ---- Synchronisation ---------------------------------------------------------------------------------

enum WarpOperation { WARP_SYNC, WARP_SHUFFLE, WARP_EXCHANGE };
enum { CUDA_EXCHANGED = 3 };  // words of 8 bytes that a lane brings to an exchange: six registers

extern "C" {
void cuda_barrier(const char *file, int line);
uint64_t cuda_warp(int operation, unsigned mask, uint64_t value, int source, const char *file, int line);
const uint64_t (*cuda_exchange(const uint64_t *mine, const char *file, int line))[CUDA_EXCHANGED];
void cuda_fence();
}

// The call's place is passed on in default arguments, so that an error names a line of the .cu file. The empty asm
// statement tells the compiler that memory changes here, so that it reads shared arrays again.
#define CUDA_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define CUDA_MEMORY_CHANGES asm volatile("" ::: "memory")

inline void __syncthreads(CUDA_SITE) {
    CUDA_MEMORY_CHANGES;
    cuda_barrier(file, line);
    CUDA_MEMORY_CHANGES;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, CUDA_SITE) {
    CUDA_MEMORY_CHANGES;
    cuda_warp(WARP_SYNC, mask, 0, 0, file, line);
    CUDA_MEMORY_CHANGES;
}

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

// ---- Atomics: they are relaxed, as CUDA's are, and return the old value ------------------------------

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
// One more, and after `last` 0 again.
inline unsigned atomicInc(unsigned *at, unsigned last) {
    return cuda_atomic(at, [=](unsigned old) { return old >= last ? 0 : old + 1; });
}
inline float atomicAdd(float *to, float value) {
    return cuda_atomic(to, [=](float old) { return old + value; });
}
inline double atomicAdd(double *to, double value) {
    return cuda_atomic(to, [=](double old) { return old + value; });
}
inline void __threadfence() { cuda_fence(); }

// ---- Arithmetic --------------------------------------------------------------------------------------

// min and max as in CUDA: if one of two floats is NaN, the other one is returned.
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
// ---- Refusing a launch (REQUIRE in common.cuh) ---------------------------------------------------------

extern "C" [[noreturn]] void cuda_refuse(const char *condition, const char *file, int line);

// What REQUIRE calls on a GPU. It is called here if the GPU's side of a kernel is compiled for a CPU.
[[noreturn]] inline void __trap(CUDA_SITE) { cuda_refuse("not to come here", file, line); }

// ---- Launching ---------------------------------------------------------------------------------------

extern "C" int cuda_launch(const char *name, void (*run_thread)(void **), void *(*find_shared)(),
                           const unsigned grid[3], const unsigned block[3], unsigned shared_bytes, void **args);

// An operating-system thread gets a library's thread-local memory when it first asks for an address in it. The runtime
// makes it ask before a block begins, not in the middle of one.
static __thread char cuda_some_shared;
static inline void *cuda_find_shared() { return &cuda_some_shared; }

// Calls a kernel with its arguments: args[i] points to the value of the i-th one, whose type the kernel itself says.
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

// EXPORT_KERNEL(name) exports launch_<name>, which has cuLaunchKernel's arguments. It returns 0, or 1 for a launch that
// failed; kernel_error() then says why.
#define EXPORT_KERNEL(name)                                                                              \
    extern "C" __attribute__((visibility("default"))) int launch_##name(                                 \
        const unsigned grid[3], const unsigned block[3], unsigned shared_bytes, void **args) {           \
        return cuda_launch(#name, CudaEntry<name>::run_thread, cuda_find_shared, grid, block,            \
                           shared_bytes, args);                                                          \
    }
