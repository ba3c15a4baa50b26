// CUDA's driver and runtime on the CPU: memory, streams, events, capture, graphs, modules, launches.
//
// Everything happens at once, in the order of the calls. Device memory lies elsewhere than its
// addresses say (at +DELTA): a device pointer that the host dereferences is a crash, as on a GPU.
#include "emulator.h"

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cerrno>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "module.h"

namespace emulator {

using Lock = std::lock_guard<std::recursive_mutex>;
std::recursive_mutex &mutex() {
    static auto *m = new std::recursive_mutex;
    return *m;
}

long setting(const char *name, long otherwise) {
    const char *s = getenv(name);
    return s && *s ? atol(s) : otherwise;
}
int device_count() { static int n = (int)std::clamp(setting("CUDA_ON_CPU_DEVICES", 1), 0l, 64l); return n; }
int capability() { static int n = (int)setting("CUDA_ON_CPU_CAPABILITY", 80); return n; }
size_t device_memory() { static size_t n = (size_t)setting("CUDA_ON_CPU_MEMORY_MIB", 16384) << 20; return n; }
bool verbose() { static bool v = setting("CUDA_ON_CPU_VERBOSE", 0); return v; }
void say(const char *f, ...) {
    va_list list;
    va_start(list, f);
    fprintf(stderr, "CUDA emulated on the CPU: ");
    vfprintf(stderr, f, list);
    fprintf(stderr, "\n");
    va_end(list);
}

// ---- what is counted -----------------------------------------------------------------------------
//
// Work is counted when the stream is told to do it, the work of a graph when the graph is launched.
// What is captured is not done, and not counted. `CALL`: whatever the host asks of a device.

std::atomic<uint64_t> counters[COUNTERS];
void count(Counter counter) { ++counters[counter]; }
void host_waits() {
    count(CALL);
    count(SYNCHRONIZATION);
}

// ---- errors --------------------------------------------------------------------------------------

thread_local cudaError_t last_error = cudaSuccess;
std::atomic<int> sticky{0};  // after an illegal access the context is lost, as on a GPU

cudaError_t failed(cudaError_t e) {
    if (e) last_error = e;
    return e;
}

struct ErrorName { int code; const char *name, *text; };
const ErrorName NAMES[] = {
    {0, "cudaSuccess", "no error"},
    {1, "cudaErrorInvalidValue", "invalid argument"},
    {2, "cudaErrorMemoryAllocation", "out of memory"},
    {3, "cudaErrorInitializationError", "initialization error"},
    {9, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {13, "cudaErrorInvalidSymbol", "invalid device symbol"},
    {100, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {101, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {201, "cudaErrorDeviceUninitialized", "invalid device context"},
    {209, "cudaErrorNoKernelImageForDevice", "no kernel image is available for execution on the device"},
    {218, "cudaErrorInvalidPtx", "a PTX JIT compilation failed"},
    {400, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {401, "cudaErrorIllegalState", "the operation cannot be performed in the present state"},
    {500, "cudaErrorSymbolNotFound", "named symbol not found"},
    {600, "cudaErrorNotReady", "device not ready"},
    {700, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {701, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
    {704, "cudaErrorPeerAccessAlreadyEnabled", "peer access is already enabled"},
    {705, "cudaErrorPeerAccessNotEnabled", "peer access has not been enabled"},
    {709, "cudaErrorContextIsDestroyed", "context is destroyed"},
    {710, "cudaErrorAssert", "device-side assert triggered"},
    {712, "cudaErrorHostMemoryAlreadyRegistered", "part or all of the requested memory range is already mapped"},
    {713, "cudaErrorHostMemoryNotRegistered", "pointer does not correspond to a registered memory region"},
    {719, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {800, "cudaErrorNotPermitted", "operation not permitted"},
    {801, "cudaErrorNotSupported", "operation not supported"},
    {900, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    {901, "cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"},
    {902, "cudaErrorStreamCaptureMerge", "operation would result in a merge of separate capture sequences"},
    {903, "cudaErrorStreamCaptureUnmatched", "capture was not ended in the same stream as it began"},
    {904, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {905, "cudaErrorStreamCaptureIsolation", "dependency created on uncaptured work in another stream"},
    {906, "cudaErrorStreamCaptureImplicit", "operation would make the legacy stream depend on a capturing blocking stream"},
    {907, "cudaErrorCapturedEvent", "operation not permitted on an event last recorded in a capturing stream"},
    {908, "cudaErrorStreamCaptureWrongThread", "attempt to terminate a thread-local capture sequence from another thread"},
    {999, "cudaErrorUnknown", "unknown error"},
};
const ErrorName &named(int code) {
    for (auto &n : NAMES)
        if (n.code == code) return n;
    return NAMES[std::size(NAMES) - 1];
}

// ---- memory --------------------------------------------------------------------------------------

struct Allocation {
    size_t size;
    int device;
    int kind;  // cudaMemoryTypeDevice, ...Host, ...Managed
    void *pool;
};
std::map<uint64_t, Allocation> &allocations() { static auto *m = new std::map<uint64_t, Allocation>; return *m; }
std::map<uint64_t, size_t> &holes() { static auto *m = new std::map<uint64_t, size_t>; return *m; }  // free parts of the arena
size_t used[64];
bool arena_ready = false;
constexpr size_t PAGE = 4096;

// The same pages twice: at their addresses, closed but while a kernel runs; and behind, for copies.
bool prepare_arena() {
    if (arena_ready) return true;
    const int fd = memfd_create("cuda_on_cpu", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, ARENA_SIZE)) {
        say("no memory file for the device's memory");
        return false;
    }
    void *front = mmap((void *)ARENA, ARENA_SIZE, PROT_NONE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, fd, 0);
    void *back = mmap((void *)(ARENA + DELTA), ARENA_SIZE, PROT_NONE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, fd, 0);
    close(fd);
    if (front != (void *)ARENA || back != (void *)(ARENA + DELTA)) {
        say("the addresses for device memory are taken");
        return false;
    }
    madvise(front, ARENA_SIZE, MADV_DONTFORK);
    madvise(back, ARENA_SIZE, MADV_DONTFORK);
    pthread_atfork(nullptr, nullptr, [] { sticky = cudaErrorInitializationError; });  // as on a GPU
    holes()[ARENA + (1ul << 30)] = ARENA_SIZE - (1ul << 30);
    arena_ready = true;
    return true;
}

cudaError_t allocate(void **out, size_t size, int device, void *pool) {
    Lock lock(mutex());
    if (!size) { *out = nullptr; return cudaSuccess; }
    if (!prepare_arena()) return cudaErrorInitializationError;
    if (used[device] + size > device_memory()) return cudaErrorMemoryAllocation;
    const size_t whole = (size + PAGE - 1) / PAGE * PAGE + PAGE;  // a page that is never accessible behind it
    for (auto it = holes().begin(); it != holes().end(); ++it) {
        if (it->second < whole) continue;
        const uint64_t at = it->first;
        const size_t rest = it->second - whole;
        holes().erase(it);
        if (rest) holes()[at + whole] = rest;
        if (mprotect((void *)(at + DELTA), whole - PAGE, PROT_READ | PROT_WRITE)) return cudaErrorMemoryAllocation;
        // A GPU's memory is not zero: what reads it before writing must not pass.
        if (size <= (64ul << 20)) memset((void *)(at + DELTA), 0xcd, size);
        allocations()[at] = {size, device, cudaMemoryTypeDevice, pool};
        used[device] += size;
        *out = (void *)at;
        return cudaSuccess;
    }
    return cudaErrorMemoryAllocation;
}

cudaError_t release(void *p) {
    Lock lock(mutex());
    if (!p) return cudaSuccess;
    auto it = allocations().find((uint64_t)p);
    if (it == allocations().end() || it->second.kind == cudaMemoryTypeHost) return cudaErrorInvalidValue;
    if (it->second.kind == cudaMemoryTypeManaged) {
        munmap(p, it->second.size);
        allocations().erase(it);
        return cudaSuccess;
    }
    const uint64_t at = it->first;
    const size_t whole = (it->second.size + PAGE - 1) / PAGE * PAGE + PAGE;
    used[it->second.device] -= it->second.size;
    allocations().erase(it);
    madvise((void *)(at + DELTA), whole - PAGE, MADV_REMOVE);
    mprotect((void *)(at + DELTA), whole - PAGE, PROT_NONE);
    auto next = holes().emplace(at, whole).first;
    auto after = std::next(next);
    if (after != holes().end() && next->first + next->second == after->first) {
        next->second += after->second;
        holes().erase(after);
    }
    if (next != holes().begin()) {
        auto before = std::prev(next);
        if (before->first + before->second == next->first) {
            before->second += next->second;
            holes().erase(next);
        }
    }
    return cudaSuccess;
}

// The allocation around an address.
bool find(const void *p, uint64_t &start, Allocation &a) {
    Lock lock(mutex());
    auto it = allocations().upper_bound((uint64_t)p);
    if (it == allocations().begin()) return false;
    --it;
    if ((uint64_t)p >= it->first + std::max<size_t>(1, it->second.size)) return false;
    start = it->first;
    a = it->second;
    return true;
}

bool inside(const void *p, size_t n) {
    if (!on_device(p)) return true;
    uint64_t start;
    Allocation a;
    return find(p, start, a) && (uint64_t)p + n <= start + a.size;
}

// Device, pinned or managed memory: what a kernel may read.
bool reachable(const void *p, size_t n) {
    uint64_t start;
    Allocation a;
    return find(p, start, a) && (uint64_t)p + n <= start + a.size;
}

// ---- streams, capture, graphs ---------------------------------------------------------------------

struct Node {
    std::string what;
    Counter kind;
    std::function<void()> work;
};
struct Graph {
    std::vector<Node> nodes;
    std::vector<void *> owned;
};
struct Capture {
    Graph *graph = new Graph;
    void *origin;
    cudaStreamCaptureMode mode;
    std::thread::id thread;
    std::set<void *> members, unjoined;
    bool invalid = false;
    unsigned long long id;
};
struct Stream {
    unsigned flags = 0;
    int priority = 0, device = 0;
    std::shared_ptr<Capture> capture;
    // Lazily (CUDA_ON_CPU_LAZY=1): what was told to the stream and not done yet, and counts of both.
    std::deque<std::function<void()>> queue;
    uint64_t told = 0, done = 0;
};
struct Moment {  // a place in the queue of a stream
    Stream *stream = nullptr;
    uint64_t told = 0;
    std::chrono::steady_clock::time_point when;
    bool passed = false;
};
struct Event {
    unsigned flags = 0;
    std::shared_ptr<Moment> moment;
    std::weak_ptr<Capture> capture;
    bool captured = false;
    void *stream = nullptr;
};
struct Executable {
    std::vector<Node> nodes;
};

thread_local int current_device = 0;
thread_local bool has_context = false;  // as the driver sees it: from the first use of the runtime on
std::set<Stream *> &streams() { static auto *s = new std::set<Stream *>; return *s; }
std::set<std::shared_ptr<Capture>> &captures() { static auto *s = new std::set<std::shared_ptr<Capture>>; return *s; }
Stream *per_thread() { thread_local Stream *s = new Stream; return s; }

bool legacy(void *s) { return s == nullptr || s == (void *)1; }
Stream *stream_of(void *s) {
    if (legacy(s)) return nullptr;
    if (s == (void *)2) return per_thread();
    return (Stream *)s;
}

// ---- work that waits until somebody waits for it ----------------------------------------------------
//
// A GPU may do what it was told as late as the next wait for it. Lazily, the emulator always does: what
// reads a result without waiting reads what was there before, every time.

bool lazy() { static bool v = setting("CUDA_ON_CPU_LAZY", 0); return v; }
std::recursive_mutex &doing() { static auto *m = new std::recursive_mutex; return *m; }
Stream *null_stream(int device) {
    static Stream *all[64];
    Lock lock(mutex());
    if (!all[device]) {
        all[device] = new Stream;
        all[device]->device = device;
        streams().insert(all[device]);
    }
    return all[device];
}
// The stream's queue, the legacy stream's too.
Stream *queue_of(void *s) {
    Stream *x = stream_of(s);
    if (x == per_thread()) { Lock lock(mutex()); streams().insert(x); }
    return x ? x : null_stream(current_device);
}
bool is_null(Stream *s) { return s == null_stream(s->device); }
// Using such a stream is undefined in CUDA, which may say so or crash; here it always says so.
bool destroyed(Stream *s) { return s && s != per_thread() && !streams().count(s); }

void drain(Stream *s, uint64_t upto) {
    if (!lazy()) return;
    Lock order(doing());
    for (;;) {
        std::function<void()> work;
        {
            Lock lock(mutex());
            if (!streams().count(s) || s->done >= upto || s->queue.empty()) return;
            work = std::move(s->queue.front());
            s->queue.pop_front();
        }
        work();
        Lock lock(mutex());
        ++s->done;  // after the work: who asks meanwhile must not be told that it is done
    }
}
void drain(Stream *s) { drain(s, ~0ull); }
void drain_all() {
    if (!lazy()) return;
    std::vector<Stream *> all;
    {
        Lock lock(mutex());
        all.assign(streams().begin(), streams().end());
    }
    for (auto *s : all) drain(s);
}
// Told to a stream: the legacy stream and the blocking ones wait for each other.
void tell(Stream *s, std::function<void()> work) {
    Lock lock(mutex());
    auto after = [&](Stream *other) {
        if (other == s || other->device != s->device || other->done == other->told) return;
        const uint64_t told = other->told;
        s->queue.push_back([=] { drain(other, told); });
        ++s->told;
    };
    if (is_null(s)) {
        for (auto *other : streams())
            if (!(other->flags & cudaStreamNonBlocking)) after(other);
    } else if (!(s->flags & cudaStreamNonBlocking)) {
        after(null_stream(s->device));
    }
    s->queue.push_back(std::move(work));
    ++s->told;
}

bool is_capturing(void *s) {
    Lock lock(mutex());
    Stream *stream = stream_of(s);
    return stream && stream->capture;
}

void invalidate(const std::shared_ptr<Capture> &c) { c->invalid = true; }

// Work on the legacy stream while a blocking stream captures; calls that may synchronize.
cudaError_t implicit(const char *what) {
    for (auto &c : captures())
        for (void *m : c->members)
            if (!(stream_of(m)->flags & cudaStreamNonBlocking)) {
                invalidate(c);
                if (verbose()) say("%s on the legacy stream while a stream is capturing", what);
                return cudaErrorStreamCaptureImplicit;
            }
    return cudaSuccess;
}

int unsafe(const char *what) {
    Lock lock(mutex());
    cudaError_t e = cudaSuccess;
    for (auto &c : captures()) {
        if (c->mode == cudaStreamCaptureModeRelaxed) continue;
        if (c->mode == cudaStreamCaptureModeThreadLocal && c->thread != std::this_thread::get_id()) continue;
        invalidate(c);
        e = cudaErrorStreamCaptureUnsupported;
        if (verbose()) say("%s while a stream is capturing", what);
    }
    return e;
}

int on_stream(void *s, const char *what, Counter kind, std::function<void()> work) {
    std::shared_ptr<Capture> capture;
    {
        Lock lock(mutex());
        if (sticky) return sticky;
        Stream *stream = stream_of(s);
        if (destroyed(stream)) return cudaErrorInvalidResourceHandle;
        if (!stream) {
            if (cudaError_t e = implicit(what)) return e;
        } else {
            capture = stream->capture;
        }
        if (capture) {
            if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
            capture->graph->nodes.push_back({what, kind, std::move(work)});
            if (s != capture->origin) capture->unjoined.insert(s);
            return cudaSuccess;
        }
    }
    count(CALL);
    count(kind);
    if (lazy()) {
        tell(queue_of(s), std::move(work));
        return cudaSuccess;
    }
    work();
    return sticky;
}

// ---- kernels -------------------------------------------------------------------------------------
//
// A kernel's body begins one thread of the block after the other and runs each to its end, as a plain
// loop. A thread that has to wait for others (a barrier, a shuffle) keeps the stack it runs on; the loop
// goes on, on another stack, with the next thread.

extern "C" void cuda_on_cpu_switch(void **save, void *to);
asm(R"(
.text
.globl cuda_on_cpu_switch
.type cuda_on_cpu_switch,@function
cuda_on_cpu_switch:
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
.size cuda_on_cpu_switch,.-cuda_on_cpu_switch
)");

struct Barrier {
    uint32_t arrived = 0, generation = 0, value = 0, results[2] = {0, 0};
};
struct WarpBarrier {
    uint32_t mask = 0, arrived = 0, generation = 0;
    uint64_t slots[2][32];
    uint32_t present[2] = {0, 0};
};
struct Warp {
    uint32_t alive = 0;
    std::vector<std::unique_ptr<WarpBarrier>> barriers;
};
struct Fiber {
    void *sp = nullptr;
    bool done = false;
    const uint32_t *wait_on = nullptr;
    uint32_t wait_value = 0;
    Three thread;
    uint32_t linear = 0;
};
struct Block {
    Three index;
    uint32_t next = 0, waiting = 0, alive = 0;
    bool finished = false;
    std::vector<Fiber *> fibers;
    std::vector<Warp> warps;
    Barrier barrier;
    std::vector<uint8_t> fixed, memory;  // copies of what is shared, where blocks take turns
    unsigned char *dynamic = nullptr;
};
struct Launching {
    void (*body)(unsigned char *);
    uint8_t *parameters;
    void *scheduler;
    State *state;
    Block *block = nullptr;
    Fiber *running = nullptr;
    uint64_t progress = 0;
    bool cooperative = false, synchronizes = false;
    Barrier grid;
    uint64_t blocks = 1;
};
thread_local Launching *launching = nullptr;
thread_local sigjmp_buf escape;
thread_local volatile bool in_kernel = false;
thread_local const char *kernel_name = "";
thread_local std::string trap_text;

// The first time that a thread of the block waits: until then, threads ran one after the other.
void waits() {
    State &s = *launching->state;
    if (s.barriers) return;
    s.barriers = 1;
    Block &b = *launching->block;
    b.alive = s.total - s.linear;
    b.warps.resize((s.total + 31) / 32);
    for (uint32_t t = s.linear; t < s.total; ++t) b.warps[t / 32].alive |= 1u << (t % 32);
}
void yield() {
    Fiber *f = launching->running;
    f->thread = launching->state->thread;
    f->linear = launching->state->linear;
    cuda_on_cpu_switch(&f->sp, launching->scheduler);
}
void wait_for(const uint32_t &generation, uint32_t value) {
    Fiber *f = launching->running;
    while (generation == value) {
        f->wait_on = &generation;
        f->wait_value = value;
        yield();
    }
    f->wait_on = nullptr;
}

uint32_t barrier_step(int op, uint32_t value) {
    waits();
    Block &block = *launching->block;
    Barrier &b = block.barrier;
    if (!b.arrived) b.value = op == 1 ? 1 : 0;
    if (op == 0) b.value += value;
    else if (op == 1) b.value &= value;
    else if (op == 2) b.value |= value;
    ++b.arrived;
    const uint32_t mine = b.generation;
    if (b.arrived >= block.alive) {
        b.arrived = 0;
        b.results[mine & 1] = b.value;
        ++b.generation;
        ++launching->progress;
    } else {
        wait_for(b.generation, mine);
    }
    return b.results[mine & 1];
}

WarpBarrier &warp_barrier(uint32_t mask) {
    waits();
    Warp &w = launching->block->warps[launching->state->linear / 32];
    for (auto &b : w.barriers)
        if (b->mask == mask) return *b;
    w.barriers.push_back(std::make_unique<WarpBarrier>());
    w.barriers.back()->mask = mask;
    return *w.barriers.back();
}
// Leaves the value for the others, waits for them; returns which of the two sets of slots to read.
int warp_step(WarpBarrier &b, uint64_t value) {
    const uint32_t lane = launching->state->linear % 32;
    Warp &w = launching->block->warps[launching->state->linear / 32];
    const uint32_t mine = b.generation;
    const int side = mine & 1;
    if (!b.arrived) b.present[side] = 0;
    b.slots[side][lane] = value;
    b.present[side] |= 1u << lane;
    b.arrived |= 1u << lane;
    const uint32_t needed = (b.mask & w.alive) | (1u << lane);
    if ((b.arrived & needed) == needed) {
        b.arrived = 0;
        ++b.generation;
        ++launching->progress;
    } else {
        wait_for(b.generation, mine);
    }
    return side;
}

static void rt_bar() { barrier_step(3, 0); }
static uint32_t rt_bar_red(int op, uint32_t value) { return barrier_step(op, value); }
static void rt_warp(uint32_t mask) { warp_step(warp_barrier(mask), 0); }
static uint64_t rt_shfl(int mode, uint64_t value, uint32_t b, uint32_t width, uint32_t mask, uint8_t *inside) {
    WarpBarrier &w = warp_barrier(mask);
    const int side = warp_step(w, value);
    const uint32_t lane = launching->state->linear % 32, bound = mode == 0 ? 0 : 31, segment = (32 - width) & 31;
    b &= 31;
    const uint32_t high = (lane & segment) | (bound & ~segment), low = lane & segment;
    int64_t from;
    bool ok;
    switch (mode) {
        case 0: from = (int64_t)lane - b; ok = from >= (int64_t)high; break;
        case 1: from = lane + b; ok = from <= high; break;
        case 2: from = lane ^ b; ok = from <= high; break;
        default: from = low | (b & ~segment); ok = from <= high;
    }
    if (!ok) from = lane;
    *inside = ok;
    if (!(w.present[side] >> from & 1)) return value;
    return w.slots[side][from];
}
static uint32_t rt_vote(int mode, uint32_t predicate, uint32_t mask) {
    WarpBarrier &w = warp_barrier(mask);
    const int side = warp_step(w, predicate ? 1 : 0);
    uint32_t ballot = 0;
    for (int k = 0; k < 32; ++k)
        if ((w.present[side] & mask) >> k & 1 && w.slots[side][k]) ballot |= 1u << k;
    const uint32_t members = w.present[side] & mask;
    switch (mode) {
        case 0: return ballot == members;
        case 1: return ballot != 0;
        case 2: return ballot == 0 || ballot == members;
    }
    return ballot;
}
static uint32_t rt_match(int mode, uint64_t value, uint32_t mask, uint8_t *all) {
    WarpBarrier &w = warp_barrier(mask);
    const int side = warp_step(w, value);
    uint32_t same = 0;
    const uint32_t members = w.present[side] & mask;
    for (int k = 0; k < 32; ++k)
        if (members >> k & 1 && w.slots[side][k] == value) same |= 1u << k;
    *all = same == members;
    return mode == 1 && same != members ? 0 : same;
}
static uint32_t rt_activemask() {
    const State &s = *launching->state;
    if (!launching->synchronizes) return 1u << (s.linear % 32);
    waits();
    return launching->block->warps[s.linear / 32].alive;
}
static void rt_pause() {
    waits();
    yield();
}
static void rt_trap(const char *why) {
    trap_text = why ? why : "trap";
    siglongjmp(escape, 2);
}
static void rt_grid() {
    Launching &l = *launching;
    const uint32_t mine = l.grid.generation;
    barrier_step(3, 0);
    if (l.blocks == 1) return;
    if (l.state->linear == 0 && ++l.grid.arrived >= l.blocks) {
        l.grid.arrived = 0;
        ++l.grid.generation;
        ++l.progress;
    } else {
        wait_for(l.grid.generation, mine);
    }
}
static void rt_ended() {
    Block &block = *launching->block;
    const State &s = *launching->state;
    --block.alive;
    Warp &w = block.warps[s.linear / 32];
    w.alive &= ~(1u << (s.linear % 32));
    ++launching->progress;
    Barrier &b = block.barrier;
    if (b.arrived && b.arrived >= block.alive) {
        b.arrived = 0;
        b.results[b.generation & 1] = b.value;
        ++b.generation;
    }
    for (auto &x : w.barriers) {
        const uint32_t needed = x->mask & w.alive;
        if (x->arrived && (x->arrived & needed) == needed) {
            x->arrived = 0;
            ++x->generation;
        }
    }
}
const Runtime RUNTIME = {rt_bar, rt_bar_red, rt_warp, rt_shfl, rt_vote, rt_match, rt_activemask, rt_pause, rt_trap, rt_grid, rt_ended};

// Fibers and their stacks, kept from launch to launch. One set for all threads of the host, as one
// kernel runs at a time: with a set for each, a thread that ended left a thousand mappings behind, and
// the process ran out of them.
struct Fibers {
    static constexpr size_t STACK = 512 << 10;
    std::vector<std::unique_ptr<Fiber>> all;
    std::vector<char *> stacks;
    size_t used = 0;
    Fiber *get() {
        if (used == all.size()) {
            char *p = (char *)mmap(nullptr, STACK + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (p == MAP_FAILED || mprotect(p, PAGE, PROT_NONE)) {
                say("no memory for the stack of a thread of a kernel: %s", strerror(errno));
                abort();
            }
            stacks.push_back(p);
            all.push_back(std::make_unique<Fiber>());
        }
        Fiber *f = all[used].get();
        char *stack = stacks[used++];
        *f = Fiber();
        void **sp = (void **)(stack + PAGE + STACK - used % 61 * 192);  // not all in the same sets of the cache
        *--sp = nullptr;
        *--sp = (void *)main;
        for (int k = 0; k < 6; ++k) *--sp = nullptr;
        f->sp = sp;
        return f;
    }
    static void main() {
        Launching &l = *launching;
        l.body(l.parameters);
        l.running->done = true;
        void *unused;
        cuda_on_cpu_switch(&unused, l.scheduler);
        __builtin_unreachable();
    }
};
Fibers &fibers = *new Fibers;  // never deleted: a daemon thread may compute until the process ends

struct Dim { uint32_t x, y, z; };

struct Function;
struct Module {
    void *handle = nullptr;
    Compiled *compiled = nullptr;
    std::map<std::string, std::unique_ptr<Function>> functions;
    int device = 0;
};
struct Function {
    Module *module;
    const Kernel *kernel;
    std::string name;
    size_t shared_bytes = 0, parameter_bytes = 0;
    int max_dynamic = 49152;
    int carveout = -1;
};

// Device memory that the kernel reaches by an address that is no argument: a pointer that it read. It is
// opened where it is, and closed behind the launch, for the host must not reach it.
std::vector<std::pair<uint64_t, size_t>> opened;
bool open_memory(uint64_t a) {
    auto it = allocations().upper_bound(a);
    if (it == allocations().begin()) return false;
    --it;
    if (a - ARENA >= ARENA_SIZE || a >= it->first + (it->second.size + PAGE - 1) / PAGE * PAGE) return false;
    for (auto &o : opened)
        if (o.first == it->first) return false;
    const size_t size = (it->second.size + PAGE - 1) / PAGE * PAGE;
    if (mprotect((void *)it->first, size, PROT_READ | PROT_WRITE)) {
        char text[128];  // inside a signal handler
        const int n = snprintf(text, sizeof text, "CUDA emulated on the CPU: mprotect failed (errno %d)\n", errno);
        (void)!::write(2, text, n);
        return false;
    }
    opened.push_back({it->first, size});
    return true;
}
void close_memory() {
    for (auto &o : opened) mprotect((void *)o.first, o.second, PROT_NONE);
    opened.clear();
}

// What the arguments point at is given to the kernel where it really lies.
void translate(const Kernel &k, uint8_t *parameters) {
    for (int n = 0; n < k.parameters; ++n) {
        if (!k.kinds[n]) continue;
        for (uint32_t at = (k.offsets[n] + 7) / 8 * 8; at + 8 <= k.offsets[n] + k.sizes[n]; at += 8) {
            uint64_t word, start;
            Allocation a;
            memcpy(&word, parameters + at, 8);
            if (word - ARENA >= ARENA_SIZE || !find((void *)word, start, a)) continue;
            word += DELTA;
            memcpy(parameters + at, &word, 8);
        }
    }
}

// An integer division that x86 does not do: by zero the quotient has all bits set, as on a GPU.
bool divided(ucontext_t *u) {
    auto *r = u->uc_mcontext.gregs;
    const uint8_t *p = (const uint8_t *)r[REG_RIP];
    bool small = false;
    uint8_t rex = 0;
    while (*p == 0x66 || *p == 0x67 || *p == 0xf2 || *p == 0xf3) small = small || *p++ == 0x66;
    if ((*p & 0xf0) == 0x40) rex = *p++;
    const uint8_t op = *p++;
    if (op != 0xf6 && op != 0xf7) return false;
    const uint8_t m = *p++, mod = m >> 6, reg = (m >> 3) & 7, rm = m & 7;
    if (reg != 6 && reg != 7) return false;
    static const int names[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    const int bits = op == 0xf6 ? 8 : rex & 8 ? 64 : small ? 16 : 32;
    const uint64_t low = bits == 64 ? ~0ull : (1ull << bits) - 1;
    bool zero = true;
    if (mod == 3) {
        zero = !((uint64_t)r[names[rm + (rex & 1 ? 8 : 0)]] & low);
    } else {
        if (rm == 4) { const uint8_t sib = *p++; if (mod == 0 && (sib & 7) == 5) p += 4; }
        else if (mod == 0 && rm == 5) p += 4;
        if (mod == 1) p += 1;
        if (mod == 2) p += 4;
        zero = !(reg == 7 && ((uint64_t)r[REG_RAX] & low) == 1ull << (bits - 1) && ((uint64_t)r[REG_RDX] & low) == low);
    }
    if (bits == 8) {
        const uint64_t a = (uint64_t)r[REG_RAX];
        r[REG_RAX] = (long long)((a & ~0xffffull) | (zero ? (a & 0xff) << 8 | 0xff : 0x80));
    } else {
        const uint64_t a = (uint64_t)r[REG_RAX] & low, quotient = zero ? low : 1ull << (bits - 1), rest = zero ? a : 0;
        if (bits == 16) {
            r[REG_RAX] = (long long)(((uint64_t)r[REG_RAX] & ~low) | quotient);
            r[REG_RDX] = (long long)(((uint64_t)r[REG_RDX] & ~low) | rest);
        } else {
            r[REG_RAX] = (long long)quotient;
            r[REG_RDX] = (long long)rest;
        }
    }
    r[REG_RIP] = (long long)p;
    return true;
}

constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE};
struct sigaction before[3];

void fault(int sig, siginfo_t *info, void *context) {
    if (in_kernel) {
        if (sig == SIGFPE && divided((ucontext_t *)context)) return;
        if (sig == SIGSEGV && open_memory((uint64_t)info->si_addr)) return;
        char text[256];
        const uint64_t a = (uint64_t)info->si_addr;
        const int n = snprintf(text, sizeof text, "CUDA emulated on the CPU: kernel %.100s reads or writes what it must not: %#lx\n", kernel_name, (long)(a - ARENA - DELTA < ARENA_SIZE ? a - DELTA : a));
        (void)!::write(2, text, n);
        siglongjmp(escape, 1);
    }
    for (int k = 0; k < 3; ++k)  // not ours: whoever was here before
        if (SIGNALS[k] == sig) sigaction(sig, &before[k], nullptr);
}

// The stack of the signal handler; it goes with its thread.
struct AlternateStack {
    static constexpr size_t SIZE = 1 << 16;
    void *memory = mmap(nullptr, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    AlternateStack() {
        stack_t s = {};
        s.ss_sp = memory;
        s.ss_size = SIZE;
        sigaltstack(&s, nullptr);
    }
    ~AlternateStack() {
        stack_t now = {}, none = {};
        none.ss_flags = SS_DISABLE;
        if (sigaltstack(nullptr, &now) == 0 && now.ss_sp == memory) sigaltstack(&none, nullptr);
        munmap(memory, SIZE);
    }
};

// A fault inside a kernel is an error code, not the end of the process.
struct Guard {
    uint32_t csr;
    Guard(bool flushes) {
        thread_local AlternateStack stack;
        (void)stack;
        struct sigaction a = {}, old;
        a.sa_sigaction = fault;
        a.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        sigaction(SIGSEGV, &a, &old);
        if (old.sa_sigaction != fault || !(old.sa_flags & SA_SIGINFO)) {
            before[0] = old;
            for (int k = 1; k < 3; ++k) {
                sigaction(SIGNALS[k], &a, &old);
                if (old.sa_sigaction != fault || !(old.sa_flags & SA_SIGINFO)) before[k] = old;
            }
        }
        in_kernel = true;
        csr = __builtin_ia32_stmxcsr();
        __builtin_ia32_ldmxcsr(flushes ? 0x9fc0 : 0x1f80);  // subnormal numbers are zero, or they are not
    }
    ~Guard() {
        __builtin_ia32_ldmxcsr(csr);
        in_kernel = false;
    }
};

void run_fiber(Launching &l, Fiber *f) {
    l.running = f;
    cuda_on_cpu_switch(&l.scheduler, f->sp);
}

// Blocks whose threads wait for each other. False: for ever.
bool run_blocks(Launching &l, std::vector<std::unique_ptr<Block>> &blocks, unsigned char *shared) {
    State &s = *l.state;
    uint64_t seen = ~0ull;
    int idle = 0;
    for (;;) {
        bool open = false, ran = false;
        for (auto &b : blocks) {
            if (b->finished) continue;
            l.block = b.get();
            s.block = b->index;
            s.next = b->next;
            s.barriers = b->waiting;
            s.dynamic = b->dynamic;
            if (!b->fixed.empty()) memcpy(shared, b->fixed.data(), b->fixed.size());
            while (s.next < s.total) {
                Fiber *f = fibers.get();
                ran = true;
                run_fiber(l, f);
                if (!f->done) b->fibers.push_back(f);
            }
            bool left = false;
            for (Fiber *f : b->fibers) {
                if (f->done) continue;
                left = true;
                if (f->wait_on && *f->wait_on == f->wait_value) continue;
                ran = true;
                s.thread = f->thread;
                s.linear = f->linear;
                run_fiber(l, f);
            }
            b->next = s.next;
            b->waiting = s.barriers;
            if (!b->fixed.empty()) memcpy(b->fixed.data(), shared, b->fixed.size());
            b->finished = !left;
            open = open || left;
        }
        if (!open) return true;
        if (!ran) return false;
        idle = l.progress == seen ? idle + 1 : 0;
        seen = l.progress;
        if (idle > 10000000) return false;
    }
}

void run_kernel(Function *f, Dim grid, Dim block, uint32_t dynamic, uint8_t *parameters, bool cooperative) {
    Lock lock(mutex());
    if (sticky) return;
    Compiled &c = *f->module->compiled;
    State &s = *c.state;
    Launching l = {};
    l.body = f->kernel->body;
    l.parameters = parameters;
    l.state = &s;
    l.cooperative = cooperative;
    l.synchronizes = c.flags & SYNCHRONIZES;
    l.blocks = (uint64_t)grid.x * grid.y * grid.z;
    launching = &l;
    kernel_name = f->name.c_str();
    if (verbose()) say("launch %s<<<(%u,%u,%u), (%u,%u,%u), %u>>>", f->name.c_str(), grid.x, grid.y, grid.z, block.x, block.y, block.z, dynamic);
    s = State{};
    s.block_size = {block.x, block.y, block.z};
    s.grid_size = {grid.x, grid.y, grid.z};
    s.total = block.x * block.y * block.z;
    s.dynamic_bytes = dynamic;
    s.rt = &RUNTIME;
    const size_t fixed = c.shared_stop - c.shared_start;
    std::vector<std::unique_ptr<Block>> blocks;
    std::vector<uint8_t> memory;
    translate(*f->kernel, parameters);
    {
        Guard guard(c.flags & FLUSHES);
        const int trouble = sigsetjmp(escape, 0);
        if (trouble == 0) {
            bool fine = true;
            auto aligned = [](std::vector<uint8_t> &m) { return (unsigned char *)(((uint64_t)m.data() + 127) & ~127ul); };
            if (dynamic) memory.assign(dynamic + 128, 0xcd);
            unsigned char *start = dynamic ? aligned(memory) : nullptr;
            auto now = std::make_unique<Block>();
            for (uint32_t z = 0; z < grid.z && fine; ++z)
                for (uint32_t y = 0; y < grid.y && fine; ++y)
                    for (uint32_t x = 0; x < grid.x && fine; ++x) {
                        if (cooperative) {  // all blocks at once
                            auto b = std::make_unique<Block>();
                            b->index = {x, y, z};
                            b->fixed.assign(fixed, 0xcd);
                            b->memory.assign(dynamic + 128, 0xcd);
                            b->dynamic = aligned(b->memory);
                            blocks.push_back(std::move(b));
                            continue;
                        }
                        if (fixed) memset(c.shared_start, 0xcd, fixed);
                        if (dynamic && (x || y || z)) memset(start, 0xcd, dynamic);
                        s.block = {x, y, z};
                        s.thread = {0, 0, 0};
                        s.next = s.barriers = 0;
                        s.dynamic = start;
                        l.block = now.get();
                        fibers.used = 0;
                        Fiber *first = fibers.get();
                        run_fiber(l, first);
                        if (!s.barriers) continue;
                        now->index = s.block;
                        now->next = s.next;
                        now->waiting = 1;
                        now->dynamic = start;
                        if (!first->done) now->fibers.push_back(first);
                        blocks.push_back(std::move(now));
                        now = std::make_unique<Block>();
                        fine = run_blocks(l, blocks, c.shared_start);
                        blocks.clear();
                    }
            if (cooperative) {
                fibers.used = 0;
                fine = run_blocks(l, blocks, c.shared_start);
            }
            if (!fine) {
                say("kernel %s waits for ever: a barrier that not all its threads reach", f->name.c_str());
                sticky = cudaErrorLaunchFailure;
            }
        } else if (trouble == 2) {
            say("kernel %s stopped: %s", f->name.c_str(), trap_text.c_str());
            sticky = trap_text == "trap" ? cudaErrorLaunchFailure : cudaErrorAssert;
        } else {
            sticky = cudaErrorIllegalAddress;
        }
    }
    close_memory();
    if (c.flags & PRINTS) fflush(stdout);
    launching = nullptr;
}

// ---- modules -------------------------------------------------------------------------------------

std::set<Module *> &modules() { static auto *m = new std::set<Module *>; return *m; }

size_t elf_size(const char *image) {
    const auto *e = (const Elf64_Ehdr *)image;
    size_t end = std::max<size_t>(e->e_shoff + (size_t)e->e_shnum * e->e_shentsize, e->e_phoff + (size_t)e->e_phnum * e->e_phentsize);
    const auto *sections = (const Elf64_Shdr *)(image + e->e_shoff);
    for (int k = 0; k < e->e_shnum; ++k)
        if (sections[k].sh_type != SHT_NOBITS) end = std::max<size_t>(end, sections[k].sh_offset + sections[k].sh_size);
    return end;
}

// A module is a shared library that our NVRTC made. Every module has variables of its own: a new file.
CUresult load(CUmodule *out, const char *image) {
    Lock lock(mutex());
    if (sticky) return (CUresult)sticky.load();
    if (memcmp(image, ELFMAG, SELFMAG) || ((const Elf64_Ehdr *)image)->e_machine != EM_X86_64) {
        if (strstr(image, ".version")) say("PTX cannot be run: only CUDA C++ can be compiled for the CPU");
        return strstr(image, ".version") ? CUDA_ERROR_INVALID_PTX : CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    const size_t size = elf_size(image);
    auto module = std::make_unique<Module>();
    int fd = memfd_create("cuda_on_cpu_module", MFD_CLOEXEC);
    static uint64_t count = 0;  // dlopen knows a library by its path: one of its own for each
    std::string path = "/proc/self/fd/", file;
    for (uint64_t n = ++count; n; n >>= 1) path += n & 1 ? "./" : "/";
    path += std::to_string(fd);
    if (fd < 0) {
        const char *tmp = getenv("TMPDIR");
        file = std::string(tmp ? tmp : "/tmp") + "/cuda_on_cpu_XXXXXX";
        fd = mkstemp(file.data());
        path = file;
    }
    for (size_t done = 0; done < size;) {
        const ssize_t n = ::write(fd, image + done, size - done);
        if (n <= 0) { close(fd); return CUDA_ERROR_OUT_OF_MEMORY; }
        done += (size_t)n;
    }
    module->handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    close(fd);
    if (!file.empty()) unlink(file.c_str());
    if (!module->handle) {
        say("%s", dlerror());
        return CUDA_ERROR_INVALID_IMAGE;
    }
    module->compiled = (Compiled *)dlsym(module->handle, "cuda_on_cpu_module");
    if (!module->compiled || module->compiled->version != VERSION) {
        say("a kernel that another version compiled: empty CuPy's cache of kernels");
        return CUDA_ERROR_INVALID_IMAGE;
    }
    Compiled &c = *module->compiled;
    for (uint32_t k = 0; k < c.count; ++k) {
        const Kernel &kernel = c.kernels[k];
        if (kernel.parameters < 0) continue;
        auto f = std::make_unique<Function>();
        // The symbol's name, as on a GPU; the plain one if the function has another symbol.
        Dl_info info;
        const std::string name = kernel.name, plain = name.substr(name.rfind(':') + 1);
        const bool exact = dladdr(kernel.function, &info) && info.dli_sname && info.dli_saddr == kernel.function;
        f->name = exact && !strstr(info.dli_sname, "cuda_on_cpu_kernel_") ? info.dli_sname : plain;
        f->module = module.get();
        f->kernel = &kernel;
        f->shared_bytes = (size_t)(c.shared_stop - c.shared_start);
        f->parameter_bytes = kernel.offsets[kernel.parameters];
        module->functions[f->name] = std::move(f);
    }
    module->device = current_device;
    modules().insert(module.get());
    *out = (CUmodule)module.release();
    return CUDA_SUCCESS;
}

cudaError_t launch(Function *f, Dim grid, Dim block, unsigned shared, void *stream, void **parameters, void **extra, bool cooperative) {
    has_context = true;
    if (sticky) return (cudaError_t)sticky.load();
    const uint64_t threads = (uint64_t)block.x * block.y * block.z;
    if (!f || !grid.x || !grid.y || !grid.z || !threads || grid.y > 65535 || grid.z > 65535 || grid.x > 0x7fffffffu) return cudaErrorInvalidValue;
    if (block.x > 1024 || block.y > 1024 || block.z > 64 || threads > 1024) return cudaErrorInvalidValue;
    if (f->kernel->max_threads && threads > (uint64_t)f->kernel->max_threads) return cudaErrorInvalidValue;
    if (shared > (size_t)std::max(49152, f->max_dynamic)) return cudaErrorInvalidValue;
    if (Stream *s = stream_of(stream); s && s->device != current_device) return cudaErrorInvalidResourceHandle;
    if (f->module->device != current_device) return cudaErrorInvalidResourceHandle;
    auto data = std::make_shared<std::vector<uint64_t>>(f->parameter_bytes / 8 + 2);
    uint8_t *bytes = (uint8_t *)data->data();
    if (parameters) {
        for (int k = 0; k < f->kernel->parameters; ++k) memcpy(bytes + f->kernel->offsets[k], parameters[k], f->kernel->sizes[k]);
    } else if (extra) {
        void *buffer = nullptr;
        size_t size = 0;
        for (size_t k = 0; extra[k]; k += 2) {
            if (extra[k] == CU_LAUNCH_PARAM_BUFFER_POINTER) buffer = extra[k + 1];
            else if (extra[k] == CU_LAUNCH_PARAM_BUFFER_SIZE) size = *(size_t *)extra[k + 1];
        }
        memcpy(bytes, buffer, std::min(size, f->parameter_bytes));
    }
    return (cudaError_t)on_stream(stream, f->name.c_str(), KERNEL, [=] { run_kernel(f, grid, block, shared, (uint8_t *)data->data(), cooperative); });
}

}  // namespace emulator

using namespace emulator;

extern "C" {

#define API __attribute__((visibility("default")))
API void cuda_on_cpu_counts(uint64_t *out) { std::copy_n(counters, COUNTERS, out); }
API void *cuda_on_cpu_host(const void *p) { return (void *)host(p); }
API int cuda_on_cpu_stream_work(void *stream, const char *what, void (*run)(void *), void *state) { return on_stream(stream, what, ALGORITHM, [=] { run(state); }); }
API int cuda_on_cpu_unsupported(const char *name, int status) {
    say("%s is not emulated", name);
    return status;
}

// cuSOLVER and cuSPARSE: handles only.
#define HANDLE(create, destroy, set_stream)                                  \
    API int create(void **h) { *h = malloc(16); return 0; }                  \
    API int destroy(void *h) { free(h); return 0; }                          \
    API int set_stream(void *, void *) { return 0; }
HANDLE(cusolverDnCreate, cusolverDnDestroy, cusolverDnSetStream)
HANDLE(cusolverSpCreate, cusolverSpDestroy, cusolverSpSetStream)
HANDLE(cusparseCreate, cusparseDestroy, cusparseSetStream)
API int cusolverGetProperty(int type, int *v) { *v = type == 0 ? 12 : 0; return 0; }
API const char *cusparseGetErrorName(int) { return "CUSPARSE_STATUS_NOT_SUPPORTED"; }
API const char *cusparseGetErrorString(int) { return "not emulated on the CPU"; }

// ======================================= runtime API ===============================================

#define CHECK_STICKY if (sticky) return failed((cudaError_t)sticky.load())

API const char *cudaGetErrorName(cudaError_t e) { return named(e).name; }
API const char *cudaGetErrorString(cudaError_t e) { return named(e).text; }
API cudaError_t cudaGetLastError() { auto e = last_error; if (!sticky) last_error = cudaSuccess; return e; }
API cudaError_t cudaPeekAtLastError() { return last_error; }
API cudaError_t cudaDriverGetVersion(int *v) { *v = CUDA_VERSION; return cudaSuccess; }
API cudaError_t cudaRuntimeGetVersion(int *v) { *v = CUDA_VERSION; return cudaSuccess; }
API cudaError_t cudaGetDevice(int *d) { *d = current_device; return cudaSuccess; }
API cudaError_t cudaSetDevice(int d) {
    if (d < 0 || d >= device_count()) return failed(cudaErrorInvalidDevice);
    current_device = d;
    has_context = true;
    return cudaSuccess;
}
API cudaError_t cudaGetDeviceCount(int *n) { *n = device_count(); return *n ? cudaSuccess : failed(cudaErrorNoDevice); }
API cudaError_t cudaInitDevice(int d, unsigned, unsigned) { return cudaSetDevice(d); }
API cudaError_t cudaSetDeviceFlags(unsigned) { return cudaSuccess; }
API cudaError_t cudaGetDeviceFlags(unsigned *f) { *f = 0; return cudaSuccess; }
API cudaError_t cudaDeviceReset() { return cudaSuccess; }
API cudaError_t cudaDeviceGetAttribute(int *v, cudaDeviceAttr a, int device) {
    if (device < 0 || device >= device_count()) return failed(cudaErrorInvalidDevice);
    switch ((int)a) {
        case cudaDevAttrMaxThreadsPerBlock: *v = 1024; break;
        case cudaDevAttrMaxBlockDimX: case cudaDevAttrMaxBlockDimY: *v = 1024; break;
        case cudaDevAttrMaxBlockDimZ: *v = 64; break;
        case cudaDevAttrMaxGridDimX: *v = 2147483647; break;
        case cudaDevAttrMaxGridDimY: case cudaDevAttrMaxGridDimZ: *v = 65535; break;
        case cudaDevAttrMaxSharedMemoryPerBlock: *v = 49152; break;
        case cudaDevAttrTotalConstantMemory: *v = 65536; break;
        case cudaDevAttrWarpSize: *v = 32; break;
        case cudaDevAttrMaxPitch: *v = 2147483647; break;
        case cudaDevAttrMaxRegistersPerBlock: case cudaDevAttrMaxRegistersPerMultiprocessor: *v = 65536; break;
        case cudaDevAttrClockRate: *v = 1410000; break;
        case cudaDevAttrTextureAlignment: case cudaDevAttrSurfaceAlignment: *v = 512; break;
        case cudaDevAttrGpuOverlap: *v = 1; break;
        case cudaDevAttrMultiProcessorCount: *v = 2; break;
        case cudaDevAttrCanMapHostMemory: *v = 1; break;
        case cudaDevAttrComputeMode: *v = 0; break;
        case cudaDevAttrConcurrentKernels: *v = 1; break;
        case cudaDevAttrPciBusId: *v = 1 + device; break;
        case cudaDevAttrMemoryClockRate: *v = 1215000; break;
        case cudaDevAttrGlobalMemoryBusWidth: *v = 5120; break;
        case cudaDevAttrL2CacheSize: *v = 1 << 20; break;
        case cudaDevAttrMaxThreadsPerMultiProcessor: *v = 2048; break;
        case cudaDevAttrUnifiedAddressing: *v = 1; break;
        case cudaDevAttrComputeCapabilityMajor: *v = capability() / 10; break;
        case cudaDevAttrComputeCapabilityMinor: *v = capability() % 10; break;
        case cudaDevAttrStreamPrioritiesSupported: *v = 1; break;
        case cudaDevAttrGlobalL1CacheSupported: case cudaDevAttrLocalL1CacheSupported: *v = 1; break;
        case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *v = 167936; break;
        case cudaDevAttrManagedMemory: case cudaDevAttrConcurrentManagedAccess: *v = 1; break;
        case cudaDevAttrSingleToDoublePrecisionPerfRatio: *v = 2; break;
        case cudaDevAttrCooperativeLaunch: *v = 1; break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *v = 166912; break;
        case cudaDevAttrMaxBlocksPerMultiprocessor: *v = 32; break;
        case cudaDevAttrReservedSharedMemoryPerBlock: *v = 1024; break;
        case cudaDevAttrMemoryPoolsSupported: *v = 1; break;
        case cudaDevAttrCanUseHostPointerForRegisteredMem: *v = 1; break;
        case cudaDevAttrMaxTexture1DLinearWidth: *v = 1 << 28; break;
        default: *v = 0;
    }
    return cudaSuccess;
}
API cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device) {
    if (device < 0 || device >= device_count()) return failed(cudaErrorInvalidDevice);
    memset(p, 0, sizeof *p);
    strcpy(p->name, "CUDA emulated on the CPU");
    p->uuid.bytes[0] = 0x43; p->uuid.bytes[15] = (char)device;
    p->totalGlobalMem = device_memory();
    p->sharedMemPerBlock = 49152;
    p->regsPerBlock = 65536;
    p->warpSize = 32;
    p->memPitch = 2147483647;
    p->maxThreadsPerBlock = 1024;
    p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024; p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 2147483647; p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->totalConstMem = 65536;
    p->major = capability() / 10;
    p->minor = capability() % 10;
    p->textureAlignment = 512;
    p->texturePitchAlignment = 32;
    p->multiProcessorCount = 2;
    p->canMapHostMemory = 1;
    p->concurrentKernels = 1;
    p->pciBusID = 1 + device;
    p->asyncEngineCount = 1;
    p->unifiedAddressing = 1;
    p->memoryBusWidth = 5120;
    p->l2CacheSize = 1 << 20;
    p->maxThreadsPerMultiProcessor = 2048;
    p->streamPrioritiesSupported = 1;
    p->globalL1CacheSupported = p->localL1CacheSupported = 1;
    p->sharedMemPerMultiprocessor = 167936;
    p->regsPerMultiprocessor = 65536;
    p->managedMemory = p->concurrentManagedAccess = 1;
    p->cooperativeLaunch = 1;
    p->sharedMemPerBlockOptin = 166912;
    p->maxBlocksPerMultiProcessor = 32;
    p->reservedSharedMemPerBlock = 1024;
    p->memoryPoolsSupported = 1;
    return cudaSuccess;
}
API cudaError_t cudaDeviceGetByPCIBusId(int *d, const char *id) {
    unsigned domain, bus, dev;
    if (sscanf(id, "%x:%x:%x", &domain, &bus, &dev) != 3 || bus < 1 || (int)bus > device_count()) return failed(cudaErrorInvalidValue);
    *d = bus - 1;
    return cudaSuccess;
}
API cudaError_t cudaDeviceGetPCIBusId(char *id, int len, int d) { snprintf(id, len, "0000:%02X:00.0", d + 1); return cudaSuccess; }
API cudaError_t cudaDeviceSynchronize() {
    CHECK_STICKY;
    has_context = true;
    if (int e = unsafe("cudaDeviceSynchronize")) return failed((cudaError_t)e);
    host_waits();
    drain_all();
    return failed((cudaError_t)sticky.load());
}
API cudaError_t cudaDeviceCanAccessPeer(int *can, int a, int b) { *can = a != b && setting("CUDA_ON_CPU_PEERS", 0); return cudaSuccess; }
bool peers[64][64];
API cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned) {
    if (peer < 0 || peer >= device_count() || peer == current_device || !setting("CUDA_ON_CPU_PEERS", 0)) return failed(cudaErrorInvalidDevice);
    if (peers[current_device][peer]) return failed(cudaErrorPeerAccessAlreadyEnabled);
    peers[current_device][peer] = true;
    return cudaSuccess;
}
API cudaError_t cudaDeviceDisablePeerAccess(int peer) {
    if (peer < 0 || peer >= device_count() || !peers[current_device][peer]) return failed(cudaErrorPeerAccessNotEnabled);
    peers[current_device][peer] = false;
    return cudaSuccess;
}
size_t limits[16] = {1024, 1 << 20, 8 << 20, 2, 2048};
API cudaError_t cudaDeviceGetLimit(size_t *v, cudaLimit l) { if ((unsigned)l > 6) return failed(cudaErrorInvalidValue); *v = limits[l]; return cudaSuccess; }
API cudaError_t cudaDeviceSetLimit(cudaLimit l, size_t v) { if ((unsigned)l > 6) return failed(cudaErrorInvalidValue); limits[l] = v; return cudaSuccess; }
API cudaError_t cudaDeviceGetStreamPriorityRange(int *low, int *high) { if (low) *low = 0; if (high) *high = -5; return cudaSuccess; }
API cudaError_t cudaDeviceGetCacheConfig(cudaFuncCache *c) { *c = cudaFuncCachePreferNone; return cudaSuccess; }
API cudaError_t cudaDeviceSetCacheConfig(cudaFuncCache) { return cudaSuccess; }

API cudaError_t cudaIpcCloseMemHandle(void *) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaIpcGetEventHandle(cudaIpcEventHandle_t *, cudaEvent_t) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t *, void *) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaIpcOpenEventHandle(cudaEvent_t *, cudaIpcEventHandle_t) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaIpcOpenMemHandle(void **, cudaIpcMemHandle_t, unsigned) { return failed(cudaErrorNotSupported); }

API cudaError_t cudaMalloc(void **p, size_t n) {
    CHECK_STICKY;
    has_context = true;
    if (int e = unsafe("cudaMalloc")) return failed((cudaError_t)e);
    count(CALL);
    count(ALLOCATION);
    return failed(allocate(p, n, current_device, nullptr));
}
API cudaError_t cudaFree(void *p) {
    has_context = true;
    if (!p) return cudaSuccess;
    CHECK_STICKY;
    if (int e = unsafe("cudaFree")) return failed((cudaError_t)e);
    host_waits();
    drain_all();
    return failed(release(p));
}
API cudaError_t cudaMallocManaged(void **p, size_t n, unsigned) {
    CHECK_STICKY;
    if (int e = unsafe("cudaMallocManaged")) return failed((cudaError_t)e);
    void *m = mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED) return failed(cudaErrorMemoryAllocation);
    Lock lock(mutex());
    allocations()[(uint64_t)m] = {n, current_device, cudaMemoryTypeManaged, nullptr};
    *p = m;
    return cudaSuccess;
}
API cudaError_t cudaHostAlloc(void **p, size_t n, unsigned) {
    CHECK_STICKY;
    if (int e = unsafe("cudaHostAlloc")) return failed((cudaError_t)e);
    count(CALL);
    count(ALLOCATION);
    if (posix_memalign(p, PAGE, std::max<size_t>(n, 1))) return failed(cudaErrorMemoryAllocation);
    Lock lock(mutex());
    allocations()[(uint64_t)*p] = {n, current_device, cudaMemoryTypeHost, nullptr};
    return cudaSuccess;
}
API cudaError_t cudaMallocHost(void **p, size_t n) { return cudaHostAlloc(p, n, 0); }
API cudaError_t cudaFreeHost(void *p) {
    if (!p) return cudaSuccess;
    drain_all();
    Lock lock(mutex());
    auto it = allocations().find((uint64_t)p);
    if (it == allocations().end() || it->second.kind != cudaMemoryTypeHost) return failed(cudaErrorInvalidValue);
    allocations().erase(it);
    free(p);
    return cudaSuccess;
}
API cudaError_t cudaHostRegister(void *p, size_t n, unsigned) {
    Lock lock(mutex());
    if (allocations().count((uint64_t)p)) return failed(cudaErrorHostMemoryAlreadyRegistered);
    allocations()[(uint64_t)p] = {n, current_device, cudaMemoryTypeHost, nullptr};
    return cudaSuccess;
}
API cudaError_t cudaHostUnregister(void *p) {
    drain_all();
    Lock lock(mutex());
    return failed(allocations().erase((uint64_t)p) ? cudaSuccess : cudaErrorHostMemoryNotRegistered);
}
API cudaError_t cudaHostGetDevicePointer(void **d, void *h, unsigned) { *d = h; return cudaSuccess; }
API cudaError_t cudaMemGetInfo(size_t *f, size_t *t) {
    CHECK_STICKY;
    *t = device_memory();
    *f = device_memory() - used[current_device];
    return cudaSuccess;
}
API cudaError_t cudaMalloc3DArray(cudaArray_t *, const cudaChannelFormatDesc *, cudaExtent, unsigned) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaMallocArray(cudaArray_t *, const cudaChannelFormatDesc *, size_t, size_t, unsigned) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaFreeArray(cudaArray_t) { return failed(cudaErrorNotSupported); }

static cudaError_t copy(void *d, const void *s, size_t n, cudaMemcpyKind kind, void *stream, const char *what) {
    if (!n) return cudaSuccess;
    if (!inside(d, n) || !inside(s, n)) return cudaErrorInvalidValue;
    if (kind == cudaMemcpyHostToDevice && on_device(s)) return cudaErrorInvalidValue;
    if (kind == cudaMemcpyDeviceToHost && on_device(d)) return cudaErrorInvalidValue;
    if (kind == cudaMemcpyHostToHost && (on_device(d) || on_device(s))) return cudaErrorInvalidValue;
    std::string label = what;
    if (is_capturing(stream)) {
        const bool from = reachable(s, n), to = reachable(d, n);  // else pageable memory of the host
        label += std::string(on_device(s) ? " D" : from ? " pinned" : " H") + "to" + (on_device(d) ? "D" : to ? "pinned" : "H");
        if (!from || !to) say("%s: every launch of the graph will %s host memory that is not pinned", label.c_str(), from ? "write" : "read");
    }
    const bool pageable = !reachable(s, n) || !reachable(d, n);
    const Counter kind_of_copy = !on_device(d) ? TO_HOST : !on_device(s) ? TO_DEVICE : ON_DEVICE;
    if (verbose()) say("copy %zu bytes %cto%c", n, on_device(s) ? 'D' : 'H', on_device(d) ? 'D' : 'H');
    if (lazy() && !is_capturing(stream) && !reachable(s, n)) {  // pageable memory is read before the call returns
        auto staged = std::make_shared<std::vector<char>>((const char *)s, (const char *)s + n);
        if (auto e = on_stream(stream, label.c_str(), kind_of_copy, [=] { memcpy(host(d), staged->data(), n); })) return (cudaError_t)e;
    } else if (auto e = on_stream(stream, label.c_str(), kind_of_copy, [=] { memmove(host(d), host(s), n); })) return (cudaError_t)e;
    if (lazy() && pageable && !on_device(d) && !is_capturing(stream)) drain(queue_of(stream));
    return cudaSuccess;
}
API cudaError_t cudaMemcpyAsync(void *d, const void *s, size_t n, cudaMemcpyKind k, cudaStream_t st) { CHECK_STICKY; return failed(copy(d, s, n, k, st, "cudaMemcpyAsync")); }
API cudaError_t cudaMemcpy(void *d, const void *s, size_t n, cudaMemcpyKind k) {
    CHECK_STICKY;
    if (int e = unsafe("cudaMemcpy")) return failed((cudaError_t)e);
    const cudaError_t e = copy(d, s, n, k, nullptr, "cudaMemcpy");
    if (!(on_device(d) && on_device(s))) {
        count(SYNCHRONIZATION);
        drain(queue_of(nullptr));
    }
    return failed(e);
}
API cudaError_t cudaMemcpyPeer(void *d, int, const void *s, int, size_t n) { return cudaMemcpy(d, s, n, cudaMemcpyDefault); }
API cudaError_t cudaMemcpyPeerAsync(void *d, int, const void *s, int, size_t n, cudaStream_t st) { return cudaMemcpyAsync(d, s, n, cudaMemcpyDefault, st); }
API cudaError_t cudaMemcpy2DAsync(void *d, size_t dp, const void *s, size_t sp, size_t w, size_t h, cudaMemcpyKind, cudaStream_t st) {
    CHECK_STICKY;
    if (!w || !h) return cudaSuccess;
    if (!on_device(d) || !on_device(s)) drain(queue_of(st));
    if (w > dp || w > sp || !inside(d, dp * (h - 1) + w) || !inside(s, sp * (h - 1) + w)) return failed(cudaErrorInvalidValue);
    return failed((cudaError_t)on_stream(st, "cudaMemcpy2D", !on_device(d) ? TO_HOST : !on_device(s) ? TO_DEVICE : ON_DEVICE, [=] {
        for (size_t k = 0; k < h; ++k) memmove((char *)host(d) + k * dp, (const char *)host(s) + k * sp, w);
    }));
}  // lazily, copies from and to the host are done at once
API cudaError_t cudaMemcpy2D(void *d, size_t dp, const void *s, size_t sp, size_t w, size_t h, cudaMemcpyKind k) {
    if (int e = unsafe("cudaMemcpy2D")) return failed((cudaError_t)e);
    return cudaMemcpy2DAsync(d, dp, s, sp, w, h, k, nullptr);
}
API cudaError_t cudaMemcpy2DFromArray(void *, size_t, cudaArray_const_t, size_t, size_t, size_t, size_t, cudaMemcpyKind) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaMemcpy2DFromArrayAsync(void *, size_t, cudaArray_const_t, size_t, size_t, size_t, size_t, cudaMemcpyKind, cudaStream_t) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaMemcpy2DToArray(cudaArray_t, size_t, size_t, const void *, size_t, size_t, size_t, cudaMemcpyKind) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaMemcpy2DToArrayAsync(cudaArray_t, size_t, size_t, const void *, size_t, size_t, size_t, cudaMemcpyKind, cudaStream_t) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaMemcpy3D(const cudaMemcpy3DParms *) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaMemcpy3DAsync(const cudaMemcpy3DParms *, cudaStream_t) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaMemsetAsync(void *p, int v, size_t n, cudaStream_t st) {
    CHECK_STICKY;
    if (!n) return cudaSuccess;
    if (!inside(p, n)) return failed(cudaErrorInvalidValue);
    return failed((cudaError_t)on_stream(st, "cudaMemset", FILL, [=] { memset(host(p), v, n); }));
}
API cudaError_t cudaMemset(void *p, int v, size_t n) {
    if (int e = unsafe("cudaMemset")) return failed((cudaError_t)e);
    return cudaMemsetAsync(p, v, n, nullptr);
}
API cudaError_t cudaMemPrefetchAsync(const void *, size_t, cudaMemLocation place, unsigned, cudaStream_t) {
    return failed(place.type == cudaMemLocationTypeDevice && (place.id < 0 || place.id >= device_count()) ? cudaErrorInvalidDevice : cudaSuccess);
}
API cudaError_t cudaMemAdvise(const void *, size_t, cudaMemoryAdvise advice, cudaMemLocation) { return failed((int)advice < 1 || (int)advice > 6 ? cudaErrorInvalidValue : cudaSuccess); }
API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *a, const void *p) {
    memset(a, 0, sizeof *a);
    uint64_t start;
    Allocation found;
    if (!find(p, start, found)) {
        a->type = cudaMemoryTypeUnregistered;
        a->device = cudaInvalidDeviceId;
        a->hostPointer = (void *)p;
        return cudaSuccess;
    }
    a->type = (cudaMemoryType)found.kind;
    a->device = found.device;
    a->devicePointer = (void *)p;
    a->hostPointer = found.kind == cudaMemoryTypeDevice ? nullptr : (void *)p;
    return cudaSuccess;
}

// ---- pools

struct Pool { int device; uint64_t threshold = 0; };
static Pool *default_pool(int d) { static Pool *pools[64]; if (!pools[d]) pools[d] = new Pool{d}; return pools[d]; }
static Pool *current_pool[64];
API cudaError_t cudaMallocFromPoolAsync(void **p, size_t n, cudaMemPool_t pool, cudaStream_t) { CHECK_STICKY; count(CALL); count(ALLOCATION); return failed(allocate(p, n, ((Pool *)pool)->device, pool)); }
API cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *p, int d) { *p = (cudaMemPool_t)default_pool(d); return cudaSuccess; }
API cudaError_t cudaDeviceGetMemPool(cudaMemPool_t *p, int d) { *p = (cudaMemPool_t)(current_pool[d] ? current_pool[d] : default_pool(d)); return cudaSuccess; }
API cudaError_t cudaDeviceSetMemPool(int d, cudaMemPool_t p) { current_pool[d] = (Pool *)p; return cudaSuccess; }
API cudaError_t cudaMallocAsync(void **p, size_t n, cudaStream_t s) {
    cudaMemPool_t pool;
    cudaDeviceGetMemPool(&pool, current_device);
    return cudaMallocFromPoolAsync(p, n, pool, s);
}
API cudaError_t cudaFreeAsync(void *p, cudaStream_t s) {
    if (!p) return cudaSuccess;
    CHECK_STICKY;
    if (is_capturing(s)) return cudaSuccess;  // stays allocated for the graph's launches
    return failed((cudaError_t)on_stream(s, "cudaFreeAsync", OTHER_WORK, [=] { release(p); }));
}
API cudaError_t cudaMemPoolCreate(cudaMemPool_t *p, const cudaMemPoolProps *props) { *p = (cudaMemPool_t)new Pool{props->location.id}; return cudaSuccess; }
API cudaError_t cudaMemPoolDestroy(cudaMemPool_t p) {
    for (auto &c : current_pool)
        if (c == (Pool *)p) c = nullptr;
    return cudaSuccess;
}
API cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }
API cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t p, cudaMemPoolAttr a, void *v) {
    Lock lock(mutex());
    uint64_t sum = 0;
    for (auto &x : allocations())
        if (x.second.pool == p) sum += x.second.size;
    if (a <= cudaMemPoolReuseAllowInternalDependencies) *(int *)v = 1;
    else if (a == cudaMemPoolAttrReleaseThreshold) *(uint64_t *)v = ((Pool *)p)->threshold;
    else *(uint64_t *)v = sum;
    return cudaSuccess;
}
API cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t p, cudaMemPoolAttr a, void *v) {
    if (a == cudaMemPoolAttrReleaseThreshold) ((Pool *)p)->threshold = *(uint64_t *)v;
    return cudaSuccess;
}

// ---- streams and events

API cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority) {
    CHECK_STICKY;
    Lock lock(mutex());
    auto *stream = new Stream;
    stream->flags = flags;
    stream->priority = std::max(-5, std::min(0, priority));
    stream->device = current_device;
    streams().insert(stream);
    *s = (cudaStream_t)stream;
    return cudaSuccess;
}
API cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags) { return cudaStreamCreateWithPriority(s, flags, 0); }
API cudaError_t cudaStreamCreate(cudaStream_t *s) { return cudaStreamCreateWithPriority(s, 0, 0); }
API cudaError_t cudaStreamGetFlags(cudaStream_t s, unsigned *f) { auto *x = stream_of(s); *f = x ? x->flags : 0; return cudaSuccess; }
API cudaError_t cudaStreamGetPriority(cudaStream_t s, int *p) { auto *x = stream_of(s); *p = x ? x->priority : 0; return cudaSuccess; }
API cudaError_t cudaStreamGetId(cudaStream_t s, unsigned long long *id) { *id = (unsigned long long)s; return cudaSuccess; }
API cudaError_t cudaStreamGetDevice(cudaStream_t s, int *d) { auto *x = stream_of(s); *d = x ? x->device : current_device; return cudaSuccess; }
API cudaError_t cudaStreamDestroy(cudaStream_t s) {
    drain((Stream *)s);
    Lock lock(mutex());
    auto *x = (Stream *)s;
    if (!streams().erase(x)) return failed(cudaErrorInvalidResourceHandle);
    if (x->capture) { captures().erase(x->capture); x->capture->invalid = true; }
    x->capture = nullptr;  // kept: a handle names one stream only, so that nothing works because two had the same
    return cudaSuccess;
}
static cudaError_t waits(cudaStream_t s, const char *what) {
    CHECK_STICKY;
    Lock lock(mutex());
    Stream *x = stream_of(s);
    if (destroyed(x)) return cudaErrorInvalidResourceHandle;
    if (!x) return implicit(what);
    if (x->capture) {
        invalidate(x->capture);
        return cudaErrorStreamCaptureUnsupported;
    }
    return cudaSuccess;
}
API cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    if (auto e = waits(s, "cudaStreamSynchronize")) return failed(e);
    host_waits();
    drain(queue_of(s));
    return failed((cudaError_t)sticky.load());
}
API cudaError_t cudaStreamQuery(cudaStream_t s) {
    if (auto e = waits(s, "cudaStreamQuery")) return failed(e);
    if (lazy()) {
        Stream *q = queue_of(s);
        if (q->done < q->told) {  // asking makes it go on, but not to the end
            drain(q, q->done + 1);
            return cudaErrorNotReady;
        }
    }
    return failed((cudaError_t)sticky.load());
}
API cudaError_t cudaStreamAddCallback(cudaStream_t s, cudaStreamCallback_t f, void *data, unsigned) {
    if (is_capturing(s)) { invalidate(stream_of(s)->capture); return failed(cudaErrorStreamCaptureUnsupported); }
    return failed((cudaError_t)on_stream(s, "cudaStreamAddCallback", OTHER_WORK, [=] { f(s, cudaSuccess, data); }));
}
API cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void *data) { return failed((cudaError_t)on_stream(s, "cudaLaunchHostFunc", OTHER_WORK, [=] { f(data); })); }
API cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags) { CHECK_STICKY; auto *x = new Event; x->flags = flags; *e = (cudaEvent_t)x; return cudaSuccess; }
API cudaError_t cudaEventCreate(cudaEvent_t *e) { return cudaEventCreateWithFlags(e, 0); }
API cudaError_t cudaEventDestroy(cudaEvent_t e) { delete (Event *)e; return cudaSuccess; }
API cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
    CHECK_STICKY;
    Lock lock(mutex());
    auto *x = (Event *)e;
    Stream *stream = stream_of(s);
    if (destroyed(stream)) return failed(cudaErrorInvalidResourceHandle);
    if (!stream) {
        if (auto error = implicit("cudaEventRecord")) return failed(error);
    }
    if (stream && stream->capture) {
        if (stream->capture->invalid) return failed(cudaErrorStreamCaptureInvalidated);
        x->captured = true;
        x->capture = stream->capture;
        x->stream = s;
        return cudaSuccess;
    }
    count(CALL);
    x->captured = false;
    auto moment = std::make_shared<Moment>();
    auto pass = [moment] {
        moment->when = std::chrono::steady_clock::now();
        moment->passed = true;
    };
    moment->stream = queue_of(s);
    if (lazy()) tell(moment->stream, pass);
    else pass();
    moment->told = moment->stream->told;
    x->moment = moment;
    return cudaSuccess;
}
API cudaError_t cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t s, unsigned) { return cudaEventRecord(e, s); }
API cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
    CHECK_STICKY;
    Lock lock(mutex());
    auto *x = (Event *)e;
    Stream *stream = stream_of(s);
    auto source = x->captured ? x->capture.lock() : nullptr;
    if (source) {
        if (source->invalid) return failed(cudaErrorStreamCaptureInvalidated);
        if (!stream) { invalidate(source); return failed(cudaErrorStreamCaptureImplicit); }
        if (!stream->capture) {
            stream->capture = source;  // the stream joins the capture
            source->members.insert(s);
            if (s != source->origin) source->unjoined.insert(s);
        } else if (stream->capture != source) {
            invalidate(source);
            invalidate(stream->capture);
            return failed(cudaErrorStreamCaptureMerge);
        }
        if (s == source->origin) source->unjoined.erase(x->stream);
        return cudaSuccess;
    }
    if (stream && stream->capture && x->moment) {
        invalidate(stream->capture);
        return failed(cudaErrorStreamCaptureIsolation);
    }
    count(CALL);
    if (lazy() && x->moment && !x->moment->passed) {
        Stream *q = queue_of(s);
        auto moment = x->moment;
        if (moment->stream != q) tell(q, [moment] { drain(moment->stream, moment->told); });
    }
    return cudaSuccess;
}
static cudaError_t event_done(cudaEvent_t e, const char *what) {
    CHECK_STICKY;
    Lock lock(mutex());
    auto *x = (Event *)e;
    if (x->captured) {
        if (auto c = x->capture.lock()) invalidate(c);
        return cudaErrorCapturedEvent;
    }
    return (cudaError_t)unsafe(what);
}
API cudaError_t cudaEventQuery(cudaEvent_t e) {
    if (auto error = event_done(e, "cudaEventQuery")) return failed(error);
    auto moment = ((Event *)e)->moment;
    if (!moment || moment->passed) return failed((cudaError_t)sticky.load());
    drain(moment->stream, moment->stream->done + 1);
    return cudaErrorNotReady;
}
API cudaError_t cudaEventSynchronize(cudaEvent_t e) {
    if (auto error = event_done(e, "cudaEventSynchronize")) return failed(error);
    host_waits();
    if (auto moment = ((Event *)e)->moment) drain(moment->stream, moment->told);
    return failed((cudaError_t)sticky.load());
}
API cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b) {
    auto *x = (Event *)a, *y = (Event *)b;
    if (!x->moment || !y->moment || (x->flags & cudaEventDisableTiming) || (y->flags & cudaEventDisableTiming)) return failed(cudaErrorInvalidResourceHandle);
    if (!x->moment->passed || !y->moment->passed) return failed(cudaErrorNotReady);
    *ms = std::chrono::duration<float, std::milli>(y->moment->when - x->moment->when).count();
    return cudaSuccess;
}

