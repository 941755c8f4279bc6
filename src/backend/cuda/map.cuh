// SPDX-License-Identifier: Apache-2.0
/* Rows in pieces of eight elements, and elementwise kernels made of them: a thread reads a piece of
 * a few rows of every input, all before it writes any, and hands them to a functor. An output may
 * therefore be an input. Arithmetic is F32, rounded once where it is stored.
 *
 * Pieces move by 16 bytes where all matrices allow it, else element by element: the same bits. */
#pragma once

#include "device.cuh"
#include "kernels.h"

enum { PIECE = 8, MAP_THREADS = 256 };

/* Types of the matrices of a kernel, as a template argument: bit i is set where matrix i is BF16,
 * else it is F32. MIXED: any, read from the views. */
#define MIXED 0x80000000u

struct piece {
    float v[PIECE];
};

template <unsigned TYPES>
static __device__ __forceinline__ enum element type_of(const view &m, int which)
{
    return TYPES == MIXED ? m.element : (TYPES >> which & 1) != 0 ? ELEMENT_BF16 : ELEMENT_F32;
}

static inline unsigned type_bit(const view &m, int which)
{
    return m.element == ELEMENT_F16 ? MIXED : (unsigned)(m.element == ELEMENT_BF16) << which;
}

/* The element before which row `row` begins. */
static __device__ __forceinline__ int64_t row_start(const view &m, int64_t row)
{
    return (m.list != NULL ? m.list[row] : row) * m.stride;
}

static __device__ __forceinline__ float half_value(uint16_t bits)
{
    __half_raw raw;
    raw.x = bits;
    return __half2float(__half(raw));
}
static __device__ __forceinline__ float bfloat_value(uint32_t bits)
{
    return __int_as_float((int)(bits << 16));
}

static __device__ __forceinline__ float load_element(const void *data, enum element type,
                                                     int64_t at)
{
    if (type == ELEMENT_F32) {
        return ((const float *)data)[at];
    }
    uint16_t bits = ((const uint16_t *)data)[at];
    return type == ELEMENT_BF16 ? bfloat_value(bits) : half_value(bits);
}

static __device__ __forceinline__ void store_element(void *data, enum element type, int64_t at,
                                                     float value)
{
    if (type == ELEMENT_F32) {
        ((float *)data)[at] = value;
    } else {
        ((__nv_bfloat16 *)data)[at] = __float2bfloat16_rn(value);
    }
}

static __device__ __forceinline__ void unpack(float v[2], uint32_t pair, enum element type)
{
    if (type == ELEMENT_BF16) {
        v[0] = bfloat_value(pair);
        v[1] = __int_as_float((int)(pair & 0xffff0000u));
    } else {
        v[0] = half_value((uint16_t)pair);
        v[1] = half_value((uint16_t)(pair >> 16));
    }
}

/* `count` elements, or eight where WHOLE; the rest is zero. */
template <bool WHOLE>
static __device__ __forceinline__ piece load_piece(const void *data, enum element type, int64_t at,
                                                   int count)
{
    piece p;
    if (!WHOLE) {
        UNROLL
        for (int i = 0; i < PIECE; i++) {
            p.v[i] = i < count ? load_element(data, type, at + i) : 0.0f;
        }
    } else if (type == ELEMENT_F32) {
        const float4 *from = (const float4 *)((const float *)data + at);
        float4 low         = from[0];
        float4 high        = from[1];
        p                  = {{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}};
    } else {
        uint4 raw = *(const uint4 *)((const uint16_t *)data + at);
        unpack(p.v, raw.x, type);
        unpack(p.v + 2, raw.y, type);
        unpack(p.v + 4, raw.z, type);
        unpack(p.v + 6, raw.w, type);
    }
    return p;
}

template <bool WHOLE>
static __device__ __forceinline__ void store_piece(void *data, enum element type, int64_t at,
                                                   int count, const piece &p)
{
    if (!WHOLE) {
        UNROLL
        for (int i = 0; i < PIECE; i++) {
            if (i < count) {
                store_element(data, type, at + i, p.v[i]);
            }
        }
    } else if (type == ELEMENT_F32) {
        float4 *to = (float4 *)((float *)data + at);
        to[0]      = make_float4(p.v[0], p.v[1], p.v[2], p.v[3]);
        to[1]      = make_float4(p.v[4], p.v[5], p.v[6], p.v[7]);
    } else {
        *(uint4 *)((uint16_t *)data + at) =
            make_uint4(device_pair(p.v[0], p.v[1]), device_pair(p.v[2], p.v[3]),
                       device_pair(p.v[4], p.v[5]), device_pair(p.v[6], p.v[7]));
    }
}

/* Elements of the piece at `column` of a row of `columns`. */
static __device__ __forceinline__ int piece_count(int64_t column, int64_t columns)
{
    return columns - column < PIECE ? (int)(columns - column) : PIECE;
}

/* Whether whole pieces of a matrix are aligned to 16 bytes. */
static inline bool is_aligned(const view &m)
{
    size_t size = m.element == ELEMENT_F32 ? sizeof(float) : sizeof(uint16_t);
    return (uintptr_t)m.data % 16 == 0 && (size_t)m.stride * size % 16 == 0;
}

