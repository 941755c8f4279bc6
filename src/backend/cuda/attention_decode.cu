// SPDX-License-Identifier: Apache-2.0
/* Attention of the only query of a segment, as in generation: its chain of keys is cut into pieces
 * of four tiles, so that few queries fill the device. A block has one piece, one key head and up to
 * 16 query heads of its group; of every tile each of four warps takes 16 keys. Maxima, sums and
 * outputs of the warps, then of the pieces, are combined in order. */
#include "attention.cuh"

enum { WARPS = 4, HEADS = 16, KEYS = ATTENTION_KEYS, THREADS = 32 * WARPS };

/* The query heads of this block. */
struct decode_heads {
    int kv_head, first, count;

    __device__ __forceinline__ decode_heads(const attention_call &c)
    {
        int group  = c.heads / c.kv_heads;
        int chunks = (group + HEADS - 1) / HEADS;
        int chunk  = (int)blockIdx.y % chunks;
        kv_head    = (int)blockIdx.y / chunks;
        first      = kv_head * group + chunk * HEADS;
        count      = group - chunk * HEADS < HEADS ? group - chunk * HEADS : HEADS;
    }
};

/* What a warp has of 16 query heads. */
struct decode_room {
    float max[WARPS][HEADS], sum[WARPS][HEADS];
};

template <int E>
static __device__ __forceinline__ void load_stage(bf16 *stages, int stage, const attention_call &c,
                                                  const attention_run &run, int key, int kv_head)
{
    bf16 *ks = tile_at<E>(stages, stage * 2 * KEYS, 0);
    load_keys<E, KEYS, THREADS>(ks, c.keys, run.key, key, run.end, kv_head, c.vector);
    load_keys<E, KEYS, THREADS>(tile_at<E>(ks, KEYS, 0), c.values, run.key, key, run.end, kv_head,
                                c.vector);
}

/* A warp's 16 keys of a tile. */
template <int E>
static __device__ __forceinline__ void decode_keys(float (*o)[4], softmax_row softmax[2], bf16 *qs,
                                                   bf16 *ks, const attention_run &run, int key,
                                                   int index, float factor)
{
    int warp      = (int)threadIdx.x / 32;
    int lane      = (int)threadIdx.x % 32;
    bf16 *vs      = tile_at<E>(ks, KEYS, 0);
    float s[2][4] = {};
    uint32_t a[4];
    uint32_t b[4];
    UNROLL
    for (int k = 0; k < E; k += 16) {
        load_a<E>(a, qs, 0, k);
        load_b<E>(b, ks, 16 * warp, k);
        device_mma(s[0], a, b);
        device_mma(s[1], a, b + 2);
    }
    key_bounds bounds(run, index);
    UNROLL
    for (int j = 0; j < 2; j++) {
        UNROLL
        for (int e = 0; e < 4; e++) {
            if (!bounds.has(key + 16 * warp + 8 * j + lane % 4 * 2 + e % 2)) {
                s[j][e] = -INFINITY;
            }
        }
    }
    UNROLL
    for (int i = 0; i < 2; i++) {
        float scale = softmax_step<2>(softmax[i], s, i, factor);
        UNROLL
        for (int d = 0; d < E / 8; d++) {
            o[d][2 * i] *= scale;
            o[d][2 * i + 1] *= scale;
        }
    }
    as_factor(a, s[0], s[1]);
    UNROLL
    for (int d = 0; d < E / 16; d++) {
        load_b_transposed<E>(b, vs, 16 * warp, 16 * d);
        device_mma(o[2 * d], a, b);
        device_mma(o[2 * d + 1], a, b + 2);
    }
}

/* Element `e` of a head's output, its sum and maximum. */
template <int E>
static __device__ __forceinline__ void decode_put(const attention_call &c, int64_t slot, int head,
                                                  int e, float out, float sum, float max)
{
    const float factor                                       = c.scale * ATTENTION_LOG2E;
    ((bf16 *)c.out.data)[slot * c.out.stride + head * E + e] = __float2bfloat16_rn(out / sum);
    if (e == 0) {
        ((float *)c.lse.data)[slot * c.lse.stride + head] =
            fmaf(max, factor, log2f(sum)) * ATTENTION_LN2;
    }
}

/* The warps' results in order, to the output or to the piece's room. */
template <int E>
static __device__ __forceinline__ void
combine_warps(const attention_call &c, const attention_piece &piece, int64_t slot,
              const decode_heads &heads, const decode_room *room, const float *os)
{
    const float factor = c.scale * ATTENTION_LOG2E;
    for (int i = (int)threadIdx.x; i < heads.count * E; i += THREADS) {
        int row   = i / E;
        int e     = i % E;
        float max = -INFINITY;
        float sum = 0.0f;
        float out = 0.0f;
        UNROLL
        for (int w = 0; w < WARPS; w++) {
            max = fmaxf(max, room->max[w][row]);
        }
        UNROLL
        for (int w = 0; w < WARPS; w++) {
            float scale = device_exp2((room->max[w][row] - max) * factor);
            sum         = fmaf(room->sum[w][row], scale, sum);
            out         = fmaf(os[(w * HEADS + row) * E + e], scale, out);
        }
        if (piece.room < 0) {
            decode_put<E>(c, slot, heads.first + row, e, out, sum, max);
        } else {
            float *to = c.sums + ((int64_t)piece.room * c.heads + heads.first + row) * (E + 2);
            to[2 + e] = out;
            if (e == 0) {
                to[0] = max;
                to[1] = sum;
            }
        }
    }
}

