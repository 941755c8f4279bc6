// SPDX-License-Identifier: Apache-2.0
/* Attention over the forest, backward, on the tensor cores, without atomics. With P = exp(S - lse),
 * delta = rowsum(dout · out) (Dao et al. 2022):
 *     dS = P · (dout Vᵀ - delta),  dQ = dS K · scale,  dV = Pᵀ dout,  dK = dSᵀ Q · scale.
 *
 * A block of the first kernel has the rows of one query tile and one key head, and adds up dQ over
 * its keys; a block of the second has one tile of keys and one key head, and adds up dK and dV over
 * the query tiles that see it, with all heads of the group. Each computes S and dout Vᵀ for itself.
 */
#include "attention.cuh"

enum { ROWS = ATTENTION_ROWS, KEYS = ATTENTION_KEYS, HALF = 32 };

/* P of a score; its logarithm's base is 2, as that of lse. */
static __device__ __forceinline__ float probability(float score, float factor, float lse, bool seen)
{
    return seen ? device_exp2(fmaf(score, factor, -lse)) : 0.0f;
}

/* dQ: keys come in halves of a tile, two at once in shared memory. */
template <int E>
static __device__ __forceinline__ void load_half(bf16 *stages, int stage, const attention_call &c,
                                                 const key_cursor &at, int kv_head)
{
    attention_run run = c.cut.runs[at.run];
    bf16 *ks          = tile_at<E>(stages, stage * 2 * HALF, 0);
    load_keys<E, HALF, 128>(ks, c.keys, run.key, at.key, run.end, kv_head, c.vector);
    load_keys<E, HALF, 128>(tile_at<E>(ks, HALF, 0), c.values, run.key, at.key, run.end, kv_head,
                            c.vector);
}

template <int E, int STAGES>
__global__ void __launch_bounds__(128) attention_queries_kernel(const attention_call c)
{
    if ((int)blockIdx.x >= c.cut.counts->tiles) {
        return;
    }
    bf16 *qs            = (bf16 *)device_shared();
    bf16 *ds            = tile_at<E>(qs, ROWS, 0);
    bf16 *stages        = tile_at<E>(ds, ROWS, 0);
    int warp            = (int)threadIdx.x / 32;
    int lane            = (int)threadIdx.x % 32;
    int kv_head         = (int)blockIdx.y;
    attention_tile tile = c.cut.tiles[c.cut.order[blockIdx.x]];
    tile_rows rows(c, tile, kv_head);
    const attention_run *runs = c.cut.runs;
    const float factor        = c.scale * ATTENTION_LOG2E;
    key_cursor at             = {tile.run, runs[tile.run].first};
    load_queries<E, ROWS, 128>(qs, c.q, rows, 0, c.vector);
    load_queries<E, ROWS, 128>(ds, c.dout, rows, 0, c.vector);
    load_half<E>(stages, 0, c, at, kv_head);
    device_copy_commit();

    int index[2]   = {-1, -1}; /* of this lane's two rows */
    float lse[2]   = {INFINITY, INFINITY};
    float delta[2] = {0.0f, 0.0f};
    UNROLL
    for (int i = 0; i < 2; i++) {
        int row = 16 * warp + lane / 4 + 8 * i;
        if (row < rows.rows) {
            int64_t slot = rows.slot + rows.query(row);
            int head     = rows.head_of(row);
            index[i]     = c.cut.index[slot];
            lse[i]   = ((const float *)c.lse.data)[slot * c.lse.stride + head] * ATTENTION_LOG2E;
            delta[i] = c.delta[slot * c.heads + head];
        }
    }
    float sum[E / 8][4] = {};
    bool more           = true;
    for (int stage = 0; more; stage ^= STAGES - 1) {
        attention_run run = runs[at.run];
        int key           = at.key;
        more              = advance<HALF>(runs, tile.run + tile.runs, at);
        if (STAGES > 1 && more) {
            load_half<E>(stages, stage ^ 1, c, at, kv_head);
        }
        device_copy_commit();
        device_copy_wait<STAGES - 1>();
        __syncthreads();
        bf16 *ks              = tile_at<E>(stages, stage * 2 * HALF, 0);
        bf16 *vs              = tile_at<E>(ks, HALF, 0);
        float s[HALF / 8][4]  = {};
        float dp[HALF / 8][4] = {};
        UNROLL
        for (int k = 0; k < E; k += 16) {
            uint32_t qa[4];
            uint32_t da[4];
            load_a<E>(qa, qs, 16 * warp, k);
            load_a<E>(da, ds, 16 * warp, k);
            UNROLL
            for (int j = 0; j < HALF / 16; j++) {
                uint32_t b[4];
                load_b<E>(b, ks, 16 * j, k);
                device_mma(s[2 * j], qa, b);
                device_mma(s[2 * j + 1], qa, b + 2);
                load_b<E>(b, vs, 16 * j, k);
                device_mma(dp[2 * j], da, b);
                device_mma(dp[2 * j + 1], da, b + 2);
            }
        }
        bool all = all_seen(tile, run, key, HALF);
        UNROLL
        for (int i = 0; i < 2; i++) {
            key_bounds bounds(run, index[i]);
            UNROLL
            for (int j = 0; j < HALF / 8; j++) {
                UNROLL
                for (int e = 2 * i; e < 2 * i + 2; e++) {
                    bool seen  = all || bounds.has(key + 8 * j + lane % 4 * 2 + e % 2);
                    float prob = probability(s[j][e], factor, lse[i], seen);
                    dp[j][e]   = prob * (dp[j][e] - delta[i]);
                }
            }
        }
        UNROLL
        for (int k = 0; k < HALF / 16; k++) {
            uint32_t a[4];
            as_factor(a, dp[2 * k], dp[2 * k + 1]);
            UNROLL
            for (int d = 0; d < E / 16; d++) {
                uint32_t b[4];
                load_b_transposed<E>(b, ks, 16 * k, 16 * d);
                device_mma(sum[2 * d], a, b);
                device_mma(sum[2 * d + 1], a, b + 2);
            }
        }
        __syncthreads();
        if (STAGES == 1 && more) {
            load_half<E>(stages, 0, c, at, kv_head);
        }
    }
    device_copy_wait<0>();
    put_fragment<E, E / 8>(qs, sum, 16 * warp, 0, c.scale, c.scale);
    store_queries<E>(c.dq, qs, rows, 16 * warp, c.vector);
}

