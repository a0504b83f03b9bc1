// How a grid of CUDA threads runs on a CPU. README.md beside this file explains it.
//
//   launch     a grid of blocks; the operating-system threads of a pool take blocks until none is left
//   block      its CUDA threads take turns on one operating-system thread: each runs until it must wait
//   waiting    at a barrier or in a warp operation, it switches to the next CUDA thread's fiber
//
// It is compiled apart from the kernels, and never with a sanitizer: a sanitizer should watch the kernels, not the code
// that runs their threads.
#include "cuda.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "fiber.h"

// ThreadSanitizer learns the order of accesses through objects. What a thread does before it releases an object happens
// before what another thread does after it acquires the same object.
#ifdef CHECK_RACES
constexpr bool CHECKING_RACES = true;
extern "C" void __tsan_acquire(void *object);
extern "C" void __tsan_release(void *object);
#else
constexpr bool CHECKING_RACES = false;
static inline void __tsan_acquire(void *) {}
static inline void __tsan_release(void *) {}
#endif

__thread CudaThread cuda_thread;
bool cuda_poison = false, cuda_late_copies = false;

namespace {

constexpr int MAX_THREADS = 1024, WARP = 32;  // CUDA's: threads a block, threads a warp

enum Order { FORWARD, REVERSED, SHUFFLED };
int order_of_threads = FORWARD;

char error_text[512];
std::mutex error_lock;

// A grid that is being run.
struct Launch {
    const char *name;
    void (*run_thread)(void **args);
    void *(*find_shared)();
    void **args;
    uint3 grid, block;
    unsigned shared_bytes;
    long long blocks;
    std::atomic<long long> next_block;
    std::atomic<bool> failed;
};

// What a CUDA thread is doing.
enum State : uint8_t { NEW, READY, AT_BARRIER, IN_WARP, RETURNED };

struct Site {
    const char *file = "";
    int line = 0;
    bool operator==(const Site &other) const {
        return line == other.line && (file == other.file || !strcmp(file, other.file));
    }
};

// A CUDA thread's part in a warp operation.
struct Lane {
    Site site;
    int operation, source;
    unsigned mask;
    uint64_t value, result;
};

// A copy_async that is postponed until its thread waits for it.
struct LateCopy {
    int thread, group, bytes;
    void *to;
    const void *from;
};

}  // namespace

// What an operating-system thread needs to run blocks, one at a time.
struct Worker {
    Launch *launch = nullptr;
    CudaThread *running = nullptr;  // &cuda_thread of this operating-system thread: looked up once
    Fiber home;                     // where the fibers return to when the block is done
    std::vector<Fiber> fibers;      // reused from block to block
    int fibers_used = 0;

    int threads = 0;                // in this block
    int started = 0, returned = 0;
    int current = 0;                // the CUDA thread that runs now
    uint3 index[MAX_THREADS];       // its threadIdx
    uint16_t order[MAX_THREADS];    // who starts when,
    uint16_t next[MAX_THREADS];     // and the same as a ring
    uint8_t state[MAX_THREADS];
    Fiber *fiber[MAX_THREADS];

    Site barrier;                   // where those who wait at a barrier do
    int arrived = 0;                // how many they are
    int first_arrived = 0;          // who came first
    unsigned waiting[MAX_THREADS / WARP];  // lanes waiting in a warp operation
    Lane lane[MAX_THREADS];
    // What the lanes of a warp exchange. Two tables in turn: a lane may still read the last exchange when another
    // lane is already at the next one.
    uint64_t exchanged[MAX_THREADS / WARP][2][WARP][CUDA_EXCHANGED];
    unsigned exchanges[MAX_THREADS / WARP] = {};

    char *dynamic_shared = nullptr;
    unsigned shared_bytes = 0;
    std::vector<void *> poisoned;   // the shared arrays of this block that are already NaN
    std::vector<LateCopy> late_copies;  // not done yet
    int copy_group[MAX_THREADS];    // which group a thread's copies belong to
    std::minstd_rand random;

