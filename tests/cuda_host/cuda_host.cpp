// SPDX-License-Identifier: Apache-2.0
/* Blocks, threads, barriers and collectives. One block runs at a time; a thread that has to wait
 * hands on to the next one that can run, in the order asked for. */
#include "cuda_host.h"

#include "arithmetic.h"
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

constexpr int MOST_THREADS = 1024;
constexpr size_t STACK     = CUDA_HOST_ASAN ? 256 << 10 : 64 << 10;
constexpr int NAN_BYTE     = 0xff;
constexpr int BYTES        = 16; /* of an asynchronous copy, and of a row of a matrix */

enum state { DONE, READY, AT_BLOCK, AT_WARP };

struct pending {
    void *to;
    const void *from;
    int valid, group;
};

struct thread {
    fiber own;
    state now;
    const char *what; /* where it waits */
    uint3 index;
    std::vector<pending> copies;
    int groups; /* committed so far */
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
    warp warps[MOST_THREADS / WARP];
    int count, left, arrived; /* threads: in the block, not at their end, at its barrier */
    int current;
    order turns;
    int next[MOST_THREADS]; /* threads in the order in which they are tried */
    int at;
    void *shared;
};

execution run;

[[noreturn]] void fail(const char *message)
{
    std::fprintf(stderr, "cuda_host: kernel %s, block %u %u %u, thread %d: %s\n", run.shape->name,
                 here.block.x, here.block.y, here.block.z, run.current, message);
    std::abort();
}

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

void hand_over(fiber &from)
{
    int next = next_ready();

    if (next < 0) {
        fiber_switch(from, run.host);
        return;
    }
    run.current = next;
    here.thread = run.threads[next].index;
    here.lane   = next % WARP;
    fiber_switch(from, run.threads[next].own);
}

void wait_as(state s, const char *what)
{
    thread &me = run.threads[run.current];

    me.now  = s;
    me.what = what;
    hand_over(me.own);
}

void check_end(const thread &me)
{
    if (!me.copies.empty()) {
        fail("it ends with asynchronous copies that it has not waited for");
    }
}

/* A fiber runs the same thread of block after block. */
void thread_main()
{
    for (;;) {
        (*run.body)();
        thread &me = run.threads[run.current];
        check_end(me);
        me.now = DONE;
        run.left--;
        hand_over(me.own);
    }
}

size_t stack_bytes()
{
    const char *text = std::getenv("CUDA_HOST_STACK");
    size_t page      = 4096;
    size_t bytes     = text != nullptr ? std::strtoul(text, nullptr, 10) : STACK;

    return (bytes + page - 1) / page * page;
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
        thread &t = run.threads[i];
        if (t.own.context == nullptr) {
            t.own = fiber_create(stack_bytes(), thread_main);
        }
        unsigned n = static_cast<unsigned>(i);
        unsigned x = here.block_size.x;
        unsigned y = here.block_size.y;
        t.index    = uint3{n % x, n / x % y, n / x / y};
        t.now      = READY;
        t.groups   = 0;
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
    hand_over(run.host);
    if (run.left > 0) {
        report_hang();
    }
}

void check_stacks()
{
    for (int i = 0; i < run.count; i++) {
        if (fiber_overflowed(run.threads[i].own)) {
            run.current = i;
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
    std::memcpy(t.lane[me % WARP], mine, bytes);
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

/* --- copies and matrices ------------------------------------------------------------------------
 */

namespace
{

void check_aligned(const char *what, const void *p)
{
    char text[256];

    if (reinterpret_cast<uintptr_t>(p) % BYTES != 0) {
        std::snprintf(text, sizeof text, "%s with an address that is no multiple of %d", what,
                      BYTES);
        fail(text);
    }
}

} // namespace

void async_copy(void *to, const void *from, int valid)
{
    thread &me = run.threads[run.current];

    check_aligned("cp.async", to);
    check_aligned("cp.async", from);
    std::memset(to, NAN_BYTE, BYTES);
    me.copies.push_back({to, from, valid, me.groups});
}

void async_commit()
{
    run.threads[run.current].groups++;
}

void async_wait(int groups_left)
{
    thread &me  = run.threads[run.current];
    size_t done = 0;

    while (done < me.copies.size() && me.copies[done].group < me.groups - groups_left) {
        const pending &p = me.copies[done++];
        std::memcpy(p.to, p.from, static_cast<size_t>(p.valid));
        std::memset(static_cast<char *>(p.to) + p.valid, 0, static_cast<size_t>(BYTES - p.valid));
    }
    me.copies.erase(me.copies.begin(), me.copies.begin() + static_cast<long>(done));
}

namespace
{

/* Result of lane l: element pair l % 4 of row l / 4 of each matrix; transposed, elements l / 4 of
 * rows 2 (l % 4) and the next. */
template <bool TRANSPOSED> void spread(const warp_table &in, warp_table &out)
{
    uint16_t rows[WARP][BYTES / 2];

    for (int i = 0; i < WARP; i++) {
        const void *row;
        std::memcpy(&row, in.lane[i], sizeof row);
        std::memcpy(rows[i], row, BYTES);
    }
    for (int lane = 0; lane < WARP; lane++) {
        uint16_t pairs[4][2];
        for (int m = 0; m < 4; m++) {
            for (int i = 0; i < 2; i++) {
                int row     = TRANSPOSED ? 2 * (lane % 4) + i : lane / 4;
                int column  = TRANSPOSED ? lane / 4 : 2 * (lane % 4) + i;
                pairs[m][i] = rows[8 * m + row][column];
            }
        }
        std::memcpy(out.lane[lane], pairs, sizeof pairs);
    }
}

void multiply(const warp_table &in, warp_table &out)
{
    tile_product_of(in.lane[0], out.lane[0]);
}

} // namespace

void load_matrices(uint32_t r[4], const void *row, bool transposed)
{
    const char *what = transposed ? "ldmatrix.trans" : "ldmatrix";

    check_aligned(what, row);
    const warp_table &all =
        warp_compute(what, NO_BIT, &row, sizeof row, transposed ? spread<true> : spread<false>);
    std::memcpy(r, all.lane[here.lane], 4 * sizeof *r);
}

void tile_product(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    unsigned char mine[40];

    std::memcpy(mine, a, 16);
    std::memcpy(mine + 16, b, 8);
    std::memcpy(mine + 24, d, 16);
    const warp_table &all = warp_compute("mma", NO_BIT, mine, sizeof mine, multiply);
    std::memcpy(d, all.lane[here.lane], 16);
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