/* The query tiles of a part, in halves. */
struct query_cursor {
    int range, tile, half;
    int left; /* tiles, this one too */
};

/* Half a query tile in shared memory is its rows of q and dout. In the 16 bytes behind a row of q
 * are the logarithm (to base 2) of its sum, delta and index: a row that does not exist sees
 * nothing. Behind the first row of dout is which keys the queries of the tile see. */
struct query_row {
    float lse, delta;
    int index;
};
struct query_reach {
    int first, last; /* queries */
    int low, high;
};
template <int E> static __device__ __forceinline__ query_row *row_of(bf16 *qs, int row)
{
    return (query_row *)tile_at<E>(qs, row, E);
}
template <int E> static __device__ __forceinline__ query_reach *reach_of(bf16 *ds)
{
    return (query_reach *)tile_at<E>(ds, 0, E);
}

/* Goes on; false at the end of the part. `rows` of the tile that was last. */
static __device__ __forceinline__ bool advance(const attention_cut &cut, int rows, query_cursor &at)
{
    if (at.half == 0 && rows > HALF) {
        at.half = 1;
        return true;
    }
    at.half = 0;
    at.tile++;
    at.left--;
    attention_range range = cut.ranges[at.range];
    if (at.left > 0 && at.tile == range.tile + range.count) {
        at.range++;
        at.tile = cut.ranges[at.range].tile;
    }
    return at.left > 0;
}

/* Returns the rows of the tile. */
template <int E, int THREADS>
static __device__ __forceinline__ int load_half(bf16 *qs, const attention_call &c,
                                                const query_cursor &at, int kv_head)
{
    bf16 *ds            = tile_at<E>(qs, HALF, 0);
    attention_tile tile = c.cut.tiles[at.tile];
    tile_rows rows(c, tile, kv_head);
    int first = HALF * at.half;
    load_queries<E, HALF, THREADS>(qs, c.q, rows, first, c.vector);
    load_queries<E, HALF, THREADS>(ds, c.dout, rows, first, c.vector);
    int i = (int)threadIdx.x;
    if (i < HALF) {
        bool here      = first + i < rows.rows;
        int row        = here ? first + i : 0;
        int64_t slot   = rows.slot + rows.query(row);
        int head       = rows.head_of(row);
        float lse      = ((const float *)c.lse.data)[slot * c.lse.stride + head];
        query_row *own = row_of<E>(qs, i);
        own->lse       = here ? lse * ATTENTION_LOG2E : INFINITY;
        own->delta     = here ? c.delta[slot * c.heads + head] : 0.0f;
        own->index     = c.cut.index[slot];
    }
    if (i == 0) {
        const attention_range *range = &c.cut.ranges[at.range];
        query_reach *reach           = reach_of<E>(ds);
        reach->first                 = tile.first;
        reach->last                  = tile.last;
        reach->low                   = range->low;
        reach->high                  = range->high;
    }
    return rows.rows;
}

/* Sums of `C` columns of 16 keys: to the keys' rows of a tile in shared memory, from there to
 * dkeys or dvalues. */