    // For ThreadSanitizer, two sets of fibers and objects, for every other block: it takes a fiber for a
    // thread, and with one set, thread 0 of a block would seem to wait for thread 0 of the block before.
    std::vector<Fiber> other_fibers;
    int set = 0;
    // And two objects in turn: a thread that leaves a barrier late must not learn what others did since then.
    char barrier_object[2][2], warp_object[2][MAX_THREADS][2];
    unsigned barriers = 0, warp_syncs[MAX_THREADS] = {};

    Worker() {
        fibers.reserve(MAX_THREADS);  // so that they stay where they are
        other_fibers.reserve(MAX_THREADS);
    }
};

namespace {

// memset, but unseen by the sanitizers, which watch the library's own.
void fill(void *at, uint8_t byte, size_t bytes) {
#if defined(CHECK_ADDRESS) || defined(CHECK_RACES)
    volatile uint8_t *to = static_cast<uint8_t *>(at);
    for (size_t i = 0; i < bytes; ++i) to[i] = byte;
#else
    memset(at, byte, bytes);
#endif
}

// ---- One block: CUDA threads that take turns -----------------------------------------------------------

char launch_start, launch_end, fence_object;  // ThreadSanitizer's objects for these events

[[noreturn]] void leave_block(Worker *w) {
    switch_fiber(*w->fiber[w->current], w->home);
    __builtin_unreachable();
}

// End the launch with a message. If there are several, the first one counts. No other block begins after that.
[[noreturn]] __attribute__((format(printf, 2, 3))) void fail(Worker *w, const char *format, ...) {
    {
        std::lock_guard<std::mutex> hold(error_lock);
        if (!w->launch->failed.exchange(true)) {
            uint3 b = w->running->block;
            int used = snprintf(error_text, sizeof error_text, "%s, block (%u, %u, %u): ", w->launch->name, b.x, b.y, b.z);
            va_list arguments;
            va_start(arguments, format);
            vsnprintf(error_text + used, sizeof error_text - used, format, arguments);
            va_end(arguments);
        }
    }
    leave_block(w);
}

// No thread can go on. Say why: which thread waits, and for which one in vain.
[[noreturn]] void fail_stuck(Worker *w) {
    for (int t = 0; t < w->threads; ++t) {
        if (w->state[t] != IN_WARP) continue;
        const Lane &lane = w->lane[t];
        for (int mate = t / WARP * WARP; mate < std::min(t / WARP * WARP + WARP, w->threads); ++mate) {
            if (mate == t || !(lane.mask >> mate % WARP & 1) || w->state[mate] == IN_WARP) continue;
            fail(w, "thread %d waits in a warp operation at %s:%d for thread %d, which %s", t, lane.site.file, lane.site.line,
                 mate, w->state[mate] == RETURNED ? "has returned" : "waits at a barrier");
        }
    }
    for (int t = 0; t < w->threads; ++t)
        if (w->state[t] == RETURNED && w->arrived)
            fail(w, "thread %d waits at the barrier %s:%d for thread %d, which has returned", w->first_arrived,
                 w->barrier.file, w->barrier.line, t);
    fail(w, "threads wait for each other: the lanes of a warp do not agree on a mask");
}

// Fibers are made when they are first needed.
bool create_fibers(std::vector<Fiber> &fibers, int wanted) {
    while (int(fibers.size()) < wanted) {
        fibers.emplace_back();
        if (!create_fiber(fibers.back(), int(fibers.size()) - 1)) return fibers.pop_back(), false;
    }
    return true;
}

void fiber_main();

// The running CUDA thread must wait, or is done: find another one and switch to its fiber. This function returns in the
// thread that called it, once that one can go on again.
void run_another(Worker *w, int self) {
    Fiber *to;
    if (w->started < w->threads) {  // somebody has not begun: give it a fiber of its own
        if (!create_fibers(w->fibers, w->fibers_used + 1)) fail(w, "no memory for a stack");
        to = &w->fibers[w->fibers_used++];
        prepare_fiber(*to, fiber_main);
    } else {
        int t = w->next[self];
        while (w->state[t] != READY) {
            if (t == self) fail_stuck(w);
            t = w->next[t];
        }
        to = w->fiber[t];
    }
    switch_fiber(*w->fiber[self], *to);
    w->current = self;
    w->running->thread = w->index[self];
}

// A fiber runs CUDA threads from beginning to end, one after the other, as long as none must wait. A thread that waits
// keeps the fiber, and run_another starts the next thread on a new one. So a kernel without barriers is a plain loop of
// function calls, and only waiting costs time.
void fiber_main() {
    Worker *w = cuda_thread.worker;
    Fiber *me = &w->fibers[w->fibers_used - 1];
    arrive_on_fiber(w->home);
    int t;
    do {
        t = w->current = w->order[w->started++];
        w->fiber[t] = me;
        w->state[t] = READY;
        w->running->thread = w->index[t];
        __tsan_acquire(&launch_start);
        w->launch->run_thread(w->launch->args);
        __tsan_release(&launch_end);
        w->state[t] = RETURNED;
        ++w->returned;
    } while (w->started < w->threads && !CHECKING_RACES);  // there, each thread has a fiber of its own
    if (w->returned == w->threads) leave_block(w);
    run_another(w, t);
    __builtin_unreachable();  // nobody switches to a thread that has returned
}

void run_block(Worker *w, long long number) {
    Launch *launch = w->launch;
    if (order_of_threads == REVERSED) number = launch->blocks - 1 - number;
    uint3 grid = launch->grid;
    w->running->block = {unsigned(number % grid.x), unsigned(number / grid.x % grid.y),
                         unsigned(number / grid.x / grid.y)};
    if (order_of_threads == SHUFFLED) {
        std::shuffle(w->order, w->order + w->threads, w->random);
        for (int i = 0; i < w->threads; ++i) w->next[w->order[i]] = w->order[(i + 1) % w->threads];
    }
    w->started = w->returned = w->arrived = 0;
    fill(w->state, NEW, w->threads);
    fill(w->waiting, 0, sizeof w->waiting);
    w->poisoned.clear();
    w->late_copies.clear();
#ifdef CHECK_RACES
    std::swap(w->fibers, w->other_fibers);
    w->set ^= 1;
    w->home.tsan = __tsan_get_current_fiber();
    __tsan_release(&launch_start);  // also orders the shared memory's birth before its use
#endif
    w->fibers_used = 1;
    prepare_fiber(w->fibers[0], fiber_main);
    switch_fiber(w->home, w->fibers[0]);
}

}  // namespace

