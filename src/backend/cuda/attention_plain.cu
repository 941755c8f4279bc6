// SPDX-License-Identifier: Apache-2.0
/* Attention over the forest without tensor cores: any type and any width up to 256. It is the
 * attention of F32 runs, and the twin that the kernels on tensor cores are tested against.
 *
 * A warp has one row of a query tile, or one key: its lanes take 32 partners at a time for products
 * with them, then the columns of the sum over them. */
#include "kernels.h"
#include "device.cuh"

enum { WARPS = 8, THREADS = 32 * WARPS, COLUMNS = ATTENTION_WIDTH / 32 };

/* A warp's own, in shared memory. */
struct plain_room {
    float first[ATTENTION_WIDTH], second[ATTENTION_WIDTH]; /* q and dout, or k and v */
    float weight[32], other[32];                           /* of the partners */
};

static __device__ __forceinline__ plain_room *room_of_warp()
{
    return (plain_room *)device_shared() + threadIdx.x / 32;
}

template <typename T> static __device__ __forceinline__ const T *row_of(const view &m, int64_t row)
{
    return (const T *)m.data + row * m.stride;
}

/* The sum over `width` of room · from; the same bits with and without 16-byte accesses. */
template <typename T>
static __device__ __forceinline__ float dot(const float *room, const T *from, int width, int vector)
{
    constexpr int PIECE = 16 / (int)sizeof(T);
    float sum[4]        = {};
    int e               = 0;
    for (; vector != 0 && e < width; e += PIECE) {
        alignas(16) T piece[PIECE];
        device_copy_16(piece, from + e);
        UNROLL
        for (int i = 0; i < PIECE; i++) {
            sum[i % 4] = fmaf(room[e + i], device_float(piece[i]), sum[i % 4]);
        }
    }
    for (; e < width; e++) {
        float product = device_float(from[e]);
        UNROLL
        for (int i = 0; i < 4; i++) {
            sum[i] = e % 4 == i ? fmaf(room[e], product, sum[i]) : sum[i];
        }
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* A row into the warp's room, times a factor. */
template <typename T>
static __device__ __forceinline__ void put_row(float *room, const T *from, int width, float factor)
{
    for (int e = (int)threadIdx.x % 32; e < width; e += 32) {
        room[e] = device_float(from[e]) * factor;
    }
}

/* sums += Σ weights[i] · rows i < count, by columns. */
template <typename T>
static __device__ __forceinline__ void add_rows(float *sums, const float *weights, const T *rows,
                                                int64_t stride, int count, int width)
{
    int lane = (int)threadIdx.x % 32;
    UNROLL
    for (int i = 0; i < COLUMNS; i++) {
        int e = lane + 32 * i;
        if (32 * i < width && e < width) {
            for (int r = 0; r < count; r++) {
                sums[i] = fmaf(weights[r], device_float(rows[r * stride + e]), sums[i]);
            }
        }
    }
}

template <typename T>
static __device__ __forceinline__ void put_sums(T *to, const float *sums, float factor, int width)
{
    UNROLL
    for (int i = 0; i < COLUMNS; i++) {
        int e = (int)threadIdx.x % 32 + 32 * i;
        if (e < width) {
            device_put(to + e, sums[i] * factor);
        }
    }
}

/* Row j · G + g of a tile, and the keys of a run that it sees: from … end - 1. */
struct plain_row {
    int64_t slot;
    int head, index;
};

static __device__ __forceinline__ plain_row row_at(const attention_call &c,
                                                   const attention_tile &tile, int kv_head, int row)
{
    int group    = c.heads / c.kv_heads;
    plain_row at = {tile.slot + row / group, kv_head * group + row % group, 0};
    at.index     = c.cut.index[at.slot];
    return at;
}

struct plain_bounds {
    int from, end;

    __device__ __forceinline__ plain_bounds(const attention_run &run, int index)
        : from(index + run.low), end(run.end < index + run.high ? run.end : index + run.high)
    {
        from = from < 0 ? 0 : from;
    }
};

template <typename T>
static __device__ __forceinline__ void forward_row(const attention_call &c,
                                                   const attention_tile &tile, int kv_head, int row,
                                                   plain_room *room)
{
    int lane            = (int)threadIdx.x % 32;
    int width           = c.width;
    plain_row at        = row_at(c, tile, kv_head, row);
    float sums[COLUMNS] = {};
    float max           = -INFINITY;
    float sum           = 0.0f; /* of this lane's keys */
    put_row(room->first, row_of<T>(c.q, at.slot) + at.head * width, width, c.scale);
    __syncwarp();
    for (int r = tile.run; r < tile.run + tile.runs; r++) {
        attention_run run = c.cut.runs[r];
        plain_bounds seen(run, at.index);
        for (int first = seen.from / 32 * 32; first < seen.end; first += 32) {
            int key     = first + lane;
            bool here   = key >= seen.from && key < seen.end;
            const T *k  = row_of<T>(c.keys, run.key + (here ? key : first)) + kv_head * width;
            const T *v  = row_of<T>(c.values, run.key + first) + kv_head * width;
            int count   = seen.end - first < 32 ? seen.end - first : 32;
            float score = dot(room->first, k, width, c.vector);
            score       = here ? score : -INFINITY;
            float top   = fmaxf(max, device_warp_max(score));
            float scale = expf(max - top);
            float prob  = here ? expf(score - top) : 0.0f;
            sum         = fmaf(sum, scale, prob);
            max         = top;
            room->weight[lane] = prob;
            __syncwarp();
            UNROLL
            for (int i = 0; i < COLUMNS; i++) {
                sums[i] *= scale;
            }
            add_rows(sums, room->weight, v, c.values.stride, count, width);
            __syncwarp();
        }
    }
    sum = device_warp_sum(sum);
    if (lane == 0) {
        ((float *)c.lse.data)[at.slot * c.lse.stride + at.head] = max + logf(sum);
    }
    put_sums((T *)c.out.data + at.slot * c.out.stride + at.head * width, sums, 1.0f / sum, width);
}

/* delta as the sum of P · (dout Vᵀ), which does not depend on how `out` was rounded; the room has q
 * and dout. */
template <typename T>
static __device__ __forceinline__ float
exact_delta(const attention_call &c, const attention_tile &tile, int kv_head, const plain_row &at,
            float lse, const plain_room *room)
{
    int column = kv_head * c.width;
    float sum  = 0.0f;
    for (int r = tile.run; r < tile.run + tile.runs; r++) {
        attention_run run = c.cut.runs[r];
        plain_bounds seen(run, at.index);
        for (int key = seen.from + (int)threadIdx.x % 32; key < seen.end; key += 32) {
            const T *k = row_of<T>(c.keys, run.key + key) + column;
            const T *v = row_of<T>(c.values, run.key + key) + column;
            float prob = expf(dot(room->first, k, c.width, c.vector) - lse);
            sum        = fmaf(prob, dot(room->second, v, c.width, c.vector), sum);
        }
    }
    sum = device_warp_sum(sum);
    if (threadIdx.x % 32 == 0) {
        c.delta[at.slot * c.heads + at.head] = sum;
    }
    return sum;
}

template <typename T>
static __device__ __forceinline__ void queries_row(const attention_call &c,
                                                   const attention_tile &tile, int kv_head, int row,
                                                   plain_room *room)
{
    int lane            = (int)threadIdx.x % 32;
    int width           = c.width;
    plain_row at        = row_at(c, tile, kv_head, row);
    float sums[COLUMNS] = {};
    float lse           = ((const float *)c.lse.data)[at.slot * c.lse.stride + at.head];
    put_row(room->first, row_of<T>(c.q, at.slot) + at.head * width, width, c.scale);
    put_row(room->second, row_of<T>(c.dout, at.slot) + at.head * width, width, 1.0f);
    __syncwarp();
    float delta = sizeof(T) < sizeof(float) ? exact_delta<T>(c, tile, kv_head, at, lse, room)
                                            : c.delta[at.slot * c.heads + at.head];
    for (int r = tile.run; r < tile.run + tile.runs; r++) {
        attention_run run = c.cut.runs[r];
        plain_bounds seen(run, at.index);
        for (int first = seen.from / 32 * 32; first < seen.end; first += 32) {
            int key       = first + lane;
            bool here     = key >= seen.from && key < seen.end;
            int64_t own   = run.key + (here ? key : first);
            const T *rows = row_of<T>(c.keys, run.key + first) + kv_head * width;
            int count     = seen.end - first < 32 ? seen.end - first : 32;
            float score =
                dot(room->first, row_of<T>(c.keys, own) + kv_head * width, width, c.vector);
            float dprob =
                dot(room->second, row_of<T>(c.values, own) + kv_head * width, width, c.vector);
            room->weight[lane] = here ? expf(score - lse) * (dprob - delta) : 0.0f;
            __syncwarp();
            add_rows(sums, room->weight, rows, c.keys.stride, count, width);
            __syncwarp();
        }
    }
    put_sums((T *)c.dq.data + at.slot * c.dq.stride + at.head * width, sums, c.scale, width);
}

/* One kernel for both, over the rows of a tile. */
template <typename T, int BACKWARD>
__global__ void __launch_bounds__(THREADS, 2) attention_plain_kernel(const attention_call c)
{
    if ((int)blockIdx.x >= c.cut.counts->tiles) {
        return;
    }
    attention_tile tile = c.cut.tiles[c.cut.order[blockIdx.x]];
    int rows            = tile.count * (c.heads / c.kv_heads);
    for (int row = (int)threadIdx.x / 32; row < rows; row += WARPS) {
        if (BACKWARD) {
            queries_row<T>(c, tile, (int)blockIdx.y, row, room_of_warp());
        } else {
            forward_row<T>(c, tile, (int)blockIdx.y, row, room_of_warp());
        }
        __syncwarp();
    }
}

/* Rows of q and dout of a tile, for one key. */
template <typename T>
static __device__ __forceinline__ void key_tile(const attention_call &c, const attention_tile &tile,
                                                const attention_range &range, int kv_head, int key,
                                                plain_room *room, float *dk, float *dv)
{
    int lane  = (int)threadIdx.x % 32;
    int width = c.width;
    int group = c.heads / c.kv_heads;
    int rows  = tile.count * group;
    for (int first = 0; first < rows; first += 32) {
        int count          = rows - first < 32 ? rows - first : 32;
        bool here          = lane < count;
        plain_row at       = row_at(c, tile, kv_head, here ? first + lane : 0);
        const T *q         = row_of<T>(c.q, at.slot) + at.head * width;
        const T *dout      = row_of<T>(c.dout, at.slot) + at.head * width;
        float lse          = ((const float *)c.lse.data)[at.slot * c.lse.stride + at.head];
        bool seen          = here && key >= at.index + range.low && key < at.index + range.high;
        float score        = dot(room->first, q, width, c.vector);
        float dprob        = dot(room->second, dout, width, c.vector);
        float prob         = seen ? expf(score - lse) : 0.0f;
        room->weight[lane] = prob;
        room->other[lane]  = prob * (dprob - c.delta[at.slot * c.heads + at.head]);
        __syncwarp();
        for (int r = 0; r < count; r++) {
            plain_row of = row_at(c, tile, kv_head, first + r);
            add_rows(dk, room->other + r, row_of<T>(c.q, of.slot) + of.head * width, 0, 1, width);
            add_rows(dv, room->weight + r, row_of<T>(c.dout, of.slot) + of.head * width, 0, 1,
                     width);
        }
        __syncwarp();
    }
}

template <typename T>
__global__ void __launch_bounds__(THREADS, 2) attention_plain_keys_kernel(const attention_call c)
{
    if ((int)blockIdx.x >= c.cut.counts->parts) {
        return;
    }
    attention_part part = c.cut.parts[blockIdx.x];
    int kv_head         = (int)blockIdx.y;
    int width           = c.width;
    plain_room *room    = room_of_warp();
    int count           = part.end - part.first;
    for (int i = (int)threadIdx.x / 32; i < count; i += WARPS) {
        int64_t row       = part.key + part.first + i;
        float dk[COLUMNS] = {};
        float dv[COLUMNS] = {};
        put_row(room->first, row_of<T>(c.keys, row) + kv_head * width, width, c.scale);
        put_row(room->second, row_of<T>(c.values, row) + kv_head * width, width, 1.0f);
        __syncwarp();
        int skip = part.skip;
        int left = part.tiles;
        for (int r = part.range; left > 0; r++) {
            attention_range range = c.cut.ranges[r];
            for (int t = skip; t < range.count && left > 0; t++, left--) {
                attention_tile tile = c.cut.tiles[range.tile + t];
                if (part.first + i >= tile.first + range.low &&
                    part.first + i < tile.last + range.high) {
                    key_tile<T>(c, tile, range, kv_head, part.first + i, room, dk, dv);
                }
            }
            skip = 0;
        }
        if (part.room < 0) {
            put_sums((T *)c.dkeys.data + row * c.dkeys.stride + kv_head * width, dk, c.scale,
                     width);
            put_sums((T *)c.dvalues.data + row * c.dvalues.stride + kv_head * width, dv, 1.0f,
                     width);
        } else {
            float *to =
                c.sums +
                (((int64_t)part.room * c.kv_heads + kv_head) * 2 * ATTENTION_KEYS + i) * width;
            put_sums(to, dk, c.scale, width);
            put_sums(to + ATTENTION_KEYS * width, dv, 1.0f, width);
        }
        __syncwarp();
    }
}

/* Eight lanes have a head of a row, in pieces of eight elements. */
template <typename T>
__global__ void __launch_bounds__(THREADS) attention_delta_kernel(const attention_call c)
{
    int64_t unit    = ((int64_t)blockIdx.x * THREADS + threadIdx.x) / 8;
    bool here       = unit < (int64_t)c.queries * c.heads;
    int64_t slot    = here ? unit / c.heads : 0;
    int head        = here ? (int)(unit % c.heads) : 0;
    const T *out    = row_of<T>(c.out, slot) + head * c.width;
    const T *dout   = row_of<T>(c.dout, slot) + head * c.width;
    constexpr int N = 16 / (int)sizeof(T);
    float sum       = 0.0f;
    for (int first = (int)threadIdx.x % 8 * 8; first < c.width; first += 64) {
        for (int piece = first; piece < first + 8 && piece < c.width; piece += N) {
            alignas(16) T x[N];
            alignas(16) T y[N];
            if (c.vector != 0) {
                device_copy_16(x, out + piece);
                device_copy_16(y, dout + piece);
            }
            for (int i = 0; i < N && piece + i < c.width; i++) {
                float product = c.vector != 0
                                    ? device_float(x[i]) * device_float(y[i])
                                    : device_float(out[piece + i]) * device_float(dout[piece + i]);
                sum           = device_add(sum, product);
            }
        }
    }
    for (int by = 4; by > 0; by /= 2) {
        sum += __shfl_xor_sync(FULL_WARP, sum, by);
    }
    if (here && threadIdx.x % 8 == 0) {
        c.delta[unit] = sum;
    }
}

/* The parts of a key tile, for one key head. */
template <typename T>
__global__ void __launch_bounds__(THREADS) attention_sums_kernel(const attention_call c)
{
    if ((int)blockIdx.x >= c.cut.counts->sums) {
        return;
    }
    attention_sum sum = c.cut.sums[blockIdx.x];
    int kv_head       = (int)blockIdx.y;
    int64_t tile      = (int64_t)ATTENTION_KEYS * c.width;
    int64_t stride    = 2 * tile * c.kv_heads;
    const float *from = c.sums + sum.room * stride + 2 * tile * kv_head;
    for (int i = (int)threadIdx.x; i < sum.count * c.width; i += THREADS) {
        float dk = 0.0f;
        float dv = 0.0f;
        for (int p = 0; p < sum.parts; p++) {
            dk += from[p * stride + i];
            dv += from[p * stride + tile + i];
        }
        int64_t row = sum.key + i / c.width;
        int column  = kv_head * c.width + i % c.width;
        device_put((T *)c.dkeys.data + row * c.dkeys.stride + column, dk);
        device_put((T *)c.dvalues.data + row * c.dvalues.stride + column, dv);
    }
}

/* Launches for both types. */
#define BY_ELEMENT(launch)                                            \
    (element == ELEMENT_F32    ? launch<float>(*call, stream)         \
     : element == ELEMENT_BF16 ? launch<__nv_bfloat16>(*call, stream) \
                               : cudaErrorNotSupported)

template <typename T, int BACKWARD>
static cudaError_t plain(const attention_call &c, cudaStream_t stream)
{
    if (c.cut.room.tiles == 0) {
        return cudaSuccess;
    }
    return device_launch("attention_plain", attention_plain_kernel<T, BACKWARD>,
                         dim3((unsigned)c.cut.room.tiles, (unsigned)c.kv_heads), dim3(THREADS),
                         WARPS * sizeof(plain_room), stream, c);
}

template <typename T> static cudaError_t plain_forward(const attention_call &c, cudaStream_t stream)
{
    return plain<T, 0>(c, stream);
}

template <typename T> static cudaError_t plain_queries(const attention_call &c, cudaStream_t stream)
{
    return plain<T, 1>(c, stream);
}

template <typename T> static cudaError_t plain_keys(const attention_call &c, cudaStream_t stream)
{
    if (c.cut.room.parts == 0) {
        return cudaSuccess;
    }
    return device_launch("attention_plain_keys", attention_plain_keys_kernel<T>,
                         dim3((unsigned)c.cut.room.parts, (unsigned)c.kv_heads), dim3(THREADS),
                         WARPS * sizeof(plain_room), stream, c);
}

template <typename T> static cudaError_t delta(const attention_call &c, cudaStream_t stream)
{
    int64_t units = (int64_t)c.queries * c.heads;
    if (units == 0) {
        return cudaSuccess;
    }
    return device_launch("attention_delta", attention_delta_kernel<T>,
                         dim3((unsigned)((units * 8 + THREADS - 1) / THREADS)), dim3(THREADS), 0,
                         stream, c);
}

template <typename T> static cudaError_t sums(const attention_call &c, cudaStream_t stream)
{
    if (c.cut.room.sums == 0) {
        return cudaSuccess;
    }
    return device_launch("attention_sums", attention_sums_kernel<T>,
                         dim3((unsigned)c.cut.room.sums, (unsigned)c.kv_heads), dim3(THREADS), 0,
                         stream, c);
}

extern "C" cudaError_t launch_attention_plain_forward(const attention_call *call,
                                                      enum element element, cudaStream_t stream)
{
    return BY_ELEMENT(plain_forward);
}

extern "C" cudaError_t launch_attention_plain_queries(const attention_call *call,
                                                      enum element element, cudaStream_t stream)
{
    return BY_ELEMENT(plain_queries);
}

extern "C" cudaError_t launch_attention_plain_keys(const attention_call *call, enum element element,
                                                   cudaStream_t stream)
{
    return BY_ELEMENT(plain_keys);
}

extern "C" cudaError_t launch_attention_delta(const attention_call *call, enum element element,
                                              cudaStream_t stream)
{
    return BY_ELEMENT(delta);
}

extern "C" cudaError_t launch_attention_sums(const attention_call *call, enum element element,
                                             cudaStream_t stream)
{
    return BY_ELEMENT(sums);
}