template <int E, int C>
static __device__ __forceinline__ void
store_keys(const view &to, bf16 *tile, const float (*sums)[4], const attention_part &part, int row,
           int column, int kv_head, float scale, int vector)
{
    put_fragment<E, C / 8>(tile, sums, row, column, scale, scale);
    __syncwarp();
    for (int i = (int)threadIdx.x % 32; i < 16 * C / 8; i += 32) {
        int r  = row + i / (C / 8);
        int at = column + i % (C / 8) * 8;
        if (part.first + r < part.end) {
            int64_t off = (int64_t)(part.key + part.first + r) * to.stride + kv_head * E + at;
            store_piece((bf16 *)to.data + off, tile_at<E>(tile, r, at), vector);
        }
    }
}

/* The same in F32, to the room of a part: [64, E]. */
template <int E, int C>
static __device__ __forceinline__ void store_sums(float *to, const float (*sums)[4], int row,
                                                  int column, float scale)
{
    int lane = (int)threadIdx.x % 32;
    UNROLL
    for (int d = 0; d < C / 8; d++) {
        UNROLL
        for (int i = 0; i < 2; i++) {
            float *at     = to + (row + lane / 4 + 8 * i) * E + column + 8 * d + lane % 4 * 2;
            *(float2 *)at = make_float2(sums[d][2 * i] * scale, sums[d][2 * i + 1] * scale);
        }
    }
}

/* S and dout Vᵀ of a warp's 16 keys, from `row` of the tiles on, with half a query tile. */
template <int E>
static __device__ __forceinline__ void key_products(float (*s)[4], float (*dp)[4], bf16 *ks,
                                                    bf16 *vs, bf16 *qs, bf16 *ds, int row)
{
    UNROLL
    for (int k = 0; k < E; k += 16) {
        uint32_t a[4];
        uint32_t b[4];
        load_a<E>(a, ks, row, k);
        UNROLL
        for (int j = 0; j < HALF / 16; j++) {
            load_b<E>(b, qs, 16 * j, k);
            device_mma(s[2 * j], a, b);
            device_mma(s[2 * j + 1], a, b + 2);
        }
        load_a<E>(a, vs, row, k);
        UNROLL
        for (int j = 0; j < HALF / 16; j++) {
            load_b<E>(b, ds, 16 * j, k);
            device_mma(dp[2 * j], a, b);
            device_mma(dp[2 * j + 1], a, b + 2);
        }
    }
}

/* They become P and dS, without the scale. */
template <int E>
static __device__ __forceinline__ void key_gradients(float (*s)[4], float (*dp)[4], bf16 *qs,
                                                     bf16 *ds, const attention_part &part, int row,
                                                     float factor)
{
    int lane          = (int)threadIdx.x % 32;
    query_reach reach = *reach_of<E>(ds);
    bool all = reach.last + reach.low <= part.first && part.end <= reach.first + reach.high;
    UNROLL
    for (int j = 0; j < HALF / 8; j++) {
        UNROLL
        for (int e = 0; e < 4; e++) {
            query_row q = *row_of<E>(qs, 8 * j + lane % 4 * 2 + e % 2);
            int key     = part.first + row + lane / 4 + e / 2 * 8;
            bool seen   = all || (key >= q.index + reach.low && key < q.index + reach.high);
            float prob  = probability(s[j][e], factor, q.lse, seen);
            s[j][e]     = prob;
            dp[j][e]    = prob * (dp[j][e] - q.delta);
        }
    }
}

/* Products have keys as rows, so that Pᵀ and dSᵀ are factors as they are. SPLIT 2: two warps have
 * the same 16 keys, both compute P and dS, and each has half of the columns of dK and dV. */