extern "C" [[noreturn]] void cuda_refuse(const char *condition, const char *file, int line) {
    fail(cuda_thread.worker, "the launch is not what %s:%d requires: %s", file, line, condition);
}

extern "C" void cuda_barrier(const char *file, int line) {
    Worker *w = cuda_thread.worker;
    int self = w->current;
    Site here = {file, line};
    if (!w->arrived) {
        w->barrier = here;
        w->first_arrived = self;
    } else if (!(w->barrier == here)) {
        fail(w, "divergent barrier: thread %d waits at %s:%d, thread %d at %s:%d", w->first_arrived, w->barrier.file,
             w->barrier.line, self, file, line);
    }
    void *object = &w->barrier_object[w->set][w->barriers % 2];
    __tsan_release(object);
    if (++w->arrived == w->threads) {
        w->arrived = 0;
        fill(w->state, READY, w->threads);
        ++w->barriers;
    } else {
        w->state[self] = AT_BARRIER;
        run_another(w, self);
    }
    __tsan_acquire(object);
}

// All lanes of `mask` meet here. The last one works out the results of all.
extern "C" uint64_t cuda_warp(int operation, unsigned mask, uint64_t value, int source, const char *file, int line) {
    Worker *w = cuda_thread.worker;
    int self = w->current, warp = self / WARP, first = warp * WARP, me = self - first;
    int lanes = std::min(WARP, w->threads - first);
    if (lanes < WARP) mask &= (1u << lanes) - 1;  // lanes that the block does not have
    if (!(mask >> me & 1)) fail(w, "the mask %#x at %s:%d does not name lane %d, which uses it", mask, file, line, me);
    w->lane[self] = {{file, line}, operation, source, mask, value, 0};
    unsigned others = w->waiting[warp] & mask;
    if (others) {
        int other = first + __builtin_ctz(others);
        const Lane &mine = w->lane[self], &its = w->lane[other];
        if (!(its.site == mine.site) || its.operation != operation)
            fail(w, "lanes of a mask in different warp operations: thread %d at %s:%d, thread %d at %s:%d", other,
                 its.site.file, its.site.line, self, file, line);
        if (its.mask != mask)
            fail(w, "at %s:%d thread %d has the mask %#x, thread %d the mask %#x", file, line, other, its.mask, self, mask);
    }
    w->waiting[warp] |= 1u << me;
    int leader = first + __builtin_ctz(mask);
    void *object = &w->warp_object[w->set][leader][w->warp_syncs[leader] % 2];
    if (operation == WARP_SYNC) __tsan_release(object);  // shuffles order no memory
    if ((w->waiting[warp] & mask) == mask) {
        for (int l = 0; l < lanes; ++l) {
            if (!(mask >> l & 1)) continue;
            Lane &lane = w->lane[first + l];
            if (operation == WARP_SHUFFLE && !(mask >> lane.source & 1))
                fail(w, "at %s:%d lane %d reads lane %d, which the mask %#x does not name", file, line, l, lane.source, mask);
            if (operation == WARP_SHUFFLE) lane.result = w->lane[first + lane.source].value;
            w->state[first + l] = READY;
        }
        w->waiting[warp] &= ~mask;
        w->warp_syncs[leader] += operation == WARP_SYNC;
        w->exchanges[warp] += operation == WARP_EXCHANGE;
    } else {
        w->state[self] = IN_WARP;
        run_another(w, self);
    }
    if (operation == WARP_SYNC) __tsan_acquire(object);
    return w->lane[self].result;
}