template <int E, int STAGES>
__global__ void __launch_bounds__(THREADS) attention_decode_kernel(const attention_call c)
{
    if ((int)blockIdx.x >= c.cut.counts->pieces) {
        return;
    }
    bf16 *qs              = (bf16 *)device_shared();
    bf16 *stages          = tile_at<E>(qs, HEADS, 0);
    int warp              = (int)threadIdx.x / 32;
    int lane              = (int)threadIdx.x % 32;
    attention_piece piece = c.cut.pieces[blockIdx.x];
    attention_tile tile   = c.cut.tiles[piece.tile];
    decode_heads heads(c);
    const attention_run *runs = c.cut.runs;
    int last                  = tile.run + tile.runs;
    const float factor        = c.scale * ATTENTION_LOG2E;
    key_cursor at             = {piece.run, piece.first};
    for (int i = (int)threadIdx.x; i < HEADS * E / 8; i += THREADS) {
        int row     = i / (E / 8);
        int column  = i % (E / 8) * 8;
        bool here   = row < heads.count;
        int64_t off = tile.slot * c.q.stride + (heads.first + (here ? row : 0)) * E + column;
        copy_piece(tile_at<E>(qs, row, column), (const bf16 *)c.q.data + off, here, c.vector);
    }
    load_stage<E>(stages, 0, c, runs[at.run], at.key, heads.kv_head);
    device_copy_commit();

    float o[E / 8][4]      = {};
    softmax_row softmax[2] = {{-INFINITY, 0.0f}, {-INFINITY, 0.0f}};
    for (int step = 0; step < piece.steps; step++) {
        attention_run run = runs[at.run];
        int key           = at.key;
        bool more         = step + 1 < piece.steps && advance<KEYS>(runs, last, at);
        if (STAGES > 1 && more) {
            load_stage<E>(stages, (step + 1) % STAGES, c, runs[at.run], at.key, heads.kv_head);
        }
        device_copy_commit();
        device_copy_wait<STAGES - 1>();
        __syncthreads();
        decode_keys<E>(o, softmax, qs, tile_at<E>(stages, step % STAGES * 2 * KEYS, 0), run, key,
                       tile.first, factor);
        __syncthreads();
        if (STAGES == 1 && more) {
            load_stage<E>(stages, 0, c, runs[at.run], at.key, heads.kv_head);
        }
    }
    device_copy_wait<0>();

    /* The stages are free: [WARPS, HEADS, E] outputs, then maxima and sums. */
    float *os         = (float *)stages;
    decode_room *room = (decode_room *)(os + WARPS * HEADS * E);
    UNROLL
    for (int i = 0; i < 2; i++) {
        int row   = lane / 4 + 8 * i;
        float sum = row_sum(softmax[i].sum);
        if (lane % 4 == 0) {
            room->max[warp][row] = softmax[i].max;
            room->sum[warp][row] = sum;
        }
        UNROLL
        for (int d = 0; d < E / 8; d++) {
            float *to = os + (warp * HEADS + row) * E + 8 * d + lane % 4 * 2;
            to[0]     = o[d][2 * i];
            to[1]     = o[d][2 * i + 1];
        }
    }
    __syncthreads();
    combine_warps<E>(c, piece, tile.slot, heads, room, os);
}

/* The pieces of a query in order, for one head. */
template <int E>
__global__ void __launch_bounds__(THREADS) attention_pieces_kernel(const attention_call c)
{
    if ((int)blockIdx.x >= c.cut.counts->lones) {
        return;
    }
    attention_lone lone = c.cut.lones[blockIdx.x];
    int head            = (int)blockIdx.y;
    const float factor  = c.scale * ATTENTION_LOG2E;
    int64_t stride      = (int64_t)c.heads * (E + 2);
    const float *from   = c.sums + ((int64_t)lone.room * c.heads + head) * (E + 2);
    float max           = -INFINITY;
    for (int p = 0; p < lone.pieces; p++) {
        max = fmaxf(max, from[p * stride]);
    }
    for (int e = (int)threadIdx.x; e < E; e += THREADS) {
        float sum = 0.0f;
        float out = 0.0f;
        for (int p = 0; p < lone.pieces; p++) {
            float scale = device_exp2((from[p * stride] - max) * factor);
            sum         = fmaf(from[p * stride + 1], scale, sum);
            out         = fmaf(from[p * stride + 2 + e], scale, out);
        }
        decode_put<E>(c, lone.slot, head, e, out, sum, max);
    }
}

template <int E> static constexpr size_t decode_bytes(int stages)
{
    return tile_bytes<E>(HEADS + stages * 2 * KEYS);
}

template <int E, int STAGES> static cudaError_t pieces(const attention_call &c, cudaStream_t stream)
{
    int chunks = (c.heads / c.kv_heads + HEADS - 1) / HEADS;
    return device_launch("attention_decode", attention_decode_kernel<E, STAGES>,
                         dim3((unsigned)c.cut.room.pieces, (unsigned)(c.kv_heads * chunks)),
                         dim3(THREADS), decode_bytes<E>(STAGES), stream, c);
}

template <int E> static cudaError_t decode(const attention_call &c, cudaStream_t stream)
{
    cudaError_t e = with_stages<E>(c, decode_bytes<E>(2), [&](auto stages) {
        return pieces<E, decltype(stages)::value>(c, stream);
    });
    if (e != cudaSuccess || c.cut.room.lones == 0) {
        return e;
    }
    return device_launch("attention_pieces", attention_pieces_kernel<E>,
                         dim3((unsigned)c.cut.room.lones, (unsigned)c.heads), dim3(THREADS), 0,
                         stream, c);
}

extern "C" cudaError_t launch_attention_decode(const attention_call *call, cudaStream_t stream)
{
    if (call->cut.room.pieces == 0) {
        return cudaSuccess;
    }
    return with_width(call->width,
                      [=](auto width) { return decode<decltype(width)::value>(*call, stream); });
}
