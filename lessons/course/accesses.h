// Notes each access that a kernel's threads make to shared memory and to its arrays: see accesses.py.
//
// g++ -fsanitize=thread calls a function at each access. With these functions in the place of ThreadSanitizer's, the
// access is written into a list. An access is what one instruction of a GPU would be: 4 bytes for a number, 16 for a
// vector.
#include <stdint.h>

struct Access {
    uint64_t site, address;  // the instruction, from the library's start; the byte, from the start of its array
    int32_t block, thread, array, bytes, write, unused;  // array: -1 is shared memory, else which argument it is
};
struct Array {
    uint64_t begin, end;
};

extern "C" {
__attribute__((visibility("default"))) int64_t access_count;
extern const char __ehdr_start[] __attribute__((visibility("hidden")));  // where the library starts, and where its
extern const char __bss_start[] __attribute__((visibility("hidden")));   // static memory does, which has the shared
extern const char _end[] __attribute__((visibility("hidden")));          // arrays (with CHECK_ADDRESS)
}

static Access *accesses;
static Array *access_arrays;
static int64_t access_room, access_array_count;

extern "C" __attribute__((no_sanitize_thread, visibility("default"))) void note_accesses(
    Access *to, int64_t room, Array *arrays, int array_count) {
    accesses = to, access_room = room, access_arrays = arrays, access_array_count = array_count;
}

__attribute__((no_sanitize_thread, noinline)) static void note_access(void *site, const void *at, int bytes, int write) {
    uint64_t address = reinterpret_cast<uint64_t>(at), start = reinterpret_cast<uint64_t>(__ehdr_start);
    uint64_t shared = reinterpret_cast<uint64_t>(__bss_start), end = reinterpret_cast<uint64_t>(_end);
    uint64_t dynamic = reinterpret_cast<uint64_t>(cuda_thread.dynamic_shared), begin = start;
    int array = -1;
    if (address - dynamic < cuda_thread.dynamic_bytes) {
        begin = dynamic;
    } else if (address < shared || address >= end) {
        for (array = 0; array < access_array_count; ++array)
            if (address >= access_arrays[array].begin && address < access_arrays[array].end) break;
        if (array == access_array_count) return;  // the thread's own memory: on a GPU, its registers
        begin = access_arrays[array].begin;
    }
    if (access_count < access_room)
        accesses[access_count] = {reinterpret_cast<uint64_t>(site) - start, address - begin, int(blockIdx.x),
                                  int(threadIdx.x + blockDim.x * threadIdx.y), array, bytes, write, 0};
    ++access_count;
}

#define NOTED __attribute__((no_sanitize_thread, visibility("default")))
#define NOTE(name, bytes)                                                                                      \
    NOTED void __tsan_read##name(void *at) { note_access(__builtin_return_address(0), at, bytes, 0); }         \
    NOTED void __tsan_write##name(void *at) { note_access(__builtin_return_address(0), at, bytes, 1); }        \
    NOTED void __tsan_unaligned_read##name(void *at) { note_access(__builtin_return_address(0), at, bytes, 0); } \
    NOTED void __tsan_unaligned_write##name(void *at) { note_access(__builtin_return_address(0), at, bytes, 1); }
// Atomics: the sanitizer's function is to do what it notes.
#define NOTE_ATOMICS(bits, T)                                                                                  \
    NOTED T __tsan_atomic##bits##_load(const volatile T *at, int) {                                            \
        note_access(__builtin_return_address(0), const_cast<const T *>(at), bits / 8, 0);                      \
        return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                                          \
    }                                                                                                          \
    NOTED T __tsan_atomic##bits##_fetch_add(volatile T *at, T value, int) {                                    \
        note_access(__builtin_return_address(0), const_cast<const T *>(at), bits / 8, 1);                      \
        return __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST);                                                \
    }                                                                                                          \
    NOTED int __tsan_atomic##bits##_compare_exchange_weak(volatile T *at, T *old, T value, int, int) {         \
        note_access(__builtin_return_address(0), const_cast<const T *>(at), bits / 8, 1);                      \
        return __atomic_compare_exchange_n(at, old, value, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);          \
    }
extern "C" {
NOTE(1, 1) NOTE(2, 2) NOTE(4, 4) NOTE(8, 8) NOTE(16, 16)
NOTED void __tsan_read_range(void *at, unsigned long bytes) { note_access(__builtin_return_address(0), at, bytes, 0); }
NOTED void __tsan_write_range(void *at, unsigned long bytes) { note_access(__builtin_return_address(0), at, bytes, 1); }
NOTED void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
NOTE_ATOMICS(32, uint32_t) NOTE_ATOMICS(64, uint64_t)
NOTED void __tsan_init() {}
NOTED void __tsan_func_entry(void *) {}
NOTED void __tsan_func_exit() {}
}
