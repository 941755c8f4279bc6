// SPDX-License-Identifier: Apache-2.0
/* Rotary embedding in place: the pair (x[i], x[i + E/2]) of every head turns by the angle of its
 * row's position. A thread turns eight pairs in a few heads of a row. */
#include "map.cuh"

struct rope_args {
    view x, table;
    int64_t rows, heads, half;
    float sign;
};

template <unsigned TYPES, bool WHOLE, int HEADS>
static __device__ __forceinline__ void turn_heads(const rope_args &a, int64_t row, int64_t head,
                                                  int64_t column)
{
    int count       = piece_count(column, a.half);
    enum element is = type_of<TYPES>(a.x, 0);
    int64_t angles  = row_start(a.table, row) + column;
    int64_t start   = row * a.x.stride + column;
    int64_t width   = 2 * a.half;
    piece low[HEADS];
    piece high[HEADS];
    piece cosine = load_piece<WHOLE>(a.table.data, ELEMENT_F32, angles, count);
    piece sine   = load_piece<WHOLE>(a.table.data, ELEMENT_F32, angles + a.half, count);
    UNROLL
    for (int h = 0; h < HEADS; h++) {
        if (head + h < a.heads) {
            int64_t at = start + (head + h) * width;
            low[h]     = load_piece<WHOLE>(a.x.data, is, at, count);
            high[h]    = load_piece<WHOLE>(a.x.data, is, at + a.half, count);
        }
    }
    UNROLL
    for (int h = 0; h < HEADS; h++) {
        if (head + h < a.heads) {
            piece turned_low;
            piece turned_high;
            UNROLL
            for (int i = 0; i < PIECE; i++) {
                float s          = a.sign * sine.v[i];
                turned_low.v[i]  = low[h].v[i] * cosine.v[i] - high[h].v[i] * s;
                turned_high.v[i] = high[h].v[i] * cosine.v[i] + low[h].v[i] * s;
            }
            int64_t at = start + (head + h) * width;
            store_piece<WHOLE>(a.x.data, is, at, count, turned_low);
            store_piece<WHOLE>(a.x.data, is, at + a.half, count, turned_high);
        }
    }
}

/* Along y of the grid and x of the block: (groups of heads, pieces of half a head). */
template <unsigned TYPES, bool WHOLE, int HEADS>
__global__ void __launch_bounds__(MAP_THREADS) rope_kernel(rope_args a)
{
    int64_t row = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
    int pieces  = (int)((a.half + PIECE - 1) / PIECE);
    int units   = (int)((a.heads + HEADS - 1) / HEADS) * pieces;
    int step    = (int)(gridDim.y * blockDim.x);
    if (row < a.rows) {
        for (int unit = (int)(blockIdx.y * blockDim.x + threadIdx.x); unit < units; unit += step) {
            turn_heads<TYPES, WHOLE, HEADS>(a, row, unit / pieces * HEADS,
                                            (int64_t)(unit % pieces) * PIECE);
        }
    }
}

/* HEADS: of a thread. */
template <unsigned TYPES, bool WHOLE, int HEADS>
static cudaError_t rope(const rope_args &a, cudaStream_t stream)
{
    int64_t units = parts_of(a.heads, HEADS) * parts_of(a.half, PIECE);
    dim3 block    = map_block(units);
    return device_launch("rope", rope_kernel<TYPES, WHOLE, HEADS>,
                         map_grid(a.rows, units, block, 1), block, 0, stream, a);
}

extern "C" cudaError_t launch_rope(view x, view table, int64_t rows, int64_t heads, int64_t width,
                                   float sign, cudaStream_t stream)
{
    const rope_args a = {x, table, rows, heads, width / 2, sign};
    if (rows == 0 || width == 0) {
        return cudaSuccess;
    }
    if (a.half % PIECE != 0 || !is_aligned(x) || !is_aligned(table)) {
        return rope<MIXED, false, 1>(a, stream);
    }
    return x.element == ELEMENT_F32 ? rope<0, true, 4>(a, stream) : rope<1, true, 4>(a, stream);
}
