// SPDX-License-Identifier: Apache-2.0
/* What both directions of attention share: queries cut into blocks, and what a block sees.
 *
 * A block holds up to a few dozen queries of one segment, and with them all query heads that read
 * one key head: row j · G + g of a block is query j, head g of the group, so that a block times a
 * run of keys is one product of decent size. */
#pragma once

#include "cpu.h"
#include "small.h"

enum {
    ATTENTION_ROWS = 64, /* rows of a block, at least one query */
    ATTENTION_KEYS = 256 /* keys of a block */
};

typedef struct attention_block {
    int32_t segment;
    int32_t count; /* queries */
    int64_t slot;  /* of the first query, row of q and out */
} attention_block;

/* What cpu keeps of a plan. */
typedef struct attention_plan {
    pb_attention_args args;
    int64_t width;           /* E */
    int64_t group;           /* G: query heads per key head */
    int64_t queries;         /* most of a block */
    int64_t rows;            /* queries · group */
    int64_t count;           /* blocks */
    attention_block *blocks; /* [count] in order of segments and rows */
    /* For a backward, keys in pieces of ATTENTION_KEYS: */
    int64_t *before; /* [segments] pieces of a segment's ancestors */
    int64_t pieces;  /* of all segments */
    int64_t chain;   /* of the longest chain */
} attention_plan;

static inline int64_t attention_pieces(const pb_segment *s)
{
    return (s->length + ATTENTION_KEYS - 1) / ATTENTION_KEYS;
}

/* Keys first … end - 1 of the span, for query `j` of the block. */
static inline void attention_visible(const attention_plan *plan, const attention_block *block,
                                     const key_span *span, int64_t j, int64_t *first, int64_t *end)
{
    const pb_segment *s = &plan->args.forest->segments[block->segment];
    int64_t row         = query_row(&plan->args, block->slot + j);
    int64_t index       = row - s->row + s->length - s->rows;
    key_span_visible(span, index, s->position + index, plan->args.window, first, end);
}

/* Rows of the block [count · G, E] from t [T, H · E], times `factor`; and back. */
void attention_pack(const attention_plan *plan, const attention_block *block, int64_t kv_head,
                    const pb_tensor *t, float factor, float *to);
void attention_unpack(const attention_plan *plan, const attention_block *block, int64_t kv_head,
                      const float *from, float factor, pb_tensor *t);
