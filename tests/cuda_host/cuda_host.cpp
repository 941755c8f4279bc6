// SPDX-License-Identifier: Apache-2.0
/* Blocks, threads, barriers and collectives. One block runs at a time; a thread that has to wait
 * hands on to the next one that can run, in the order asked for. A thread that ends leaves its
 * stack to the next one: a kernel whose threads never wait needs one stack and no switch. */
#include "cuda_host.h"

#include "execution.h"
#include "fake_cuda.h"
#include "fiber.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace cuda_host
{

place here;

namespace
{

constexpr size_t STACK = CUDA_HOST_ASAN ? 256 << 10 : 64 << 10;
constexpr int NAN_BYTE = 0xff;

enum state { DONE, READY, AT_BLOCK, AT_WARP };

struct thread {
    fiber *on; /* nullptr: has not begun */
    state now;
    const char *what; /* where it waits */
    uint3 index;
};

struct warp {
    warp_table brought[2], computed[2];
    int turn, arrived;
    const char *what;
    size_t bytes;
};

struct order {
    unsigned seed; /* 0: as they come, 1: backwards, else shuffled */
    uint64_t state;
};

struct execution {
    const launch_shape *shape;
    const std::function<void()> *body;
    fiber host;
    thread threads[MOST_THREADS];
    fiber fibers[MOST_THREADS]; /* `made` of them; those that no thread is on are in `idle` */
    fiber *idle[MOST_THREADS];
    bool used[MOST_THREADS]; /* by this grid */
    int made, idle_count;
    warp warps[MOST_THREADS / WARP];
    int count, left, arrived; /* threads: in the block, not at their end, at its barrier */
    int current;
    order turns;
    int next[MOST_THREADS]; /* threads in the order in which they are tried */
    int at;
    void *shared;
};

execution run;

} // namespace

[[noreturn]] void fail(const char *message)
{
    std::fprintf(stderr, "cuda_host: kernel %s, block %u %u %u, thread %d: %s\n", run.shape->name,
                 here.block.x, here.block.y, here.block.z, run.current, message);
    std::abort();
}

int current_thread()
{
    return run.current;
}

namespace
{

/* --- order --------------------------------------------------------------------------------------
 */

unsigned chosen_order;
bool order_is_chosen;

unsigned order_seed()
{
    if (!order_is_chosen) {
        const char *text = std::getenv("CUDA_HOST_ORDER");
        cuda_host_order(text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 10))
                                        : 0);
    }
    return chosen_order;
}

unsigned draw(order &o, unsigned below)
{
    o.state = o.state * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<unsigned>((o.state >> 33) % below);
}

void arrange(order &o, int *list, int count)
{
    for (int i = 0; i < count; i++) {
        list[i] = o.seed == 1 ? count - 1 - i : i;
    }
    for (int i = count - 1; o.seed > 1 && i > 0; i--) {
        std::swap(list[i], list[draw(o, static_cast<unsigned>(i + 1))]);
    }
}

/* The next thread that can run, or -1. */
int next_ready()
{
    for (int tried = 0; tried < 2 * run.count; tried++) {
        if (++run.at >= run.count) {
            run.at = 0;
            if (run.turns.seed > 1) {
                arrange(run.turns, run.next, run.count);
            }
        }
        if (run.threads[run.next[run.at]].now == READY) {
            return run.next[run.at];
        }
    }
    return -1;
}

/* --- threads ------------------------------------------------------------------------------------
 */

size_t stack_bytes()
{
    const char *text = std::getenv("CUDA_HOST_STACK");
    size_t page      = 4096;
    size_t bytes     = text != nullptr ? std::strtoul(text, nullptr, 10) : STACK;

    return (bytes + page - 1) / page * page;
}

void thread_main();

fiber *take_fiber()
{
    fiber *f = run.idle_count > 0 ? run.idle[--run.idle_count] : &run.fibers[run.made++];

    if (f->context == nullptr) {
        *f = fiber_create(stack_bytes(), thread_main);
    }
    run.used[f - run.fibers] = true;
    return f;
}

/* From here on the code that runs is this thread's. */
void become(int next)
{
    run.current = next;
    here.thread = run.threads[next].index;
    here.lane   = next % WARP;
}

void hand_over(fiber &from, int next)
{
    if (next < 0) {
        fiber_switch(from, run.host);
        return;
    }
    if (run.threads[next].on == nullptr) {
        run.threads[next].on = take_fiber();
    }
    become(next);
    fiber_switch(from, *run.threads[next].on);
}

void wait_as(state s, const char *what)
{
    thread &me = run.threads[run.current];

    me.now  = s;
    me.what = what;
    hand_over(*me.on, next_ready());
}

/* A fiber runs thread after thread. */
void thread_main()
{
    for (;;) {
        (*run.body)();
        async_end();
        thread &me = run.threads[run.current];
        me.now     = DONE;
        run.left--;
        int next = next_ready();
        if (next >= 0 && run.threads[next].on == nullptr) {
            run.threads[next].on = me.on;
            become(next);
            continue;
        }
        run.idle[run.idle_count++] = me.on;
        hand_over(*me.on, next);
    }
}

/* --- what went wrong ----------------------------------------------------------------------------
 */

/* The first of `count` threads from `first` on that waits there, or that does not; -1: none. */
int find_thread(int first, int count, state s, bool waits_there)
{
    for (int i = first; i < first + count; i++) {
        if ((run.threads[i].now == s) == waits_there) {
            return i;
        }
    }
    return -1;
}