// All lanes of the warp meet here, and each gets to see what all of them have brought.
extern "C" const uint64_t (*cuda_exchange(const uint64_t *mine, const char *file, int line))[CUDA_EXCHANGED] {
    Worker *w = cuda_thread.worker;
    int self = w->current, warp = self / WARP;
    if (warp * WARP + WARP > w->threads)
        fail(w, "thread %d at %s:%d: a warp of fewer than 32 threads cannot multiply matrices", self, file, line);
    auto *table = w->exchanged[warp][w->exchanges[warp] % 2];
    for (int i = 0; i < CUDA_EXCHANGED; ++i) table[self % WARP][i] = mine[i];
    cuda_warp(WARP_EXCHANGE, 0xffffffffu, 0, 0, file, line);
    return table;
}

extern "C" void cuda_fence() {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    __tsan_release(&fence_object);  // ThreadSanitizer knows no fences: model one by an object that all share
    __tsan_acquire(&fence_object);
}

// Each thread calls this where a shared array is declared. The first thread of a block calls it before any use of the
// array. A number with all bits set is NaN in float and double, and -1 in int.
extern "C" void cuda_poison_once(void *array, size_t bytes) {
    std::vector<void *> &known = cuda_thread.worker->poisoned;
    if (std::find(known.begin(), known.end(), array) != known.end()) return;
    known.push_back(array);
    fill(array, 0xff, bytes);
}

extern "C" void cuda_copy_later(void *to, const void *from, int bytes) {
    Worker *w = cuda_thread.worker;
    w->late_copies.push_back({w->current, w->copy_group[w->current], bytes, to, from});
}

extern "C" void cuda_commit_copies() {
    Worker *w = cuda_thread.worker;
    ++w->copy_group[w->current];
}

extern "C" void cuda_wait_copies(int pending) {
    Worker *w = cuda_thread.worker;
    int before = w->copy_group[w->current] - pending;
    auto due = [=](const LateCopy &copy) { return copy.thread == w->current && copy.group < before; };
    for (const LateCopy &copy : w->late_copies) {
        if (!due(copy)) continue;
        if (copy.from) memcpy(copy.to, copy.from, copy.bytes);  // in full view of the sanitizers
        else memset(copy.to, 0, copy.bytes);
    }
    w->late_copies.erase(std::remove_if(w->late_copies.begin(), w->late_copies.end(), due), w->late_copies.end());
}

