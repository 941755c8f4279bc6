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

enum { ROWS = ATTENTION_ROWS, KEYS = ATTENTION_KEYS, HALF = 32, STAGES = 2 };

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

template <int E>
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
    for (int stage = 0; more; stage ^= 1) {
        attention_run run = runs[at.run];
        int key           = at.key;
        more              = advance<HALF>(runs, tile.run + tile.runs, at);
        if (more) {
            load_half<E>(stages, stage ^ 1, c, at, kv_head);
        }
        device_copy_commit();
        device_copy_wait<1>();
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

/* Half a query tile in shared memory: rows of q and dout, and of each row the logarithm (to base 2)
 * of its sum, delta and index. A row that does not exist sees nothing. */
struct query_half {
    float lse[HALF], delta[HALF];
    int index[HALF];
    attention_tile tile;
    attention_range range;
};

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
static __device__ __forceinline__ int load_half(bf16 *qs, bf16 *ds, query_half *room,
                                                const attention_call &c, const query_cursor &at,
                                                int kv_head)
{
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
        room->lse[i]   = here ? lse * ATTENTION_LOG2E : INFINITY;
        room->delta[i] = here ? c.delta[slot * c.heads + head] : 0.0f;
        room->index[i] = c.cut.index[slot];
    }
    if (i == 0) {
        room->tile  = tile;
        room->range = c.cut.ranges[at.range];
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
static __device__ __forceinline__ void key_gradients(float (*s)[4], float (*dp)[4],
                                                     const query_half &now,
                                                     const attention_part &part, int row,
                                                     float factor)
{
    int lane = (int)threadIdx.x % 32;
    int low  = now.range.low;
    int high = now.range.high;
    bool all = now.tile.last + low <= part.first && part.end <= now.tile.first + high;
    UNROLL
    for (int j = 0; j < HALF / 8; j++) {
        UNROLL
        for (int e = 0; e < 4; e++) {
            int r      = 8 * j + lane % 4 * 2 + e % 2;
            int key    = part.first + row + lane / 4 + e / 2 * 8;
            int index  = now.index[r];
            bool seen  = all || (key >= index + low && key < index + high);
            float prob = probability(s[j][e], factor, now.lse[r], seen);
            s[j][e]    = prob;
            dp[j][e]   = prob * (dp[j][e] - now.delta[r]);
        }
    }
}

/* Products have keys as rows, so that Pᵀ and dSᵀ are factors as they are. SPLIT 2: two warps have
 * the same 16 keys, both compute P and dS, and each has half of the columns of dK and dV. */
template <int E, int SPLIT>
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
    query_half *halves    = (query_half *)tile_at<E>(stages, STAGES * 2 * HALF, 0);
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
        tile_row_count =
            load_half<E, THREADS>(stages, tile_at<E>(stages, HALF, 0), halves, c, at, kv_head);
    }
    device_copy_commit();
    for (int stage = 0; more; stage ^= 1) {
        more = advance(c.cut, tile_row_count, at);
        if (more) {
            bf16 *to       = tile_at<E>(stages, (stage ^ 1) * 2 * HALF, 0);
            tile_row_count = load_half<E, THREADS>(to, tile_at<E>(to, HALF, 0),
                                                   halves + (stage ^ 1), c, at, kv_head);
        }
        device_copy_commit();
        device_copy_wait<1>();
        __syncthreads();
        bf16 *qs              = tile_at<E>(stages, stage * 2 * HALF, 0);
        bf16 *ds              = tile_at<E>(qs, HALF, 0);
        float s[HALF / 8][4]  = {};
        float dp[HALF / 8][4] = {};
        key_products<E>(s, dp, ks, vs, qs, ds, row);
        key_gradients(s, dp, halves[stage], part, row, factor);
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

template <int E> static cudaError_t queries(const attention_call &c, cudaStream_t stream)
{
    return device_launch("attention_queries", attention_queries_kernel<E>,
                         dim3((unsigned)c.cut.room.tiles, (unsigned)c.kv_heads), dim3(128),
                         tile_bytes<E>(2 * ROWS + STAGES * 2 * HALF), stream, c);
}

template <int E, int SPLIT> static cudaError_t keys(const attention_call &c, cudaStream_t stream)
{
    return device_launch("attention_keys", attention_keys_kernel<E, SPLIT>,
                         dim3((unsigned)c.cut.room.parts, (unsigned)c.kv_heads), dim3(128 * SPLIT),
                         tile_bytes<E>(2 * KEYS + STAGES * 2 * HALF) + STAGES * sizeof(query_half),
                         stream, c);
}

extern "C" cudaError_t launch_attention_queries(const attention_call *call, cudaStream_t stream)
{
    if (call->cut.room.tiles == 0) {
        return cudaSuccess;
    }
    return with_width(call->width,
                      [=](auto width) { return queries<decltype(width)::value>(*call, stream); });
}

extern "C" cudaError_t launch_attention_keys(const attention_call *call, cudaStream_t stream)
{
    if (call->cut.room.parts == 0) {
        return cudaSuccess;
    }
    return with_width(call->width, [=](auto width) {
        return keys < decltype(width)::value,
               decltype(width)::value == 256 ? 2 : 1 > (*call, stream);
    });
}
