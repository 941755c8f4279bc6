// SPDX-License-Identifier: Apache-2.0
/* Rows by index: the embedding, and its backward, which adds rows that may share a target. No sum
 * is made by atomics: the block of the first row with a target adds all rows that have it, in the
 * order of the list. */
#include "device.cuh"
#include "kernels.h"

enum {
    THREADS  = 256,
    WARPS    = THREADS / 32,
    EACH     = 4,              /* columns of a thread */
    TILE     = THREADS * EACH, /* of a block */
    BALLOTS  = 4,              /* ids of a lane in one look at the list */
    LOOK     = THREADS * BALLOTS,
    LOOK_INT = LOOK + WARPS /* shared memory of a look, in ints */
};

static dim3 rows_and_tiles(int64_t rows, int64_t columns)
{
    return dim3((unsigned)rows, (unsigned)((columns + TILE - 1) / TILE));
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    embedding_forward_kernel(view y, view table, const int32_t *ids, int64_t columns, float scale)
{
    int32_t id = ids[blockIdx.x];
    if (id < 0) {
        return;
    }
    const T *from = (const T *)table.data + id * table.stride;
    float *to     = (float *)y.data + blockIdx.x * y.stride;
    int64_t first = (int64_t)blockIdx.y * TILE + threadIdx.x;
    float held[EACH];
    UNROLL
    for (int i = 0; i < EACH; i++) {
        int64_t at = first + i * THREADS;
        held[i]    = at < columns ? device_float(from[at]) : 0.0f;
    }
    UNROLL
    for (int i = 0; i < EACH; i++) {
        int64_t at = first + i * THREADS;
        if (at < columns) {
            to[at] = held[i] * scale;
        }
    }
}

extern "C" cudaError_t launch_embedding_forward(view y, view table, const int32_t *ids,
                                                int64_t rows, int64_t columns, float scale,
                                                cudaStream_t stream)
{
    static const char name[] = "embedding_forward";
    dim3 grid                = rows_and_tiles(rows, columns);
    if (rows == 0 || columns == 0) {
        return cudaSuccess;
    }
    if (table.element == ELEMENT_BF16) {
        return device_launch(name, embedding_forward_kernel<__nv_bfloat16>, grid, dim3(THREADS), 0,
                             stream, y, table, ids, columns, scale);
    }
    if (table.element == ELEMENT_F16) {
        return device_launch(name, embedding_forward_kernel<__half>, grid, dim3(THREADS), 0, stream,
                             y, table, ids, columns, scale);
    }
    return device_launch(name, embedding_forward_kernel<float>, grid, dim3(THREADS), 0, stream, y,
                         table, ids, columns, scale);
}

/* Where `id` occurs among the LOOK ids from `first` on: `found` in shared memory, ascending.
 * Returns how often, to all threads of the block, which all call. `counts` [WARPS] is shared. */
static __device__ __forceinline__ int look_for(int32_t id, const int32_t *ids, int64_t first,
                                               int64_t rows, int *found, int *counts)
{
    int lane      = (int)threadIdx.x % 32;
    int warp      = (int)threadIdx.x / 32;
    int64_t start = first + (int64_t)warp * 32 * BALLOTS + lane;
    unsigned hits[BALLOTS];
    int mine = 0;
    UNROLL
    for (int i = 0; i < BALLOTS; i++) {
        int64_t at = start + i * 32;
        hits[i]    = __ballot_sync(FULL_WARP, at < rows && ids[at] == id);
        mine += __popc(hits[i]);
    }
    if (lane == 0) {
        counts[warp] = mine;
    }
    __syncthreads();
    int before = 0;
    int all    = 0;
    for (int w = 0; w < WARPS; w++) {
        before += w < warp ? counts[w] : 0;
        all += counts[w];
    }
    UNROLL
    for (int i = 0; i < BALLOTS; i++) {
        if ((hits[i] >> lane & 1u) != 0) {
            found[before + __popc(hits[i] & ((1u << lane) - 1u))] = (int)(start + i * 32);
        }
        before += __popc(hits[i]);
    }
    __syncthreads();
    return all;
}

/* The columns of a thread in one row. */
template <typename T>
static __device__ __forceinline__ void load_columns(float *held, const T *row, int64_t first,
                                                    int64_t columns)
{
    UNROLL
    for (int i = 0; i < EACH; i++) {
        int64_t at = first + i * THREADS;
        held[i]    = at < columns ? device_float(row[at]) : 0.0f;
    }
}

template <typename Y, typename X>
__global__ void __launch_bounds__(THREADS)
    scatter_add_kernel(view y, view x, const int32_t *ids, int64_t rows, int64_t columns,
                       float scale)
{
    int *found  = (int *)device_shared();
    int *counts = found + LOOK;
    int32_t id  = ids[blockIdx.x];
    if (id < 0) {
        return;
    }
    Y *to         = (Y *)y.data + id * y.stride;
    int64_t first = (int64_t)blockIdx.y * TILE + threadIdx.x;
    bool mine     = false;
    float sum[EACH];
    for (int64_t from = 0; from < rows; from += LOOK) {
        int n = look_for(id, ids, from, rows, found, counts);
        if (n > 0 && !mine) {
            if (found[0] != (int)blockIdx.x) {
                return; /* all threads: the block of an earlier row adds */
            }
            mine = true;
            load_columns(sum, to, first, columns);
        }
        for (int k = 0; k < n; k++) {
            float more[EACH];
            load_columns(more, (const X *)x.data + found[k] * x.stride, first, columns);
            UNROLL
            for (int i = 0; i < EACH; i++) {
                sum[i] = device_add(sum[i], device_mul(scale, more[i]));
            }
        }
    }
    UNROLL
    for (int i = 0; i < EACH; i++) {
        int64_t at = first + i * THREADS;
        if (at < columns) {
            device_put(to + at, sum[i]);
        }
    }
}

template <typename Y, typename X>
static cudaError_t scatter_add(view y, view x, const int32_t *ids, int64_t rows, int64_t columns,
                               float scale, cudaStream_t stream)
{
    return device_launch("scatter_add", scatter_add_kernel<Y, X>, rows_and_tiles(rows, columns),
                         dim3(THREADS), LOOK_INT * sizeof(int), stream, y, x, ids, rows, columns,
                         scale);
}

extern "C" cudaError_t launch_scatter_add(view y, view x, const int32_t *ids, int64_t rows,
                                          int64_t columns, float scale, cudaStream_t stream)
{
    bool wide = y.element == ELEMENT_F32;
    if (rows == 0 || columns == 0) {
        return cudaSuccess;
    }
    if (x.element == ELEMENT_F32) {
        return wide ? scatter_add<float, float>(y, x, ids, rows, columns, scale, stream)
                    : scatter_add<__nv_bfloat16, float>(y, x, ids, rows, columns, scale, stream);
    }
    return wide
               ? scatter_add<float, __nv_bfloat16>(y, x, ids, rows, columns, scale, stream)
               : scatter_add<__nv_bfloat16, __nv_bfloat16>(y, x, ids, rows, columns, scale, stream);
}
