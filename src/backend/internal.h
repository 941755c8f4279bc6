// SPDX-License-Identifier: Apache-2.0
/* What every backend begins with, and what fronts and tables share about a forest: the spans of
 * keys that a query sees. */
#pragma once

#include "pb/usage.h"

enum { DESCRIBE_SIZE = 256 };

typedef struct row_trials row_trials; /* rows.c */

/* The first member of every implementation's own struct; `open` fills it. */
struct pb_backend {
    const pb_backend_ops *ops;
    int threads;
    char describe[DESCRIBE_SIZE];
    char products[PB_PRODUCTS_SIZE]; /* see pb_backend_products */
    char warning[DESCRIBE_SIZE];     /* what makes it slow, "" when there is nothing */
    char note[DESCRIBE_SIZE];        /* what else should be known, likewise */
    char absent[DESCRIBE_SIZE];      /* why "auto" took no better one, likewise */
    pb_device_id device_id;          /* see pb_backend_device_id */
    bool bf16;                       /* the factors of products are rounded to BF16 */
    bool timing;
    pb_work_part part; /* since part_begin (clock) */
    double part_begin;
    pb_backend_work work;
    size_t memory_now, memory_peak; /* bytes of device memory, see pb/usage.h */
    uint64_t pass;                  /* of the page */
    int plans;                      /* of the page */
    double pairs[PB_PAGE_PLANS];    /* of each: see pb_attention_plan */
    double rates[PB_PAGE_PLANS];    /* operations so far for each pair */
    int lag;
    bool pads;             /* see pb_backend_pads */
    bool plain;            /* see pb_backend_use_graphs */
    int64_t border;        /* see pb_backend_border */
    bool shares;           /* see pb_backend_shares */
    row_trials *rows;      /* NULL: none */
    bool posted[PB_SLOTS]; /* and not yet taken */
};

void rows_forget(pb_backend *be); /* rows.c: all trials */

/* See pb_backend_activation. */
static inline pb_dtype activation_of(const pb_backend *be)
{
    return be->ops->activation != NULL ? be->ops->activation(be) : PB_DTYPE_F32;
}

/* Whether fronts measure the seconds of work. */
static inline bool host_times(const pb_backend *be)
{
    return be->timing && be->ops->work_collect == NULL;
}

/* linear.c: of other operations, for a table that computes only some at once: what is added to the
 * product of a site, its residual aside; a site; a part. */
pb_status linear_added_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                               const pb_linear *linear) PB_MUST_USE;
pb_status linear_backward_composed(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                                   const pb_tensor *x, pb_linear *linear, bool add) PB_MUST_USE;
pb_status low_rank_forward_composed(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                    const pb_low_rank *part, pb_tensor *kept,
                                    const pb_tensor *room) PB_MUST_USE;
pb_status low_rank_backward_composed(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                                     const pb_tensor *x, pb_low_rank *part, const pb_tensor *kept,
                                     const pb_tensor *room, bool add) PB_MUST_USE;

#define PB_ENTRY(name, source) extern const pb_backend_ops backend_##name;
#include "registry.def"

/* Keys of one segment as queries of a descendant, or of the segment itself (own), see them. */
typedef struct key_span {
    int64_t key, length; /* rows of the key store */
    int64_t position;    /* of the first key */
    bool own;            /* causal: the query at index i sees keys 0 … i */
} key_span;

static inline key_span key_span_of(const pb_forest *forest, int32_t segment, int32_t of)
{
    const pb_segment *s = &forest->segments[segment];
    return (key_span){
        .key = s->key, .length = s->length, .position = s->position, .own = segment == of};
}

/* The visible keys first … end - 1 of a span, for a query at `index` of its own segment, which is
 * at `position`. Empty: first == end. */
static inline void key_span_visible(const key_span *span, int64_t index, int64_t position,
                                    int64_t window, int64_t *first, int64_t *end)
{
    int64_t last  = span->own ? index + 1 : span->length;
    int64_t start = window > 0 ? position - window + 1 - span->position : 0;
    start         = start < 0 ? 0 : start;
    *first        = start < last ? start : last;
    *end          = last;
}

/* The packed row of query `slot`. */
static inline int64_t query_row(const pb_attention_args *args, int64_t slot)
{
    return args->only_rows != NULL ? args->only_rows[slot] : slot;
}

static inline int64_t query_count(const pb_attention_args *args)
{
    return args->only_rows != NULL ? args->only_count : args->forest->rows;
}
