// SPDX-License-Identifier: Apache-2.0
/* Asynchronous copies and the matrices of a warp: what touches memory for a kernel, under the
 * sanitizers. */
#include "arithmetic.h"
#include "cuda_host.h"
#include "execution.h"

#include <cstdio>
#include <vector>

namespace cuda_host
{

namespace
{

constexpr int NAN_BYTE = 0xff;
constexpr int BYTES    = 16; /* of an asynchronous copy, and of a row of a matrix */

struct pending {
    void *to;
    const void *from;
    int valid, group;
};

/* Of a thread. */
struct queue {
    std::vector<pending> copies;
    int groups; /* committed so far */
};

queue queues[MOST_THREADS];

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
    queue &mine = queues[current_thread()];

    check_aligned("cp.async", to);
    check_aligned("cp.async", from);
    std::memset(to, NAN_BYTE, BYTES);
    mine.copies.push_back({to, from, valid, mine.groups});
}

void async_commit()
{
    queues[current_thread()].groups++;
}

void async_wait(int groups_left)
{
    queue &mine = queues[current_thread()];
    size_t done = 0;

    while (done < mine.copies.size() && mine.copies[done].group < mine.groups - groups_left) {
        const pending &p = mine.copies[done++];
        std::memcpy(p.to, p.from, static_cast<size_t>(p.valid));
        std::memset(static_cast<char *>(p.to) + p.valid, 0, static_cast<size_t>(BYTES - p.valid));
    }
    mine.copies.erase(mine.copies.begin(), mine.copies.begin() + static_cast<long>(done));
}

void async_end()
{
    queue &mine = queues[current_thread()];

    if (!mine.copies.empty()) {
        fail("it ends with asynchronous copies that it has not waited for");
    }
    mine.groups = 0;
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

} // namespace cuda_host