[[noreturn]] void report_hang()
{
    int lane  = find_thread(0, run.count, AT_WARP, true);
    int waits = lane >= 0 ? lane : find_thread(0, run.count, AT_BLOCK, true);
    int other = lane >= 0 ? find_thread(lane / WARP * WARP, WARP, AT_WARP, false)
                          : find_thread(0, run.count, AT_BLOCK, false);
    char text[256];

    if (run.threads[other].now == DONE) {
        std::snprintf(text, sizeof text, "waits at %s, which thread %d does not reach: it returned",
                      run.threads[waits].what, other);
    } else {
        std::snprintf(text, sizeof text, "waits at %s, while thread %d waits at %s",
                      run.threads[waits].what, other, run.threads[other].what);
    }
    run.current = waits;
    fail(text);
}

/* --- blocks -------------------------------------------------------------------------------------
 */

void run_block()
{
    for (int i = 0; i < run.count; i++) {
        thread &t  = run.threads[i];
        unsigned n = static_cast<unsigned>(i);
        unsigned x = here.block_size.x;
        unsigned y = here.block_size.y;
        t.index    = uint3{n % x, n / x % y, n / x / y};
        t.on       = nullptr;
        t.now      = READY;
    }
    for (int i = 0; i < run.count / WARP; i++) {
        run.warps[i].arrived = 0;
    }
    if (run.shared != nullptr) {
        std::memset(run.shared, NAN_BYTE, run.shape->shared_bytes);
    }
    run.arrived = 0;
    run.left    = run.count;
    run.at      = -1;
    arrange(run.turns, run.next, run.count);
    hand_over(run.host, next_ready());
    if (run.left > 0) {
        report_hang();
    }
}

void check_stacks()
{
    for (int i = 0; i < run.made; i++) {
        if (run.used[i] && fiber_overflowed(run.fibers[i])) {
            fail("the stack of a thread is too small: CUDA_HOST_STACK sets its bytes");
        }
    }
}

void take_shared(size_t bytes)
{
    run.shared = nullptr;
    if (bytes > 0 && posix_memalign(&run.shared, 128, bytes) != 0) {
        fail("no memory for its shared memory");
    }
}

} // namespace

void *shared()
{
    return run.shared;
}

void block_barrier(const char *what)
{
    if (++run.arrived < run.count) {
        wait_as(AT_BLOCK, what);
        return;
    }
    run.arrived = 0;
    for (int i = 0; i < run.count; i++) {
        if (run.threads[i].now == AT_BLOCK) {
            run.threads[i].now = READY;
        }
    }
}

namespace
{

void check_meeting(const warp &w, const char *what, unsigned mask, size_t bytes)
{
    char text[256];

    if (mask != NO_BIT) {
        std::snprintf(text, sizeof text, "%s with the mask %08x: all lanes take part", what, mask);
        fail(text);
    }
    if (w.arrived > 0 && ((w.what != what && std::strcmp(w.what, what) != 0) || w.bytes != bytes)) {
        std::snprintf(text, sizeof text, "is at %s, other lanes of its warp at %s", what, w.what);
        fail(text);
    }
}

/* Nearly always a float. */
void bring(unsigned char *slot, const void *mine, size_t bytes)
{
    if (bytes == sizeof(float)) {
        std::memcpy(slot, mine, sizeof(float));
    } else {
        std::memcpy(slot, mine, bytes);
    }
}

void release(int first)
{
    for (int i = first; i < first + WARP; i++) {
        if (run.threads[i].now == AT_WARP) {
            run.threads[i].now = READY;
        }
    }
}

} // namespace

/* Two tables by turns: a lane that comes to the next collective writes the other one, and no lane
 * comes to the one after that before all have read this. */
const warp_table &warp_compute(const char *what, unsigned mask, const void *mine, size_t bytes,
                               void (*compute)(const warp_table &in, warp_table &out))
{
    int me        = run.current;
    warp &w       = run.warps[me / WARP];
    int turn      = w.turn;
    warp_table &t = w.brought[turn];

    check_meeting(w, what, mask, bytes);
    w.what  = what;
    w.bytes = bytes;
    bring(t.lane[me % WARP], mine, bytes);
    if (++w.arrived < WARP) {
        wait_as(AT_WARP, what);
    } else {
        if (compute != nullptr) {
            compute(t, w.computed[turn]);
        }
        w.arrived = 0;
        w.turn    = 1 - turn;
        release(me / WARP * WARP);
    }
    return compute != nullptr ? w.computed[turn] : t;
}

const warp_table &warp_meet(const char *what, unsigned mask, const void *mine, size_t bytes)
{
    return warp_compute(what, mask, mine, bytes, nullptr);
}

/* --- grids --------------------------------------------------------------------------------------
 */

void run_grid(const launch_shape &shape, const std::function<void()> &body)
{
    int blocks = static_cast<int>(shape.grid.x * shape.grid.y * shape.grid.z);
    std::vector<int> list(static_cast<size_t>(blocks));

    run.shape       = &shape;
    run.body        = &body;
    run.count       = static_cast<int>(shape.block.x * shape.block.y * shape.block.z);
    run.turns       = order{order_seed(), order_seed()};
    here            = {};
    here.block_size = shape.block;
    here.grid_size  = shape.grid;
    if (run.count % WARP != 0) {
        fail("a block has whole warps");
    }
    std::memset(run.used, 0, sizeof run.used);
    take_shared(shape.shared_bytes);
    arrange(run.turns, list.data(), blocks);
    for (int b : list) {
        unsigned n = static_cast<unsigned>(b);
        here.block = uint3{n % shape.grid.x, n / shape.grid.x % shape.grid.y,
                           n / shape.grid.x / shape.grid.y};
        run_block();
    }
    check_stacks();
    std::free(run.shared);
    run.shared = nullptr;
}

} // namespace cuda_host

extern "C" void cuda_host_order(unsigned seed)
{
    cuda_host::chosen_order    = seed;
    cuda_host::order_is_chosen = true;
}
