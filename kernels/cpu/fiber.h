// A fiber: a stack of its own and a saved stack pointer. Switching to another one is a function call that
// returns somewhere else: save the registers that a function must preserve, exchange the stack pointer,
// restore, return. It costs a few nanoseconds, where a thread of the operating system costs microseconds.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#ifdef CHECK_ADDRESS
extern "C" void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t size);
extern "C" void __sanitizer_finish_switch_fiber(void *save, const void **bottom, size_t *size);
extern "C" void __asan_unpoison_memory_region(const volatile void *start, size_t size);
#endif
#ifdef CHECK_RACES
extern "C" void *__tsan_create_fiber(unsigned flags);
extern "C" void *__tsan_get_current_fiber();
extern "C" void __tsan_switch_to_fiber(void *fiber, unsigned flags);
#endif

// switch_stack(save, to): push the callee-saved registers, store the stack pointer at *save, load `to`, pop.
// Both sides return to the same instruction and through the same caller, so the processor's return-address
// predictor, which knows nothing of stacks, guesses right.
extern "C" void switch_stack(void **save, void *to) __asm__("minisrgan_switch_stack");

#if defined(USE_UCONTEXT) || !(defined(__x86_64__) || defined(__aarch64__))
#define USE_UCONTEXT 1  // any other processor: correct, and some twenty times slower
#include <ucontext.h>
#elif defined(__x86_64__)
constexpr int SAVED_WORDS = 6, ENTRY_WORD = 6;  // r15 r14 r13 r12 rbx rbp, then the return address
__asm__(R"(
    .text
    .p2align 4
minisrgan_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
#elif defined(__aarch64__)
constexpr int SAVED_WORDS = 20, ENTRY_WORD = 11;  // x19-x28, x29, x30 (the return address), d8-d15
__asm__(R"(
    .text
    .p2align 4
minisrgan_switch_stack:
    sub sp, sp, #160
    stp x19, x20, [sp]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
)");
#endif

struct Fiber {
    void *stack_pointer = nullptr;  // where to go on, while another fiber runs
    char *stack = nullptr;          // null: the operating-system thread's own
    size_t stack_bytes = 0;
#ifdef USE_UCONTEXT
    ucontext_t context;
#endif
#ifdef CHECK_RACES
    void *tsan = nullptr;  // what ThreadSanitizer takes for a thread
#endif
};

// A kernel's arrays live in registers and on the stack: 128 KB is plenty, and a page below it that nobody
// may touch turns an overflow into a crash instead of a wrong result. Only touched pages cost memory.
#if defined(CHECK_ADDRESS) || defined(CHECK_RACES)
constexpr size_t STACK_BYTES = 512 << 10;
#else
constexpr size_t STACK_BYTES = 128 << 10;
#endif
constexpr size_t GUARD_BYTES = 64 << 10;  // a page, whatever the page size

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

inline bool create_fiber(Fiber &fiber, int number) {
    void *memory = mmap(nullptr, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, GUARD_BYTES, PROT_NONE)) return false;
    fiber.stack = static_cast<char *>(memory) + GUARD_BYTES;
    // All stacks start at the same place in a page, so their busy tops would all want the same few sets of
    // the L1 cache. Shift each by another odd number of cache lines.
    fiber.stack_bytes = STACK_BYTES - size_t(number) * 17 * 64 % 16384;
#ifdef CHECK_RACES
    fiber.tsan = __tsan_create_fiber(0);
#endif
    return true;
}

// Make the fiber start at `entry`, which never returns, when it is next switched to. Whatever it was doing
// before is forgotten.
inline void prepare_fiber(Fiber &fiber, void (*entry)()) {
#ifdef CHECK_ADDRESS
    __asan_unpoison_memory_region(fiber.stack, fiber.stack_bytes);
#endif
#ifdef USE_UCONTEXT
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = fiber.stack_bytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, entry, 0);
#else
    // As if the entry were about to return from switch_stack. A function starts with its stack pointer at a
    // multiple of 16 on aarch64, and 8 off one on x86-64, at its return address: a zero, where debuggers stop.
    uintptr_t *top = reinterpret_cast<uintptr_t *>(fiber.stack + fiber.stack_bytes) - 2;
    top[0] = top[1] = 0;
    uintptr_t *words = top - SAVED_WORDS;
    for (int i = 0; i < SAVED_WORDS; ++i) words[i] = 0;
    words[ENTRY_WORD] = reinterpret_cast<uintptr_t>(entry);
    fiber.stack_pointer = words;
#endif
}

// The first thing a fiber does: tell AddressSanitizer that the switch is complete. `home` is the
// operating-system thread's own context, whose stack it reports to us here.
inline void arrive_on_fiber(Fiber &home) {
#ifdef CHECK_ADDRESS
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
    if (!home.stack) {
        home.stack = static_cast<char *>(const_cast<void *>(bottom));
        home.stack_bytes = size;
    }
#else
    (void)home;
#endif
}

// Go on with `to`; return when somebody switches back to `from`.
inline void switch_fiber(Fiber &from, Fiber &to) {
#ifdef CHECK_ADDRESS
    void *fake_stack;
    __sanitizer_start_switch_fiber(&fake_stack, to.stack, to.stack_bytes);
#endif
#ifdef CHECK_RACES
    __tsan_switch_to_fiber(to.tsan, 1);  // 1: the switch itself puts nothing in order
#endif
#ifdef USE_UCONTEXT
    swapcontext(&from.context, &to.context);
#else
    switch_stack(&from.stack_pointer, to.stack_pointer);
#endif
#ifdef CHECK_ADDRESS
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}