// ---- capture and graphs

static unsigned long long capture_count = 0;
API cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode) {
    CHECK_STICKY;
    Lock lock(mutex());
    Stream *x = stream_of(s);
    if (!x) return failed(cudaErrorStreamCaptureUnsupported);
    if (x->capture) return failed(cudaErrorIllegalState);
    auto c = std::make_shared<Capture>();
    c->origin = s;
    c->mode = mode;
    c->thread = std::this_thread::get_id();
    c->members.insert(s);
    c->id = ++capture_count;
    x->capture = c;
    captures().insert(c);
    return cudaSuccess;
}
API cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *out) {
    CHECK_STICKY;
    Lock lock(mutex());
    *out = nullptr;
    Stream *x = stream_of(s);
    if (!x || !x->capture) return failed(cudaErrorIllegalState);
    auto c = x->capture;
    if (c->origin != s) { invalidate(c); return failed(cudaErrorStreamCaptureUnmatched); }
    if (c->mode != cudaStreamCaptureModeRelaxed && c->thread != std::this_thread::get_id()) return failed(cudaErrorStreamCaptureWrongThread);
    for (auto *m : c->members)
        if (auto *y = stream_of(m)) y->capture = nullptr;
    captures().erase(c);
    if (c->invalid) return failed(cudaErrorStreamCaptureInvalidated);
    if (!c->unjoined.empty()) return failed(cudaErrorStreamCaptureUnjoined);
    *out = (cudaGraph_t)c->graph;
    return cudaSuccess;
}
API cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus *status) {
    Lock lock(mutex());
    Stream *x = stream_of(s);
    if (!x) {
        *status = cudaStreamCaptureStatusNone;
        for (auto &c : captures())
            for (void *m : c->members)
                if (!(stream_of(m)->flags & cudaStreamNonBlocking)) return failed(cudaErrorStreamCaptureImplicit);
        return cudaSuccess;
    }
    *status = !x->capture ? cudaStreamCaptureStatusNone : x->capture->invalid ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}
API cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *mode) {
    thread_local cudaStreamCaptureMode mine = cudaStreamCaptureModeGlobal;
    std::swap(mine, *mode);
    return cudaSuccess;
}
API cudaError_t cudaGraphCreate(cudaGraph_t *g, unsigned) { *g = (cudaGraph_t) new Graph; return cudaSuccess; }
API cudaError_t cudaGraphDestroy(cudaGraph_t g) { delete (Graph *)g; return cudaSuccess; }
API cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long) { CHECK_STICKY; *e = (cudaGraphExec_t) new Executable{((Graph *)g)->nodes}; return cudaSuccess; }
API cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long f) { return cudaGraphInstantiate(e, g, f); }
API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) { delete (Executable *)e; return cudaSuccess; }
API cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s) {
    CHECK_STICKY;
    auto nodes = std::make_shared<std::vector<Node>>(((Executable *)e)->nodes);
    if (!is_capturing(s))
        for (auto &n : *nodes) count(n.kind);
    return failed((cudaError_t)on_stream(s, "cudaGraphLaunch", GRAPH_LAUNCH, [=] {
        for (auto &n : *nodes) n.work();
    }));
}
API cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { CHECK_STICKY; return cudaSuccess; }
API cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t *nodes, size_t *n) {
    if (!nodes) *n = ((Graph *)g)->nodes.size();
    return cudaSuccess;
}
API cudaError_t cudaGraphDebugDotPrint(cudaGraph_t g, const char *path, unsigned flags) {
    FILE *f = fopen(path, "w");
    if (!f) return failed(cudaErrorInvalidValue);
    fprintf(f, "digraph dot {\n");
    if (flags) fprintf(f, "label=\"%zu nodes\";\n", ((Graph *)g)->nodes.size());
    size_t k = 0;
    for (auto &n : ((Graph *)g)->nodes) fprintf(f, "n%zu [label=\"%s\"];\n", k, n.what.c_str()), k ? fprintf(f, "n%zu -> n%zu;\n", k - 1, k) : 0, ++k;
    fprintf(f, "}\n");
    fclose(f);
    return cudaSuccess;
}

