// SPDX-License-Identifier: Apache-2.0
/* What attention's kernels on the tensor cores share: tiles of rows in shared memory, and which
 * keys a query sees. Scores are in base 2 from here on. */
#pragma once

#include "kernels.h"
#include "device.cuh"

typedef __nv_bfloat16 bf16;

#define ATTENTION_LOG2E 1.44269504f
#define ATTENTION_LN2   0.693147181f

/* 16 bytes follow each row, so that eight rows of one column are in different groups of banks. */
template <int E> static __device__ __forceinline__ bf16 *tile_at(bf16 *tile, int row, int column)
{
    return tile + row * (E + 8) + column;
}

template <int E> static constexpr size_t tile_bytes(int rows)
{
    return (size_t)rows * (E + 8) * sizeof(bf16);
}

/* Calls `run` with the stages of a kernel as the type of its argument: two, of which one is loaded
 * while the other is computed with, or a single one where a block cannot have `shared` bytes, those
 * of two. The same bits. Only the widest heads take so much. */
template <int STAGES> struct stage_count {
    static constexpr int value = STAGES;
};
template <int E, typename F>
static cudaError_t with_stages(const attention_call &c, size_t shared, F run)
{
    if constexpr (E == ATTENTION_WIDTH) {
        if (shared > c.shared) {
            return run(stage_count<1>());
        }
    }
    return run(stage_count<2>());
}

/* Eight elements, zeros unless `here`. Both kinds of copy are complete after a wait and a barrier.
 */
static __device__ __forceinline__ void copy_piece(bf16 *to, const bf16 *from, bool here, int vector)
{
    if (vector != 0) {
        device_copy_async(to, from, here ? 16 : 0);
        return;
    }
    for (int i = 0; i < 8; i++) {
        to[i] = here ? from[i] : __float2bfloat16_rn(0.0f);
    }
}

static __device__ __forceinline__ void store_piece(bf16 *to, const bf16 *from, int vector)
{
    if (vector != 0) {
        device_copy_16(to, from);
        return;
    }
    for (int i = 0; i < 8; i++) {
        to[i] = from[i];
    }
}

/* The rows of a query tile: row j · G + g is query j, head g of the group. */
struct tile_rows {
    int64_t slot;
    int rows, group, inverse, head;

    __device__ __forceinline__ tile_rows(const attention_call &c, const attention_tile &tile,
                                         int kv_head)
        : slot(tile.slot), group(c.heads / c.kv_heads)
    {
        rows    = tile.count * group;
        inverse = 65536 / group + 1; /* exact for the rows of a tile */
        head    = kv_head * group;
    }
    __device__ __forceinline__ int query(int row) const
    {
        return row * inverse >> 16;
    }
    __device__ __forceinline__ int head_of(int row) const
    {
        return head + row - query(row) * group;
    }
    /* The first element of a row in q, out …, E elements a head. */
    __device__ __forceinline__ int64_t at(const view &m, int row, int width) const
    {
        return (slot + query(row)) * m.stride + (int64_t)head_of(row) * width;
    }
};

/* Rows first … first + ROWS - 1 of q or dout; those that the tile does not have are zeros. */
template <int E, int ROWS, int THREADS>
static __device__ __forceinline__ void load_queries(bf16 *to, const view &from, const tile_rows &t,
                                                    int first, int vector)
{
    for (int i = (int)threadIdx.x; i < ROWS * E / 8; i += THREADS) {
        int row     = i / (E / 8);
        int column  = i % (E / 8) * 8;
        bool here   = first + row < t.rows;
        int64_t off = t.at(from, here ? first + row : 0, E) + column;
        copy_piece(tile_at<E>(to, row, column), (const bf16 *)from.data + off, here, vector);
    }
}

/* Keys first … first + ROWS - 1 of a segment whose first key is in row `key` of the store; those
 * from `end` on are zeros. */
template <int E, int ROWS, int THREADS>
static __device__ __forceinline__ void load_keys(bf16 *to, const view &from, int key, int first,
                                                 int end, int kv_head, int vector)
{
    for (int i = (int)threadIdx.x; i < ROWS * E / 8; i += THREADS) {
        int row    = i / (E / 8);
        int column = i % (E / 8) * 8;
        bool here  = first + row < end;
        int64_t off =
            (int64_t)(key + first + (here ? row : 0)) * from.stride + kv_head * E + column;
        copy_piece(tile_at<E>(to, row, column), (const bf16 *)from.data + off, here, vector);
    }
}

/* Sixteen rows of a query tile from `first` on, one warp's, from its rows of shared memory. */
template <int E>
static __device__ __forceinline__ void store_queries(const view &to, bf16 *from, const tile_rows &t,
                                                     int first, int vector)
{
    __syncwarp();
    for (int i = (int)threadIdx.x % 32; i < 16 * E / 8; i += 32) {
        int row    = first + i / (E / 8);
        int column = i % (E / 8) * 8;
        if (row < t.rows) {
            store_piece((bf16 *)to.data + t.at(to, row, E) + column, tile_at<E>(from, row, column),
                        vector);
        }
    }
}

/* A fragment of sums, rows lane / 4 and lane / 4 + 8, times `low` and `high`, to rows first … of a
 * tile. */
