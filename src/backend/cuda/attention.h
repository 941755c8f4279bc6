// SPDX-License-Identifier: Apache-2.0
/* Attention's kernels, and the tables that plan.c makes of a forest for them.
 *
 * Queries of one segment are cut into tiles, keys of one segment into tiles that begin at multiples
 * of ATTENTION_KEYS of the segment. Within a tile, row j · G + g is query j with head g of the
 * group that reads one key head, so that a group shares the loads of its keys. Indices of queries
 * and keys count from the first key of their segment: a query at index i sees the keys
 * i + low … i + high - 1 of a segment, where low and high follow from window, positions and
 * causality.
 *
 * The sums of a query run over the keys of its own segment, then of the parent, up to the root; the
 * sums of a key run over the tiles of its own segment, then of the descendants, in order. So their
 * bits depend on that chain or that subtree alone. */
#pragma once

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ATTENTION_ROWS    = 64,  /* of a tile, at least one query */
    ATTENTION_KEYS    = 64,  /* of a tile */
    ATTENTION_TILES   = 32,  /* query tiles of a part, at least as many as the keys' own segment */
    ATTENTION_STEPS   = 4,   /* key tiles of a piece */
    ATTENTION_WIDTH   = 256, /* largest E */
    ATTENTION_FAR     = 1 << 30,
    ATTENTION_ALIGNED = 16 /* bytes: of every row, where the vector path is taken */
};

/* Queries of one segment; their keys are in `runs` runs. */
typedef struct attention_tile {
    int32_t slot, count; /* rows of q */
    int32_t first, last; /* indices of the first and the last query */
    int32_t run, runs;
} attention_tile;

/* Keys first … end - 1 of a segment, of which some query of the tile sees some; `first` is a
 * multiple of ATTENTION_KEYS. */
typedef struct attention_run {
    int32_t key; /* row of the store of the segment's first key */
    int32_t first, end;
    int32_t low, high;
} attention_run;

/* Up to ATTENTION_STEPS key tiles of the only query of a segment, from key `first` of `run` on. */
typedef struct attention_piece {
    int32_t tile;
    int32_t run, first, steps;
    int32_t room; /* of its sums, or -1: the only piece */
} attention_piece;

/* A query with several pieces. */
typedef struct attention_lone {
    int32_t slot;
    int32_t room, pieces;
} attention_lone;

/* Query tiles tile … tile + count - 1 of one segment. */
typedef struct attention_range {
    int32_t tile, count;
    int32_t low, high;
} attention_range;

/* Keys first … end - 1 of a segment, at most ATTENTION_KEYS, and `tiles` query tiles that see some
 * of them: the tiles of the ranges from `range` on, without the first `skip`. */
typedef struct attention_part {
    int32_t key; /* row of the store of the segment's first key */
    int32_t first, end;
    int32_t range, skip, tiles;
    int32_t room; /* of its sums, or -1: the only part */
} attention_part;

/* Keys with several parts. */
typedef struct attention_sum {
    int32_t key, count; /* rows of the store */
    int32_t room, parts;
} attention_sum;

/* How many there are of what has blocks. */
typedef struct attention_counts {
    int32_t tiles;
    int32_t dense; /* tiles whose segment has several queries */
    int32_t pieces, lones, parts, sums;
} attention_counts;

/* The tables in device memory. Grids and tables have `room` for at least as many as there are:
 * forests of about one size have the same. Blocks beyond the counts leave at once. */
typedef struct attention_cut {
    const attention_counts *counts;
    const attention_tile *tiles; /* in order of their queries */
    const attention_run *runs;
    const int32_t *index; /* [queries] */
    const int32_t *order; /* [tiles] those of several queries first, then by work */
    const attention_piece *pieces;
    const attention_lone *lones;
    const attention_part *parts; /* by work */
    const attention_range *ranges;
    const attention_sum *sums;
    attention_counts room;
} attention_cut;

/* One call of attention. q, out, dout, dq [T, H·E] and keys, values, dkeys, dvalues [S, K·E] are of
 * the type of the launcher; lse [T, H] and delta [T · H] are F32. */
typedef struct attention_call {
    attention_cut cut;
    int32_t queries, heads, kv_heads, width;
    int32_t vector; /* rows of q, keys … are aligned to ATTENTION_ALIGNED */
    float scale;
    size_t shared; /* bytes that a block may have */
    view q, keys, values, out, lse, dout, dq, dkeys, dvalues;
    float *delta;
    float *sums; /* of pieces [piece_rooms, H, E + 2] or parts [part_rooms, K, 2, 64, E] */
} attention_call;

#ifdef __cplusplus
extern "C" {
#endif

/* attention_plain.cu: F32 or BF16, any E up to ATTENTION_WIDTH. In BF16 `queries` makes delta,
 * which is read otherwise. */
cudaError_t launch_attention_plain_forward(const attention_call *call, enum element element,
                                           cudaStream_t stream);
cudaError_t launch_attention_plain_queries(const attention_call *call, enum element element,
                                           cudaStream_t stream);
cudaError_t launch_attention_plain_keys(const attention_call *call, enum element element,
                                        cudaStream_t stream);

/* delta [T, H] = the sum over a head of dout · out. */
cudaError_t launch_attention_delta(const attention_call *call, enum element element,
                                   cudaStream_t stream);
/* dkeys and dvalues of keys with several parts: their sums in order. */
cudaError_t launch_attention_sums(const attention_call *call, enum element element,
                                  cudaStream_t stream);

/* On the tensor cores, BF16: E 64, 80, 96, 128 or 256, at most 64 query heads per key head and a
 * positive scale. */

/* attention.cu: tiles of several queries. */
cudaError_t launch_attention_forward(const attention_call *call, cudaStream_t stream);
/* attention_decode.cu: the others, in pieces that are added in order. */
cudaError_t launch_attention_decode(const attention_call *call, cudaStream_t stream);
/* attention_backward.cu: dq; dkeys and dvalues, or the sums of parts. */
cudaError_t launch_attention_queries(const attention_call *call, cudaStream_t stream);
cudaError_t launch_attention_keys(const attention_call *call, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