template <int E, int SPLIT, int STAGES>
__global__ void __launch_bounds__(128 * SPLIT) attention_keys_kernel(const attention_call c)
{
    if ((int)blockIdx.x >= c.cut.counts->parts) {
        return;
    }
    constexpr int THREADS = 128 * SPLIT;
    constexpr int C       = E / SPLIT;
    bf16 *ks              = (bf16 *)device_shared();
    bf16 *vs              = tile_at<E>(ks, KEYS, 0);
    bf16 *stages          = tile_at<E>(vs, KEYS, 0);
    int row               = (int)threadIdx.x / 32 % 4 * 16; /* of this warp's keys */
    int column            = (int)threadIdx.x / 128 * C;
    int kv_head           = (int)blockIdx.y;
    attention_part part   = c.cut.parts[blockIdx.x];
    const float factor    = c.scale * ATTENTION_LOG2E;
    float dk[C / 8][4]    = {};
    float dv[C / 8][4]    = {};
    bool more             = part.tiles > 0;
    query_cursor at       = {part.range, 0, 0, part.tiles};
    int tile_row_count    = 0;
    if (more) {
        at.tile = c.cut.ranges[at.range].tile + part.skip;
        load_keys<E, KEYS, THREADS>(ks, c.keys, part.key, part.first, part.end, kv_head, c.vector);
        load_keys<E, KEYS, THREADS>(vs, c.values, part.key, part.first, part.end, kv_head,
                                    c.vector);
        tile_row_count = load_half<E, THREADS>(stages, c, at, kv_head);
    }
    device_copy_commit();
    for (int stage = 0; more; stage ^= STAGES - 1) {
        more = advance(c.cut, tile_row_count, at);
        if (STAGES > 1 && more) {
            bf16 *next     = tile_at<E>(stages, (stage ^ 1) * 2 * HALF, 0);
            tile_row_count = load_half<E, THREADS>(next, c, at, kv_head);
        }
        device_copy_commit();
        device_copy_wait<STAGES - 1>();
        __syncthreads();
        bf16 *qs              = tile_at<E>(stages, stage * 2 * HALF, 0);
        bf16 *ds              = tile_at<E>(qs, HALF, 0);
        float s[HALF / 8][4]  = {};
        float dp[HALF / 8][4] = {};
        key_products<E>(s, dp, ks, vs, qs, ds, row);
        key_gradients<E>(s, dp, qs, ds, part, row, factor);
        UNROLL
        for (int k = 0; k < HALF / 16; k++) {
            uint32_t pa[4];
            uint32_t da[4];
            as_factor(pa, s[2 * k], s[2 * k + 1]);
            as_factor(da, dp[2 * k], dp[2 * k + 1]);
            UNROLL
            for (int d = 0; d < C / 16; d++) {
                uint32_t b[4];
                load_b_transposed<E>(b, ds, 16 * k, column + 16 * d);
                device_mma(dv[2 * d], pa, b);
                device_mma(dv[2 * d + 1], pa, b + 2);
                load_b_transposed<E>(b, qs, 16 * k, column + 16 * d);
                device_mma(dk[2 * d], da, b);
                device_mma(dk[2 * d + 1], da, b + 2);
            }
        }
        __syncthreads();
        if (STAGES == 1 && more) {
            tile_row_count = load_half<E, THREADS>(stages, c, at, kv_head);
        }
    }
    device_copy_wait<0>();
    if (part.room >= 0) {
        float *to = c.sums + ((int64_t)part.room * c.kv_heads + kv_head) * 2 * KEYS * E;
        store_sums<E, C>(to, dk, row, column, c.scale);
        store_sums<E, C>(to + KEYS * E, dv, row, column, 1.0f);
        return;
    }
    store_keys<E, C>(c.dkeys, ks, dk, part, row, column, kv_head, c.scale, c.vector);
    store_keys<E, C>(c.dvalues, vs, dv, part, row, column, kv_head, 1.0f, c.vector);
}

/* ROWS of q and dout, or KEYS of keys and values; and the stages of the others. */
template <int E> static constexpr size_t backward_bytes(int stages)
{
    static_assert(ROWS == KEYS, "both kernels have tiles of one size");
    return tile_bytes<E>(2 * KEYS + stages * 2 * HALF);
}

template <int E, int STAGES>
static cudaError_t queries(const attention_call &c, cudaStream_t stream)
{
    return device_launch("attention_queries", attention_queries_kernel<E, STAGES>,
                         dim3((unsigned)c.cut.room.tiles, (unsigned)c.kv_heads), dim3(128),
                         backward_bytes<E>(STAGES), stream, c);
}

template <int E, int STAGES> static cudaError_t keys(const attention_call &c, cudaStream_t stream)
{
    constexpr int SPLIT = E == 256 ? 2 : 1;
    return device_launch("attention_keys", attention_keys_kernel<E, SPLIT, STAGES>,
                         dim3((unsigned)c.cut.room.parts, (unsigned)c.kv_heads), dim3(128 * SPLIT),
                         backward_bytes<E>(STAGES), stream, c);
}

extern "C" cudaError_t launch_attention_queries(const attention_call *call, cudaStream_t stream)
{
    if (call->cut.room.tiles == 0) {
        return cudaSuccess;
    }
    return with_width(call->width, [=](auto width) {
        constexpr int E = decltype(width)::value;
        return with_stages<E>(*call, backward_bytes<E>(2), [=](auto stages) {
            return queries<E, decltype(stages)::value>(*call, stream);
        });
    });
}

extern "C" cudaError_t launch_attention_keys(const attention_call *call, cudaStream_t stream)
{
    if (call->cut.room.parts == 0) {
        return cudaSuccess;
    }
    return with_width(call->width, [=](auto width) {
        constexpr int E = decltype(width)::value;
        return with_stages<E>(*call, backward_bytes<E>(2), [=](auto stages) {
            return keys<E, decltype(stages)::value>(*call, stream);
        });
    });
}