namespace {

// ---- The pool: operating-system threads that take blocks ------------------------------------------------

void prepare_worker(Worker *w, Launch *launch) {
    w->launch = launch;
    uint3 block = launch->block;
    w->threads = block.x * block.y * block.z;
    int n = w->threads;
    for (int t = 0; t < n; ++t) {
        w->copy_group[t] = 0;
        w->index[t] = {t % block.x, t / block.x % block.y, t / block.x / block.y};
        w->order[t] = order_of_threads == REVERSED ? n - 1 - t : t;
        w->next[t] = order_of_threads == REVERSED ? (t + n - 1) % n : (t + 1) % n;
    }
    if (w->shared_bytes != launch->shared_bytes) {  // exactly as much, so that AddressSanitizer sees overruns
        free(w->dynamic_shared);
        w->dynamic_shared = nullptr;
        if (posix_memalign(reinterpret_cast<void **>(&w->dynamic_shared), 64, launch->shared_bytes)) abort();
        w->shared_bytes = launch->shared_bytes;
    }
}

// Give this operating-system thread to the worker.
void enter_worker(Worker *w, char *dynamic_shared) {
    Launch *launch = w->launch;
    launch->find_shared();
    w->running = &cuda_thread;
    cuda_thread = {{}, {}, launch->block, launch->grid, dynamic_shared, launch->shared_bytes, w};
}

void run_blocks(Worker *w, Launch *launch) {
    prepare_worker(w, launch);
    // ThreadSanitizer orders what creates a fiber before the fiber: so all of them now, not one by another.
    bool made = create_fibers(w->fibers, CHECKING_RACES ? w->threads : 1) &&
                create_fibers(w->other_fibers, CHECKING_RACES ? w->threads : 0);
    if (!made) {
        std::lock_guard<std::mutex> hold(error_lock);
        if (!launch->failed.exchange(true))
            snprintf(error_text, sizeof error_text, "%s: no memory for a stack", launch->name);
        return;
    }
    enter_worker(w, w->dynamic_shared);
    while (!launch->failed.load(std::memory_order_relaxed)) {
        long long number = launch->next_block.fetch_add(1, std::memory_order_relaxed);
        if (number >= launch->blocks) return;
#ifdef CHECK_RACES
        // Each block gets a new operating-system thread, whose thread-local memory and stack, and so all the
        // shared memory, is new to ThreadSanitizer. Or else blocks would seem to race for it.
        std::thread([=] {
            uintptr_t memory = reinterpret_cast<uintptr_t>(__builtin_alloca(launch->shared_bytes + 64));
            enter_worker(w, reinterpret_cast<char *>((memory + 63) / 64 * 64));
            run_block(w, number);
        }).join();
#else
        run_block(w, number);
#endif
    }
}

inline void pause_processor() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

int count_threads() {
#if defined(CHECK_ADDRESS) || defined(CHECK_RACES)
    return 1;  // see __shared__ in cuda.h, and run_blocks
#else
    const char *wish = getenv("MINISRGAN_THREADS");
    if (wish && atoi(wish) > 0) return std::min(atoi(wish), 1024);
#ifdef __linux__
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set)) return std::max(1, CPU_COUNT(&set));
#endif
    return std::max(1u, std::thread::hardware_concurrency());
#endif
}

// The thread that calls a launch works too, as worker 0. The others spin for a moment after each launch, since another
// launch is likely to follow at once. Then they sleep.
class Pool {
public:
    Pool() : size(count_threads()), workers(size) {
        for (int i = 1; i < size; ++i) std::thread(&Pool::serve, this, &workers[i]).detach();
    }

    void run(Launch *launch) {
        if (launch->blocks > 1 && size > 1) open(launch);
        run_blocks(&workers[0], launch);
        if (launch->blocks > 1 && size > 1) close();
    }

    const int size;

private:
    // The launch is open for workers while `ticket` is odd. A worker first counts itself in and then looks
    // whether the launch is still open; the caller first closes it and then waits for the count to be zero.
    // So it waits for no worker that has not joined: a small launch does not wait until sleeping workers wake up.
    void open(Launch *launch) {
        open_launch = launch;
        ticket.fetch_add(1);
        if (sleeping.load()) {
            std::lock_guard<std::mutex> hold(lock);
            wake.notify_all();
        }
    }

    void close() {
        ticket.fetch_add(1);
        for (int i = 0; busy.load(); ++i) {
            pause_processor();
            if (i > 1000) std::this_thread::yield();  // more threads than processors: let the other one work
        }
    }

