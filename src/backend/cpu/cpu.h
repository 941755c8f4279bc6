// SPDX-License-Identifier: Apache-2.0
/* The CPU backend's own state and its operations. Every output element is computed by one thread in
 * a fixed order, so results do not depend on the number of threads. */
#pragma once

#include "internal.h"
#include "products.h"

#include <stddef.h>

/* Memory that grows to the largest need and stays. */
typedef struct cpu_block {
    char *data;
    size_t bytes;
} cpu_block;

typedef struct cpu {
    pb_backend base; /* first: a pb_backend pointer is a cpu pointer */
    cpu_block scratch;
    cpu_block plans[PB_PAGE_PLANS];
    cpu_block posted[PB_SLOTS];
    int64_t posted_count[PB_SLOTS];
    products products;
    struct onednn *onednn; /* NULL where it has no part in them */
    size_t described;      /* bytes of base.describe without it */
} cpu;

/* Below this many elements a loop is not worth waking threads for. */
enum { CPU_PARALLEL_MIN = 16384 };

void cpu_block_free(cpu_block *block);
/* At least `bytes` of it, 64-byte aligned; contents are not kept. */
pb_status cpu_block_take(cpu_block *block, size_t bytes, void **data) PB_MUST_USE;

/* At least `bytes` of 64-byte aligned memory that the next call may take again; contents are not
 * kept. */
pb_status cpu_scratch(pb_backend *be, size_t bytes, void **data) PB_MUST_USE;

/* What attention takes of it. */
size_t cpu_attention_forward_bytes(const pb_backend *be, const pb_attention_plan *plan);
size_t cpu_attention_backward_bytes(const pb_backend *be, const pb_attention_plan *plan);
/* And a product whose B is converted: A of at most `factor` elements, sums of at most `inner`. */
size_t cpu_matmul_bytes(const pb_backend *be, int64_t factor, int64_t inner);

/* n · size, up to whole cache lines, so that threads do not share one. */
static inline size_t cpu_bytes(int64_t n, size_t size)
{
    return ((size_t)n * size + 63) / 64 * 64;
}

static inline float *cpu_row(const pb_tensor *t, int64_t row)
{
    return (float *)t->data + row * t->stride;
}

/* An elementwise loop over tensors of one shape, in pieces: rows where one of them is strided, else
 * equal runs of the whole. */
typedef struct cpu_pieces {
    int64_t count, width, last; /* pieces; elements of each, of the last one */
    bool flat;
} cpu_pieces;

cpu_pieces cpu_split(const pb_tensor *const *tensors, int count);

static inline float *cpu_piece(const pb_tensor *t, const cpu_pieces *pieces, int64_t i)
{
    return (float *)t->data + i * (pieces->flat ? pieces->width : t->stride);
}

static inline int64_t cpu_piece_width(const cpu_pieces *pieces, int64_t i)
{
    return i == pieces->count - 1 ? pieces->last : pieces->width;
}

/* out [N] += sum over rows of a · b · row_scale, a [T, N]; b and row_scale [T] may be NULL. */
void cpu_column_sum(pb_backend *be, float *out, const pb_tensor *a, const pb_tensor *b,
                    const float *row_scale);

pb_status cpu_page_list(pb_backend *be, const int32_t *host, pb_list *list);
pb_status cpu_page_plan(pb_backend *be, int index, pb_attention_plan *plan);
pb_status cpu_use_dtype(pb_backend *be, pb_dtype dtype);
pb_status cpu_use_products(pb_backend *be, const char *text);
pb_status cpu_post(pb_backend *be, int slot, const pb_tensor *numbers);
pb_status cpu_take(pb_backend *be, int slot, double *values);

#define PB_OPERATION(name, ...) pb_status cpu_##name(pb_backend *be, __VA_ARGS__);
#include "pb/operations.def"