API cudaError_t cudaCreateTextureObject(cudaTextureObject_t *, const cudaResourceDesc *, const cudaTextureDesc *, const cudaResourceViewDesc *) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaDestroyTextureObject(cudaTextureObject_t) { return cudaSuccess; }
API cudaError_t cudaGetChannelDesc(cudaChannelFormatDesc *, cudaArray_const_t) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaGetTextureObjectResourceDesc(cudaResourceDesc *, cudaTextureObject_t) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaGetTextureObjectTextureDesc(cudaTextureDesc *, cudaTextureObject_t) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaCreateSurfaceObject(cudaSurfaceObject_t *, const cudaResourceDesc *) { return failed(cudaErrorNotSupported); }
API cudaError_t cudaDestroySurfaceObject(cudaSurfaceObject_t) { return cudaSuccess; }
API cudaError_t cudaProfilerStart() { return cudaSuccess; }
API cudaError_t cudaProfilerStop() { return cudaSuccess; }

// ======================================== driver API ===============================================

static CUresult as_driver(cudaError_t e) { return (CUresult)e; }  // the numbers are the same

API CUresult cuInit(unsigned) { return device_count() ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE; }
API CUresult cuDriverGetVersion(int *v) { *v = CUDA_VERSION; return CUDA_SUCCESS; }
API CUresult cuGetErrorName(CUresult e, const char **s) {
    static const std::map<int, const char *> all = {
        {0, "CUDA_SUCCESS"}, {1, "CUDA_ERROR_INVALID_VALUE"}, {2, "CUDA_ERROR_OUT_OF_MEMORY"}, {3, "CUDA_ERROR_NOT_INITIALIZED"}, {100, "CUDA_ERROR_NO_DEVICE"}, {101, "CUDA_ERROR_INVALID_DEVICE"},
        {200, "CUDA_ERROR_INVALID_IMAGE"}, {201, "CUDA_ERROR_INVALID_CONTEXT"}, {209, "CUDA_ERROR_NO_BINARY_FOR_GPU"}, {218, "CUDA_ERROR_INVALID_PTX"}, {301, "CUDA_ERROR_FILE_NOT_FOUND"}, {400, "CUDA_ERROR_INVALID_HANDLE"},
        {401, "CUDA_ERROR_ILLEGAL_STATE"}, {500, "CUDA_ERROR_NOT_FOUND"}, {700, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"}, {710, "CUDA_ERROR_ASSERT"}, {719, "CUDA_ERROR_LAUNCH_FAILED"},
        {801, "CUDA_ERROR_NOT_SUPPORTED"}, {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"}, {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"}, {906, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT"}, {999, "CUDA_ERROR_UNKNOWN"}};
    auto it = all.find(e);
    *s = it == all.end() ? "CUDA_ERROR_UNKNOWN" : it->second;
    return CUDA_SUCCESS;
}
API CUresult cuGetErrorString(CUresult e, const char **s) { *s = named(e).text; return CUDA_SUCCESS; }
API CUresult cuDeviceGetCount(int *n) { *n = device_count(); return CUDA_SUCCESS; }
API CUresult cuDeviceGet(CUdevice *d, int k) { if (k < 0 || k >= device_count()) return CUDA_ERROR_INVALID_DEVICE; *d = k; return CUDA_SUCCESS; }
API CUresult cuDeviceGetName(char *s, int n, CUdevice) { snprintf(s, n, "CUDA emulated on the CPU"); return CUDA_SUCCESS; }
API CUresult cuDeviceTotalMem_v2(size_t *n, CUdevice) { *n = device_memory(); return CUDA_SUCCESS; }
API CUresult cuDeviceGetAttribute(int *v, CUdevice_attribute a, CUdevice d) { return as_driver(cudaDeviceGetAttribute(v, (cudaDeviceAttr)a, d)); }
API CUresult cuDeviceGetUuid_v2(CUuuid *u, CUdevice d) { memset(u, 0, sizeof *u); u->bytes[0] = 0x43; u->bytes[15] = (char)d; return CUDA_SUCCESS; }
static CUcontext context_of(int d) { return (CUcontext)(uintptr_t)(0x1000 + d * 16); }
API CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) { *c = context_of(d); return CUDA_SUCCESS; }
API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) { return CUDA_SUCCESS; }
API CUresult cuDevicePrimaryCtxReset_v2(CUdevice) { return CUDA_SUCCESS; }
API CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned *flags, int *active) { *flags = 0; *active = 1; return CUDA_SUCCESS; }
API CUresult cuCtxGetCurrent(CUcontext *c) { *c = has_context ? context_of(current_device) : nullptr; return CUDA_SUCCESS; }
API CUresult cuCtxSetCurrent(CUcontext c) { has_context = c != nullptr; if (c) current_device = (int)(((uintptr_t)c - 0x1000) / 16); return CUDA_SUCCESS; }
API CUresult cuCtxPushCurrent_v2(CUcontext c) { return cuCtxSetCurrent(c); }
API CUresult cuCtxPopCurrent_v2(CUcontext *c) { return cuCtxGetCurrent(c); }
API CUresult cuCtxCreate_v2(CUcontext *c, unsigned, CUdevice d) { current_device = d; *c = context_of(d); return CUDA_SUCCESS; }
API CUresult cuCtxCreate_v4(CUcontext *c, CUctxCreateParams *, unsigned, CUdevice d) { current_device = d; *c = context_of(d); return CUDA_SUCCESS; }
API CUresult cuCtxDestroy_v2(CUcontext) { return CUDA_SUCCESS; }
API CUresult cuCtxGetDevice(CUdevice *d) { *d = current_device; return CUDA_SUCCESS; }
API CUresult cuCtxSynchronize() { return as_driver(cudaDeviceSynchronize()); }
API CUresult cuCtxGetApiVersion(CUcontext, unsigned *v) { *v = 13000; return CUDA_SUCCESS; }
API CUresult cuStreamGetCtx(CUstream s, CUcontext *c) { int d; cudaStreamGetDevice(s, &d); *c = context_of(d); return CUDA_SUCCESS; }