    void serve(Worker *w) {
        for (unsigned long long seen = 0;; seen = wait_for_other_ticket(seen)) {
            if (seen % 2 == 0) continue;
            busy.fetch_add(1);
            if (ticket.load() == seen) run_blocks(w, open_launch);
            busy.fetch_sub(1);
        }
    }

    unsigned long long wait_for_other_ticket(unsigned long long seen) {
        auto patience = std::chrono::steady_clock::now() + std::chrono::microseconds(50);
        do {
            for (int i = 0; i < 32; ++i) {
                unsigned long long now = ticket.load(std::memory_order_acquire);
                if (now != seen) return now;
                pause_processor();
            }
        } while (std::chrono::steady_clock::now() < patience);
        std::unique_lock<std::mutex> hold(lock);
        sleeping.fetch_add(1);
        wake.wait(hold, [&] { return ticket.load() != seen; });
        sleeping.fetch_sub(1);
        return ticket.load();
    }

    std::vector<Worker> workers;
    Launch *open_launch = nullptr;
    std::atomic<unsigned long long> ticket{0};
    std::atomic<int> busy{0}, sleeping{0};
    std::mutex lock;
    std::condition_variable wake;
};

// Threads do not survive a fork: the child makes a pool of its own. Neither pool is ever destroyed, since
// its threads may outlive any destructor.
Pool *pool_of_process = nullptr;
std::mutex *launching = new std::mutex;

Pool *pool() {
    static int once = pthread_atfork(nullptr, nullptr, [] {
        pool_of_process = nullptr;
        launching = new std::mutex;
    });
    (void)once;
    if (!pool_of_process) {
        if (const char *wish = getenv("MINISRGAN_ORDER")) order_of_threads = atoi(wish);
        if (const char *wish = getenv("MINISRGAN_POISON")) cuda_poison = atoi(wish);
        if (const char *wish = getenv("MINISRGAN_LATE_COPIES")) cuda_late_copies = atoi(wish);
        pool_of_process = new Pool;
    }
    return pool_of_process;
}

}  // namespace

// ---- What Python calls ----------------------------------------------------------------------------------

extern "C" int cuda_launch(const char *name, void (*run_thread)(void **), void *(*find_shared)(),
                           const unsigned grid[3], const unsigned block[3], unsigned shared_bytes, void **args) {
    std::lock_guard<std::mutex> hold(*launching);
    long long threads = 1LL * block[0] * block[1] * block[2];
    if (threads < 1 || threads > MAX_THREADS || !grid[0] || !grid[1] || !grid[2] || grid[1] > 65535 || grid[2] > 65535) {
        snprintf(error_text, sizeof error_text, "%s: CUDA has no grid of (%u, %u, %u) blocks of (%u, %u, %u) threads", name,
                 grid[0], grid[1], grid[2], block[0], block[1], block[2]);
        return 1;
    }
    Launch launch = {name,
                     run_thread,
                     find_shared,
                     args,
                     {grid[0], grid[1], grid[2]},
                     {block[0], block[1], block[2]},
                     shared_bytes,
                     1LL * grid[0] * grid[1] * grid[2],
                     {0},
                     {false}};
    __tsan_release(&launch_start);
    pool()->run(&launch);
    __tsan_acquire(&launch_end);
    return launch.failed;
}

// Says why the last failed launch failed.
extern "C" const char *kernel_error() { return error_text; }

// How many operating-system threads share a grid.
extern "C" int kernel_threads() {
    std::lock_guard<std::mutex> hold(*launching);
    return pool()->size;
}

// The order in which the CUDA threads of a block take their turns: 0 forward, 1 reversed, 2 shuffled. With 1 the blocks
// of a grid are reversed too.
extern "C" void kernel_set_order(int order) {
    std::lock_guard<std::mutex> hold(*launching);
    pool();
    order_of_threads = order;
}

// 1: shared memory is filled with NaN before each block.
extern "C" void kernel_set_poison(int on) {
    std::lock_guard<std::mutex> hold(*launching);
    pool();
    cuda_poison = on;
}

// 1: asynchronous copies happen when their thread waits for them, not when it asks for them.
extern "C" void kernel_set_late_copies(int on) {
    std::lock_guard<std::mutex> hold(*launching);
    pool();
    cuda_late_copies = on;
}
