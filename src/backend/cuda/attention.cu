// SPDX-License-Identifier: Apache-2.0
/* Attention over the forest, forward, on the tensor cores: online softmax over tiles of keys. A
 * block of four warps has the rows of one query tile and one key head, 16 rows a warp. */
#include "attention.cuh"

enum { WARPS = 4, ROWS = ATTENTION_ROWS, KEYS = ATTENTION_KEYS, THREADS = 32 * WARPS };

/* Keys that a row does not see are at minus infinity from here on. */
static __device__ __forceinline__ void mask_scores(float (*s)[4], const attention_run &run, int key,
                                                   const int index[2])
{
    int lane = (int)threadIdx.x % 32;
    UNROLL
    for (int i = 0; i < 2; i++) {
        key_bounds bounds(run, index[i]);
        UNROLL
        for (int j = 0; j < KEYS / 8; j++) {
            UNROLL
            for (int e = 0; e < 2; e++) {
                if (!bounds.has(key + 8 * j + lane % 4 * 2 + e)) {
                    s[j][2 * i + e] = -INFINITY;
                }
            }
        }
    }
}

/* K of the next tile is loaded while P V is computed, V while Q Kᵀ is. */
template <int E>
__global__ void __launch_bounds__(THREADS) attention_forward_kernel(const attention_call c)
{
    if ((int)blockIdx.x >= c.cut.counts->dense) {
        return;
    }
    bf16 *qs            = (bf16 *)device_shared();
    bf16 *ks            = tile_at<E>(qs, ROWS, 0);
    bf16 *vs            = tile_at<E>(ks, KEYS, 0);
    int warp            = (int)threadIdx.x / 32;
    int lane            = (int)threadIdx.x % 32;
    int kv_head         = (int)blockIdx.y;
    attention_tile tile = c.cut.tiles[c.cut.order[blockIdx.x]];
    tile_rows rows(c, tile, kv_head);
    const attention_run *runs = c.cut.runs;
    const float factor        = c.scale * ATTENTION_LOG2E;
    key_cursor at             = {tile.run, runs[tile.run].first};
    load_queries<E, ROWS, THREADS>(qs, c.q, rows, 0, c.vector);
    load_keys<E, KEYS, THREADS>(ks, c.keys, runs[at.run].key, at.key, runs[at.run].end, kv_head,
                                c.vector);
    device_copy_commit();

    int index[2]; /* of the queries of this lane's two rows */
    UNROLL
    for (int i = 0; i < 2; i++) {
        int row  = 16 * warp + lane / 4 + 8 * i;
        index[i] = row < rows.rows ? c.cut.index[rows.slot + rows.query(row)] : -1;
    }
    float o[E / 8][4]      = {};
    softmax_row softmax[2] = {{-INFINITY, 0.0f}, {-INFINITY, 0.0f}};
    bool more              = true;
    while (more) {
        attention_run run = runs[at.run];
        int key           = at.key;
        device_copy_wait<0>();
        __syncthreads();
        load_keys<E, KEYS, THREADS>(vs, c.values, run.key, key, run.end, kv_head, c.vector);
        device_copy_commit();
        float s[KEYS / 8][4] = {};
        UNROLL
        for (int k = 0; k < E; k += 16) {
            uint32_t a[4];
            load_a<E>(a, qs, 16 * warp, k);
            UNROLL
            for (int j = 0; j < KEYS / 16; j++) {
                uint32_t b[4];
                load_b<E>(b, ks, 16 * j, k);
                device_mma(s[2 * j], a, b);
                device_mma(s[2 * j + 1], a, b + 2);
            }
        }
        if (!all_seen(tile, run, key, KEYS)) {
            mask_scores(s, run, key, index);
        }
        UNROLL
        for (int i = 0; i < 2; i++) {
            float scale = softmax_step<KEYS / 8>(softmax[i], s, i, factor);
            UNROLL
            for (int d = 0; d < E / 8; d++) {
                o[d][2 * i] *= scale;
                o[d][2 * i + 1] *= scale;
            }
        }
        more = advance<KEYS>(runs, tile.run + tile.runs, at);
        device_copy_wait<0>();
        __syncthreads();
        if (more) {
            load_keys<E, KEYS, THREADS>(ks, c.keys, runs[at.run].key, at.key, runs[at.run].end,
                                        kv_head, c.vector);
        }
        device_copy_commit();
        UNROLL
        for (int k = 0; k < KEYS / 16; k++) {
            uint32_t a[4];
            as_factor(a, s[2 * k], s[2 * k + 1]);
            UNROLL
            for (int d = 0; d < E / 16; d++) {
                uint32_t b[4];
                load_b_transposed<E>(b, vs, 16 * k, 16 * d);
                device_mma(o[2 * d], a, b);
                device_mma(o[2 * d + 1], a, b + 2);
            }
        }
    }
    device_copy_wait<0>();
    UNROLL
    for (int i = 0; i < 2; i++) {
        int row        = 16 * warp + lane / 4 + 8 * i;
        softmax[i].sum = row_sum(softmax[i].sum);
        if (row < rows.rows && lane % 4 == 0) {
            float lse = fmaf(softmax[i].max, factor, log2f(softmax[i].sum)) * ATTENTION_LN2;
            ((float *)
                 c.lse.data)[(rows.slot + rows.query(row)) * c.lse.stride + rows.head_of(row)] =
                lse;
        }
    }
    put_fragment<E, E / 8>(qs, o, 16 * warp, 0, 1.0f / softmax[0].sum, 1.0f / softmax[1].sum);
    store_queries<E>(c.out, qs, rows, 16 * warp, c.vector);
}

template <int E> static cudaError_t forward(const attention_call &c, cudaStream_t stream)
{
    return device_launch("attention_forward", attention_forward_kernel<E>,
                         dim3((unsigned)c.cut.room.dense, (unsigned)c.kv_heads), dim3(THREADS),
                         tile_bytes<E>(ROWS + 2 * KEYS), stream, c);
}

extern "C" cudaError_t launch_attention_forward(const attention_call *call, cudaStream_t stream)
{
    if (call->cut.room.dense == 0) {
        return cudaSuccess;
    }
    return with_width(call->width,
                      [=](auto width) { return forward<decltype(width)::value>(*call, stream); });
}