struct Link { std::string image; };
API CUresult cuLinkCreate_v2(unsigned, CUjit_option *, void **, CUlinkState *s) { *s = (CUlinkState) new Link; return CUDA_SUCCESS; }
API CUresult cuLinkAddData_v2(CUlinkState s, CUjitInputType, void *data, size_t size, const char *, unsigned, CUjit_option *, void **) { ((Link *)s)->image.assign((const char *)data, size); return CUDA_SUCCESS; }
API CUresult cuLinkAddFile_v2(CUlinkState, CUjitInputType, const char *, unsigned, CUjit_option *, void **) { return CUDA_SUCCESS; }
API CUresult cuLinkComplete(CUlinkState s, void **out, size_t *size) { auto *l = (Link *)s; *out = (void *)l->image.data(); *size = l->image.size(); return CUDA_SUCCESS; }
API CUresult cuLinkDestroy(CUlinkState s) { delete (Link *)s; return CUDA_SUCCESS; }

API CUresult cuModuleLoadData(CUmodule *m, const void *image) { return load(m, (const char *)image); }
API CUresult cuModuleLoadDataEx(CUmodule *m, const void *image, unsigned, CUjit_option *, void **) { return load(m, (const char *)image); }
API CUresult cuModuleLoad(CUmodule *m, const char *path) {
    FILE *f = fopen(path, "r");
    if (!f) return CUDA_ERROR_FILE_NOT_FOUND;
    std::string data;
    char buffer[1 << 16];
    size_t n;
    while ((n = fread(buffer, 1, sizeof buffer, f)) > 0) data.append(buffer, n);
    fclose(f);
    return load(m, data.c_str());
}
API CUresult cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }  // its functions may be in graphs
API CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name) {
    auto &all = ((Module *)m)->functions;
    auto it = all.find(name);
    if (it == all.end()) return CUDA_ERROR_NOT_FOUND;
    *f = (CUfunction)it->second.get();
    return CUDA_SUCCESS;
}
API CUresult cuModuleGetGlobal_v2(CUdeviceptr *p, size_t *n, CUmodule m, const char *name) {
    auto *module = (Module *)m;
    void *at = dlsym(module->handle, name);
    Dl_info info;
    const Elf64_Sym *symbol = nullptr;
    if (!at || !dladdr1(at, &info, (void **)&symbol, RTLD_DL_SYMENT) || !symbol || ELF64_ST_TYPE(symbol->st_info) != STT_OBJECT) return CUDA_ERROR_NOT_FOUND;
    if (p) *p = (CUdeviceptr)at;
    if (n) *n = symbol->st_size;
    Lock lock(mutex());
    allocations()[(uint64_t)at] = {symbol->st_size, current_device, cudaMemoryTypeDevice, module};
    return CUDA_SUCCESS;
}
API CUresult cuLibraryLoadData(CUlibrary *l, const void *code, CUjit_option *, void **, unsigned, CUlibraryOption *, void **, unsigned) { return load((CUmodule *)l, (const char *)code); }
API CUresult cuLibraryUnload(CUlibrary) { return CUDA_SUCCESS; }
API CUresult cuLibraryGetKernel(CUkernel *k, CUlibrary l, const char *name) { return cuModuleGetFunction((CUfunction *)k, (CUmodule)l, name); }
API CUresult cuKernelGetFunction(CUfunction *f, CUkernel k) { *f = (CUfunction)k; return CUDA_SUCCESS; }
API CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, CUstream s, void **parameters, void **extra) {
    return as_driver(failed(launch((Function *)f, {gx, gy, gz}, {bx, by, bz}, shared, s, parameters, extra, false)));
}
API CUresult cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **parameters, void **extra) {
    return as_driver(failed(launch((Function *)f, {c->gridDimX, c->gridDimY, c->gridDimZ}, {c->blockDimX, c->blockDimY, c->blockDimZ}, c->sharedMemBytes, c->hStream, parameters, extra, false)));
}
API CUresult cuLaunchCooperativeKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, CUstream s, void **parameters) {
    return as_driver(failed(launch((Function *)f, {gx, gy, gz}, {bx, by, bz}, shared, s, parameters, nullptr, true)));
}
API CUresult cuFuncGetAttribute(int *v, CUfunction_attribute a, CUfunction f) {
    auto *x = (Function *)f;
    switch ((int)a) {
        case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *v = x->kernel->max_threads ? x->kernel->max_threads : 1024; break;
        case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *v = (int)x->shared_bytes; break;
        case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: *v = 0; break;
        case CU_FUNC_ATTRIBUTE_NUM_REGS: *v = 32; break;
        case CU_FUNC_ATTRIBUTE_PTX_VERSION: case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *v = capability(); break;
        case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *v = x->max_dynamic; break;
        case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT: *v = x->carveout; break;
        default: *v = 0;
    }
    return CUDA_SUCCESS;
}
API CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int v) {
    auto *x = (Function *)f;
    if (a == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        if (v < 0 || v + (int)x->shared_bytes > 166912) return CUDA_ERROR_INVALID_VALUE;
        x->max_dynamic = v;
    } else if (a == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) x->carveout = v;
    return CUDA_SUCCESS;
}
API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, CUfunction, int block, size_t) { *n = std::max(1, std::min(32, 2048 / std::max(1, block))); return CUDA_SUCCESS; }
API CUresult cuOccupancyMaxPotentialBlockSize(int *grid, int *block, CUfunction f, CUoccupancyB2DSize, size_t, int limit) {
    *block = ((Function *)f)->kernel->max_threads ? ((Function *)f)->kernel->max_threads : 1024;
    if (limit > 0) *block = std::min(*block, limit);
    *grid = 2 * std::max(1, 2048 / *block);
    return CUDA_SUCCESS;
}