template <int E, int PIECES>
static __device__ __forceinline__ void put_fragment(bf16 *to, const float (*sums)[4], int first,
                                                    int column, float low, float high)
{
    int lane = (int)threadIdx.x % 32;
    UNROLL
    for (int d = 0; d < PIECES; d++) {
        int at = column + 8 * d + lane % 4 * 2;
        *(uint32_t *)tile_at<E>(to, first + lane / 4, at) =
            device_pair(sums[d][0] * low, sums[d][1] * low);
        *(uint32_t *)tile_at<E>(to, first + lane / 4 + 8, at) =
            device_pair(sums[d][2] * high, sums[d][3] * high);
    }
}

/* The next keys of a chain. */
struct key_cursor {
    int run, key;
};

/* STEP keys on; false at the end of the runs, of which the last is last - 1. */
template <int STEP>
static __device__ __forceinline__ bool advance(const attention_run *runs, int last, key_cursor &at)
{
    at.key += STEP;
    if (at.key >= runs[at.run].end) {
        at.run++;
        if (at.run == last) {
            return false;
        }
        at.key = runs[at.run].first;
    }
    return true;
}

/* Whether queries with indices first … last all see keys key … key + keys - 1. */
static __device__ __forceinline__ bool all_seen(const attention_tile &tile,
                                                const attention_run &run, int key, int keys)
{
    return tile.last + run.low <= key && key + keys <= run.end &&
           key + keys <= tile.first + run.high;
}

/* Keys from … end - 1 of a run are seen by a query. */
struct key_bounds {
    int from, end;

    __device__ __forceinline__ key_bounds(const attention_run &run, int index)
        : from(index + run.low), end(run.end < index + run.high ? run.end : index + run.high)
    {
    }
    __device__ __forceinline__ bool has(int key) const
    {
        return key >= from && key < end;
    }
};

/* Running maximum (of scores before the scale) and sum of one row of scores; factor: scale · log2
 * e. The sum is of this lane's columns. */
struct softmax_row {
    float max, sum;
};

/* Scores become exp2(factor · (score - max)); returns what earlier sums are to be multiplied by.
 * `i`: 0 or 1, row lane / 4 or lane / 4 + 8 of the fragments. */
template <int PIECES>
static __device__ __forceinline__ float softmax_step(softmax_row &row, float (*s)[4], int i,
                                                     float factor)
{
    float top = row.max;
    UNROLL
    for (int j = 0; j < PIECES; j++) {
        top = fmaxf(top, fmaxf(s[j][2 * i], s[j][2 * i + 1]));
    }
    top         = fmaxf(top, __shfl_xor_sync(FULL_WARP, top, 1));
    top         = fmaxf(top, __shfl_xor_sync(FULL_WARP, top, 2));
    float base  = top == -INFINITY ? 0.0f : top * factor; /* nothing seen so far */
    float scale = device_exp2(fmaf(row.max, factor, -base));
    float part  = 0.0f;
    UNROLL
    for (int j = 0; j < PIECES; j++) {
        UNROLL
        for (int e = 2 * i; e < 2 * i + 2; e++) {
            s[j][e] = device_exp2(fmaf(s[j][e], factor, -base));
            part += s[j][e];
        }
    }
    row.sum = row.sum * scale + part;
    row.max = top;
    return scale;
}

/* The same sum over the four lanes of a row, in all of them. */
static __device__ __forceinline__ float row_sum(float x)
{
    x += __shfl_xor_sync(FULL_WARP, x, 1);
    return x + __shfl_xor_sync(FULL_WARP, x, 2);
}

/* The A fragment of 16 columns from two fragments of sums. */
static __device__ __forceinline__ void as_factor(uint32_t a[4], const float low[4],
                                                 const float high[4])
{
    a[0] = device_pair(low[0], low[1]);
    a[1] = device_pair(low[2], low[3]);
    a[2] = device_pair(high[0], high[1]);
    a[3] = device_pair(high[2], high[3]);
}

/* Fragments of a tile for this lane: A of 16 rows and columns from (row, column) on; B of 16
 * columns and 16 rows, which are columns of the product; B of 16 rows and 16 columns. */
template <int E>
static __device__ __forceinline__ void load_a(uint32_t a[4], bf16 *tile, int row, int column)
{
    int lane = (int)threadIdx.x % 32;
    device_load_matrix(a, tile_at<E>(tile, row + lane % 16, column + lane / 16 * 8));
}
template <int E>
static __device__ __forceinline__ void load_b(uint32_t b[4], bf16 *tile, int row, int column)
{
    int lane = (int)threadIdx.x % 32;
    device_load_matrix(b,
                       tile_at<E>(tile, row + lane / 16 * 8 + lane % 8, column + lane / 8 % 2 * 8));
}
template <int E>
static __device__ __forceinline__ void load_b_transposed(uint32_t b[4], bf16 *tile, int row,
                                                         int column)
{
    int lane = (int)threadIdx.x % 32;
    device_load_matrix_transposed(
        b, tile_at<E>(tile, row + lane / 8 % 2 * 8 + lane % 8, column + lane / 16 * 8));
}

/* Calls `run` with the width of a head as the type of its argument; other widths have no kernels on
 * the tensor cores. */
template <int E> struct head_width {
    static constexpr int value = E;
};
template <typename F> static cudaError_t with_width(int width, F run)
{
    switch (width) {
    case 64:
        return run(head_width<64>());
    case 80:
        return run(head_width<80>());
    case 96:
        return run(head_width<96>());
    case 128:
        return run(head_width<128>());
    case 256:
        return run(head_width<256>());
    default:
        return cudaErrorNotSupported;
    }
}