static inline int64_t parts_of(int64_t n, int64_t size)
{
    return (n + size - 1) / size;
}

/* What a block of MAP_THREADS covers: `x` pieces of `y` · `rows` rows. */
static inline dim3 map_block(int64_t pieces)
{
    unsigned x = 1;
    while (x < pieces && x < MAP_THREADS) {
        x *= 2;
    }
    return dim3(x, MAP_THREADS / x);
}

/* Rows along x, of which there may be many; columns along y, at most 65535 blocks that take turns.
 */
static inline dim3 map_grid(int64_t rows, int64_t pieces, dim3 block, int rows_each)
{
    int64_t across = parts_of(pieces, block.x);
    return dim3((unsigned)parts_of(rows, (int64_t)block.y * rows_each),
                (unsigned)(across < 65535 ? across : 65535));
}

/* Inputs, then outputs; see type bits. */
template <int IN, int OUT> struct matrices {
    view m[IN + OUT];
};

template <bool WHOLE, unsigned TYPES, int ROWS, typename F, int IN, int OUT>
static __device__ __forceinline__ void map_rows(const F &f, const matrices<IN, OUT> &all,
                                                const extent &shape, int64_t first, int64_t column)
{
    piece in[ROWS][IN];
    int count[ROWS];
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        int64_t row     = first + (int64_t)r * blockDim.y;
        int64_t columns = row == shape.rows - 1 ? shape.last : shape.columns;
        count[r]        = row < shape.rows && column < columns ? piece_count(column, columns) : 0;
        if (count[r] > 0) {
            UNROLL
            for (int i = 0; i < IN; i++) {
                const view &m = all.m[i];
                in[r][i]      = load_piece<WHOLE>(m.data, type_of<TYPES>(m, i),
                                             row_start(m, row) + column, count[r]);
            }
        }
    }
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        if (count[r] > 0) {
            piece out[OUT];
            int64_t row = first + (int64_t)r * blockDim.y;
            f(in[r], out, row, column);
            UNROLL
            for (int i = 0; i < OUT; i++) {
                const view &m = all.m[IN + i];
                store_piece<WHOLE>(m.data, type_of<TYPES>(m, IN + i), row_start(m, row) + column,
                                   count[r], out[i]);
            }
        }
    }
}

/* What a thread makes of a functor before its first piece: as a rule nothing. */
template <typename F> static __device__ __forceinline__ const F &started(const F &f)
{
    return f;
}

/* f(in [IN], out [OUT], row, column) on every piece. */
template <unsigned TYPES, int ROWS, typename F, int IN, int OUT>
__global__ void __launch_bounds__(MAP_THREADS)
    map_kernel(F f, matrices<IN, OUT> all, extent shape, bool aligned)
{
    int64_t first = (int64_t)blockIdx.x * blockDim.y * ROWS + threadIdx.y;
    int64_t end   = first + (int64_t)(ROWS - 1) * blockDim.y + 1;
    int64_t width = end < shape.rows ? shape.columns : shape.last;
    int64_t step  = (int64_t)gridDim.y * blockDim.x * PIECE;
    int64_t start = ((int64_t)blockIdx.y * blockDim.x + threadIdx.x) * PIECE;
    const auto &g = started(f);
    for (int64_t column = start; column < shape.columns; column += step) {
        if (aligned && column + PIECE <= width) {
            map_rows<true, TYPES, ROWS>(g, all, shape, first, column);
            continue;
        }
        for (int r = 0; r < ROWS; r++) {
            map_rows<false, TYPES, 1>(g, all, shape, first + (int64_t)r * blockDim.y, column);
        }
    }
}

template <unsigned TYPES, int ROWS, typename F, int IN, int OUT>
static cudaError_t map_launch(const char *name, const F &f, const matrices<IN, OUT> &all,
                              extent shape, bool aligned, cudaStream_t stream)
{
    int64_t pieces = parts_of(shape.columns, PIECE);
    dim3 block     = map_block(pieces);
    return device_launch(name, map_kernel<TYPES, ROWS, F, IN, OUT>,
                         map_grid(shape.rows, pieces, block, ROWS), block, 0, stream, f, all, shape,
                         aligned);
}

/* ROWS: rows of a thread, for about four loads at once. HOT: the types in use, for which kernels
 * of their own are compiled; others run the MIXED one. */
template <int ROWS, unsigned... HOT, typename F, int IN, int OUT>
static cudaError_t map(const char *name, const F &f, const matrices<IN, OUT> &all, extent shape,
                       cudaStream_t stream)
{
    unsigned types   = 0;
    bool aligned     = true;
    bool found       = false;
    cudaError_t code = cudaSuccess;
    if (shape.rows == 0 || shape.columns == 0) {
        return code;
    }
    for (int i = 0; i < IN + OUT; i++) {
        types |= type_bit(all.m[i], i);
        aligned = aligned && is_aligned(all.m[i]);
    }
    (void)((types == HOT &&
            (code = map_launch<HOT, ROWS>(name, f, all, shape, aligned, stream), found = true)) ||
           ...);
    return found ? code : map_launch<MIXED, ROWS>(name, f, all, shape, aligned, stream);
}