API CUresult cuMemAlloc_v2(CUdeviceptr *p, size_t n) { return as_driver(cudaMalloc((void **)p, n)); }
API CUresult cuMemFree_v2(CUdeviceptr p) { return as_driver(cudaFree((void *)p)); }
API CUresult cuMemGetInfo_v2(size_t *f, size_t *t) { return as_driver(cudaMemGetInfo(f, t)); }
API CUresult cuMemcpy(CUdeviceptr d, CUdeviceptr s, size_t n) { return as_driver(cudaMemcpy((void *)d, (void *)s, n, cudaMemcpyDefault)); }
API CUresult cuMemcpyAsync(CUdeviceptr d, CUdeviceptr s, size_t n, CUstream st) { return as_driver(cudaMemcpyAsync((void *)d, (void *)s, n, cudaMemcpyDefault, st)); }
API CUresult cuMemcpyHtoD_v2(CUdeviceptr d, const void *s, size_t n) { return as_driver(cudaMemcpy((void *)d, s, n, cudaMemcpyHostToDevice)); }
API CUresult cuMemcpyDtoH_v2(void *d, CUdeviceptr s, size_t n) { return as_driver(cudaMemcpy(d, (void *)s, n, cudaMemcpyDeviceToHost)); }
API CUresult cuMemcpyDtoD_v2(CUdeviceptr d, CUdeviceptr s, size_t n) { return as_driver(cudaMemcpy((void *)d, (void *)s, n, cudaMemcpyDeviceToDevice)); }
API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr d, const void *s, size_t n, CUstream st) { return as_driver(cudaMemcpyAsync((void *)d, s, n, cudaMemcpyHostToDevice, st)); }
API CUresult cuMemcpyDtoHAsync_v2(void *d, CUdeviceptr s, size_t n, CUstream st) { return as_driver(cudaMemcpyAsync(d, (void *)s, n, cudaMemcpyDeviceToHost, st)); }
API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr d, CUdeviceptr s, size_t n, CUstream st) { return as_driver(cudaMemcpyAsync((void *)d, (void *)s, n, cudaMemcpyDeviceToDevice, st)); }
API CUresult cuMemsetD8_v2(CUdeviceptr p, unsigned char v, size_t n) { return as_driver(cudaMemset((void *)p, v, n)); }
API CUresult cuMemsetD8Async(CUdeviceptr p, unsigned char v, size_t n, CUstream s) { return as_driver(cudaMemsetAsync((void *)p, v, n, s)); }
API CUresult cuMemHostAlloc(void **p, size_t n, unsigned f) { return as_driver(cudaHostAlloc(p, n, f)); }
API CUresult cuMemFreeHost(void *p) { return as_driver(cudaFreeHost(p)); }
API CUresult cuMemAllocAsync(CUdeviceptr *p, size_t n, CUstream s) { return as_driver(cudaMallocAsync((void **)p, n, s)); }
API CUresult cuMemFreeAsync(CUdeviceptr p, CUstream s) { return as_driver(cudaFreeAsync((void *)p, s)); }
API CUresult cuPointerGetAttribute(void *out, CUpointer_attribute a, CUdeviceptr p) {
    cudaPointerAttributes x;
    cudaPointerGetAttributes(&x, (void *)p);
    if (x.type == cudaMemoryTypeUnregistered) return CUDA_ERROR_INVALID_VALUE;
    switch ((int)a) {
        case CU_POINTER_ATTRIBUTE_CONTEXT: *(CUcontext *)out = context_of(x.device); break;
        case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: *(unsigned *)out = x.type == cudaMemoryTypeHost ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE; break;
        case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: case CU_POINTER_ATTRIBUTE_HOST_POINTER: *(CUdeviceptr *)out = p; break;
        case CU_POINTER_ATTRIBUTE_IS_MANAGED: *(int *)out = x.type == cudaMemoryTypeManaged; break;
        case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *(int *)out = x.device; break;
        default: return CUDA_ERROR_NOT_SUPPORTED;
    }
    return CUDA_SUCCESS;
}
API CUresult cuStreamCreate(CUstream *s, unsigned f) { return as_driver(cudaStreamCreateWithFlags(s, f)); }
API CUresult cuStreamCreateWithPriority(CUstream *s, unsigned f, int p) { return as_driver(cudaStreamCreateWithPriority(s, f, p)); }
API CUresult cuStreamDestroy_v2(CUstream s) { return as_driver(cudaStreamDestroy(s)); }
API CUresult cuStreamSynchronize(CUstream s) { return as_driver(cudaStreamSynchronize(s)); }
API CUresult cuStreamQuery(CUstream s) { return as_driver(cudaStreamQuery(s)); }
API CUresult cuStreamGetPriority(CUstream s, int *p) { return as_driver(cudaStreamGetPriority(s, p)); }
API CUresult cuStreamGetFlags(CUstream s, unsigned *f) { return as_driver(cudaStreamGetFlags(s, f)); }
API CUresult cuStreamGetDevice(CUstream s, CUdevice *d) { return as_driver(cudaStreamGetDevice(s, d)); }
API CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned f) { return as_driver(cudaStreamWaitEvent(s, e, f)); }
API CUresult cuStreamBeginCapture_v2(CUstream s, CUstreamCaptureMode m) { return as_driver(cudaStreamBeginCapture(s, (cudaStreamCaptureMode)m)); }
API CUresult cuStreamEndCapture(CUstream s, CUgraph *g) { return as_driver(cudaStreamEndCapture(s, g)); }
API CUresult cuStreamIsCapturing(CUstream s, CUstreamCaptureStatus *c) { return as_driver(cudaStreamIsCapturing(s, (cudaStreamCaptureStatus *)c)); }
API CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *m) { return as_driver(cudaThreadExchangeStreamCaptureMode((cudaStreamCaptureMode *)m)); }
API CUresult cuGraphInstantiateWithFlags(CUgraphExec *e, CUgraph g, unsigned long long f) { return as_driver(cudaGraphInstantiate(e, g, f)); }
API CUresult cuGraphLaunch(CUgraphExec e, CUstream s) { return as_driver(cudaGraphLaunch(e, s)); }
API CUresult cuGraphUpload(CUgraphExec e, CUstream s) { return as_driver(cudaGraphUpload(e, s)); }
API CUresult cuGraphDestroy(CUgraph g) { return as_driver(cudaGraphDestroy(g)); }
API CUresult cuGraphExecDestroy(CUgraphExec e) { return as_driver(cudaGraphExecDestroy(e)); }
API CUresult cuEventCreate(CUevent *e, unsigned f) { return as_driver(cudaEventCreateWithFlags(e, f)); }
API CUresult cuEventDestroy_v2(CUevent e) { return as_driver(cudaEventDestroy(e)); }
API CUresult cuEventRecord(CUevent e, CUstream s) { return as_driver(cudaEventRecord(e, s)); }
API CUresult cuEventQuery(CUevent e) { return as_driver(cudaEventQuery(e)); }
API CUresult cuEventSynchronize(CUevent e) { return as_driver(cudaEventSynchronize(e)); }
API CUresult cuEventElapsedTime_v2(float *ms, CUevent a, CUevent b) { return as_driver(cudaEventElapsedTime(ms, a, b)); }
API CUresult cuGetExportTable(const void **t, const CUuuid *) { *t = nullptr; return CUDA_ERROR_NOT_FOUND; }
API CUresult cuGetProcAddress_v2(const char *name, void **f, int, cuuint64_t, CUdriverProcAddressQueryResult *status) {
    static void *self = dlopen("libcuda_on_cpu.so", RTLD_NOW | RTLD_NOLOAD);
    *f = nullptr;
    for (auto *suffix : {"_v3", "_v2", ""}) {
        *f = dlsym(self ? self : RTLD_DEFAULT, (std::string(name) + suffix).c_str());
        if (*f) break;
    }
    if (status) *status = *f ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *f ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
#undef cuGetProcAddress
API CUresult cuGetProcAddress(const char *name, void **f, int v, cuuint64_t flags) { return cuGetProcAddress_v2(name, f, v, flags, nullptr); }
}
