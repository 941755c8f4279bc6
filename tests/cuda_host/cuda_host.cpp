// SPDX-License-Identifier: Apache-2.0
/* Fibers, barriers and collectives. */
#include "cuda_host.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <sys/mman.h>
#include <vector>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define ASAN 1
#else
#define ASAN 0
#endif

#if defined(__x86_64__)
asm(R"(
.text
.globl cuda_host_switch
.type cuda_host_switch, @function
cuda_host_switch:
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
.size cuda_host_switch, .-cuda_host_switch
.section .note.GNU-stack,"",@progbits
.text
)");
extern "C" void cuda_host_switch(void **save, void *load);
#else
#error "a switch for this processor, or ucontext, goes here"
#endif

namespace cuda_host
{

thread_local place here;

namespace
{

constexpr size_t STACK = ASAN ? 256 << 10 : 64 << 10;
constexpr int MOST     = 1024;

enum state { READY, AT_BLOCK, AT_WARP, DONE };

struct pending {
    void *to;
    const void *from;
    int bytes, valid;
};

struct fiber {
    void *sp;
    char *stack;
    void *fake;
    state s;
    const char *what;
    uint3 thread;
    std::vector<std::vector<pending>> groups; /* committed copies */
    std::vector<pending> open;
};

struct warp_table {
    alignas(64) unsigned char slot[2][32][64];
    int parity, arrived;
    const char *what;
    size_t bytes;
};

struct block_run {
    fiber fibers[MOST];
    warp_table warps[MOST / 32];
    int count, arrived, current;
    const char *what;
    void *scheduler;
    void *scheduler_fake;
    const void *scheduler_bottom;
    size_t scheduler_size;
    const std::function<void()> *body;
    std::unique_ptr<unsigned char[]> shared;
    const launch_shape *shape;
    char *stacks  = nullptr;
    long switches = 0;
};

thread_local block_run *run;

[[noreturn]] void fail(const char *message)
{
    std::fprintf(stderr, "cuda_host: kernel %s, block %u %u %u: %s\n", run->shape->name,
                 here.block.x, here.block.y, here.block.z, message);
    std::abort();
}

void to_scheduler()
{
    fiber &f = run->fibers[run->current];
#if ASAN
    __sanitizer_start_switch_fiber(f.s == DONE ? nullptr : &f.fake, run->scheduler_bottom,
                                   run->scheduler_size);
#endif
    cuda_host_switch(&f.sp, run->scheduler);
#if ASAN
    __sanitizer_finish_switch_fiber(f.fake, nullptr, nullptr);
#endif
}

void enter()
{
#if ASAN
    __sanitizer_finish_switch_fiber(nullptr, &run->scheduler_bottom, &run->scheduler_size);
#endif
    (*run->body)();
    fiber &f = run->fibers[run->current];
    if (!f.open.empty() || !f.groups.empty()) {
        fail("a thread ends with asynchronous copies that nobody waited for");
    }
    f.s = DONE;
    to_scheduler();
    std::abort();
}

void to_fiber(int i)
{
    fiber &f     = run->fibers[i];
    run->current = i;
    run->switches++;
    here.thread = f.thread;
    here.lane   = i % 32;
    here.warp   = i / 32;
#if ASAN
    __sanitizer_start_switch_fiber(&run->scheduler_fake, f.stack, STACK);
#endif
    cuda_host_switch(&run->scheduler, f.sp);
#if ASAN
    __sanitizer_finish_switch_fiber(run->scheduler_fake, nullptr, nullptr);
#endif
}

void prepare(int i, const dim3 &size)
{
    fiber &f  = run->fibers[i];
    f.stack   = run->stacks + (size_t)i * STACK;
    auto *top = reinterpret_cast<void **>(f.stack + STACK);
    top[-1]   = nullptr;
    top[-2]   = reinterpret_cast<void *>(&enter);
    for (int r = 3; r <= 8; r++) {
        top[-r] = nullptr;
    }
    f.sp       = top - 8;
    f.s        = READY;
    f.fake     = nullptr;
    unsigned n = (unsigned)i;
    f.thread   = uint3{n % size.x, n / size.x % size.y, n / size.x / size.y};
    std::memset(f.stack, 0x5a, 64); /* overwritten: the stack was too small */
}

/* 0: as they come; 1: backwards; others: shuffled by that seed. */
unsigned order_seed()
{
    const char *text = std::getenv("CUDA_HOST_ORDER");
    return text != nullptr ? (unsigned)std::atoi(text) : 0;
}

std::vector<int> order_of(int count, unsigned seed, unsigned salt)
{
    std::vector<int> order((size_t)count);
    for (int i = 0; i < count; i++) {
        order[(size_t)i] = seed == 1 ? count - 1 - i : i;
    }
    if (seed > 1) {
        std::mt19937 random(seed * 7919u + salt);
        for (int i = count - 1; i > 0; i--) {
            std::swap(order[(size_t)i], order[random() % (unsigned)(i + 1)]);
        }
    }
    return order;
}

void report_hang()
{
    int shown = 0;
    for (int i = 0; i < run->count; i++) {
        if (run->fibers[i].s != DONE && shown++ < 4) {
            std::fprintf(stderr, "cuda_host: thread %d waits at %s\n", i, run->fibers[i].what);
        }
    }
    fail("threads wait for others that never come (a return or a branch before a barrier?)");
}

void run_block(unsigned seed, unsigned number)
{
    for (int i = 0; i < run->count; i++) {
        prepare(i, run->shape->block);
    }
    for (auto &w : run->warps) {
        w.arrived = w.parity = 0;
    }
    run->arrived = 0;
    run->shared.reset(new unsigned char[run->shape->shared_bytes]);
    std::memset(run->shared.get(), 0xff, run->shape->shared_bytes); /* NaN */
    int left = run->count;
    for (unsigned turn = 0; left > 0; turn++) {
        bool any = false;
        for (int i : order_of(run->count, seed, seed > 1 ? number * 131u + turn : 0)) {
            fiber &f = run->fibers[i];
            if (f.s != READY) {
                continue;
            }
            any = true;
            to_fiber(i);
            if (f.stack[0] != 0x5a) {
                fail("the stack of a thread is too small");
            }
            left -= f.s == DONE;
        }
        if (!any) {
            report_hang();
        }
    }
}

} // namespace

void *shared()
{
    return run->shared.get();
}

void block_barrier(const char *what)
{
    if (run->count == 0) {
        return;
    }
    fiber &f = run->fibers[run->current];
    f.what   = what;
    if (++run->arrived < run->count) {
        f.s = AT_BLOCK;
        to_scheduler();
        return;
    }
    run->arrived = 0;
    for (int i = 0; i < run->count; i++) {
        if (run->fibers[i].s == AT_BLOCK) {
            run->fibers[i].s = READY;
        }
    }
}

const unsigned char *warp_meet(const char *what, const void *mine, size_t bytes)
{
    int me        = run->current;
    warp_table &w = run->warps[me / 32];
    int parity    = w.parity;
    if (bytes > 64) {
        fail("a collective of more than 64 bytes");
    }
    if (w.arrived > 0 && (w.what != what || w.bytes != bytes)) {
        std::fprintf(stderr, "cuda_host: lane %d is at %s, others at %s\n", me % 32, what, w.what);
        fail("lanes of a warp meet at different collectives");
    }
    w.what  = what;
    w.bytes = bytes;
    std::memcpy(w.slot[parity][me % 32], mine, bytes);
    run->fibers[me].what = what;
    if (++w.arrived < 32) {
        run->fibers[me].s = AT_WARP;
        to_scheduler();
    } else {
        w.arrived = 0;
        w.parity ^= 1;
        for (int i = me / 32 * 32; i < me / 32 * 32 + 32; i++) {
            if (run->fibers[i].s == AT_WARP) {
                run->fibers[i].s = READY;
            }
        }
    }
    return w.slot[parity][0];
}

void async_copy(void *to, const void *from, int bytes, int valid)
{
    run->fibers[run->current].open.push_back({to, from, bytes, valid});
}

void async_commit()
{
    fiber &f = run->fibers[run->current];
    f.groups.push_back(std::move(f.open));
    f.open.clear();
}

void async_wait(int left)
{
    fiber &f = run->fibers[run->current];
    while ((int)f.groups.size() > left) {
        for (const pending &p : f.groups.front()) {
            std::memcpy(p.to, p.from, (size_t)p.valid);
            std::memset((char *)p.to + p.valid, 0, (size_t)(p.bytes - p.valid));
        }
        f.groups.erase(f.groups.begin());
    }
}

void run_grid(const launch_shape &shape, const std::function<void()> &thread)
{
    static thread_local std::unique_ptr<block_run> own;
    if (!own) {
        own.reset(new block_run);
        own->stacks = (char *)mmap(nullptr, STACK * MOST, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    run        = own.get();
    run->shape = &shape;
    run->body  = &thread;
    run->count = (int)(shape.block.x * shape.block.y * shape.block.z);
    here       = {};
    if (run->count % 32 != 0 || run->count > MOST) {
        fail("a block has whole warps, at most 32");
    }
    here.block_size = shape.block;
    here.grid_size  = shape.grid;
    unsigned seed   = order_seed();
    int blocks      = (int)(shape.grid.x * shape.grid.y * shape.grid.z);
    for (int b : order_of(blocks, seed, 0)) {
        unsigned n = (unsigned)b;
        here.block = uint3{n % shape.grid.x, n / shape.grid.x % shape.grid.y,
                           n / shape.grid.x / shape.grid.y};
        run_block(seed, n);
    }
    if (std::getenv("CUDA_HOST_COUNT") != nullptr) {
        std::fprintf(stderr, "cuda_host: %s %ld switches\n", shape.name, run->switches);
    }
}

} // namespace cuda_host
