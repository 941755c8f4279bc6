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

typedef struct attention_shape {
    const pb_attention_args *args;
    int64_t width;   /* E */
    int64_t group;   /* G: query heads per key head */
    int64_t queries; /* most of a block */
    int64_t rows;    /* queries · group */
    int64_t blocks;  /* in the whole call */
} attention_shape;

attention_shape attention_shape_of(const pb_attention_args *args);

/* Fills blocks [shape.blocks], in order of segments and rows; returns how many. With NULL it only
 * counts. */
int64_t attention_cut(const attention_shape *shape, attention_block *blocks);

/* Keys first … end - 1 of the span, for query `j` of the block. */
static inline void attention_visible(const attention_shape *shape, const attention_block *block,
                                     const text_span *span, int64_t j, int64_t *first, int64_t *end)
{
    const pb_segment *s = &shape->args->forest->segments[block->segment];
    int64_t row         = pb_query_row(shape->args, block->slot + j);
    int64_t index       = row - s->row + s->length - s->rows;
    pb_span_visible(span, index, s->position + index, shape->args->window, first, end);
}

/* Rows of the block [count · G, E] from t [T, H · E], times `factor`; and back. */
void attention_pack(const attention_shape *shape, const attention_block *block, int64_t kv_head,
                    const pb_tensor *t, float factor, float *to);
void attention_unpack(const attention_shape *shape, const attention_block *block, int64_t kv_head,
                      const float *from, float factor, pb_tensor *t);
