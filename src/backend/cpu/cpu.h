// SPDX-License-Identifier: Apache-2.0
/* The CPU backend's own state and its operations. Every output element is computed by one thread in
 * a fixed order, so results do not depend on the number of threads. */
#pragma once

#include "internal.h"

#include <stddef.h>

typedef struct cpu {
    pb_backend base; /* first: a pb_backend pointer is a cpu pointer */
    char *scratch;   /* grows to the largest need and stays */
    size_t scratch_bytes;
} cpu;

/* Below this many elements a loop is not worth waking threads for. */
enum { CPU_PARALLEL_MIN = 16384 };

/* At least `bytes` of 64-byte aligned memory that the next call may take again; contents are not
 * kept. */
pb_status cpu_scratch(pb_backend *be, size_t bytes, void **data) PB_MUST_USE;

/* What attention takes of it. */
size_t cpu_attention_forward_bytes(const pb_backend *be, const pb_attention_args *args);
size_t cpu_attention_backward_bytes(const pb_backend *be, const pb_attention_args *args);
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

pb_status cpu_copy(pb_backend *be, pb_tensor *dst, const pb_tensor *src);
pb_status cpu_zero(pb_backend *be, pb_tensor *x);
pb_status cpu_axpy(pb_backend *be, pb_tensor *y, float alpha, const pb_tensor *x);
pb_status cpu_matmul(pb_backend *be, pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                     const pb_matmul_args *args);
pb_status cpu_embedding_forward(pb_backend *be, pb_tensor *y, const pb_tensor *table,
                                const int32_t *ids, float scale);
pb_status cpu_embedding_backward(pb_backend *be, pb_tensor *dtable, const pb_tensor *dy,
                                 const int32_t *ids, float scale);
pb_status cpu_gather(pb_backend *be, pb_tensor *y, const pb_tensor *x, const int32_t *rows);
pb_status cpu_scatter_add(pb_backend *be, pb_tensor *y, const pb_tensor *x, const int32_t *rows);
pb_status cpu_rmsnorm_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                              const pb_tensor *weight, const pb_rmsnorm_args *args);
pb_status cpu_rmsnorm_backward(pb_backend *be, pb_tensor *dx, pb_tensor *dweight,
                               const pb_tensor *dy, const pb_tensor *x, const pb_tensor *weight,
                               const pb_rmsnorm_args *args);
pb_status cpu_rope(pb_backend *be, pb_tensor *x, const pb_tensor *table, const int32_t *positions,
                   int64_t heads, bool inverse);
pb_status cpu_attention_forward(pb_backend *be, pb_tensor *out, pb_tensor *lse, const pb_tensor *q,
                                const pb_tensor *keys, const pb_tensor *values,
                                const pb_attention_args *args);
pb_status cpu_attention_backward(pb_backend *be, pb_tensor *dq, pb_tensor *dkeys,
                                 pb_tensor *dvalues, const pb_tensor *dout, const pb_tensor *out,
                                 const pb_tensor *lse, const pb_tensor *q, const pb_tensor *keys,
                                 const pb_tensor *values, const pb_attention_args *args);
pb_status cpu_gated_forward(pb_backend *be, pb_tensor *y, const pb_tensor *gate,
                            const pb_tensor *up, pb_activation act);
pb_status cpu_gated_backward(pb_backend *be, pb_tensor *dgate, pb_tensor *dup, const pb_tensor *dy,
                             const pb_tensor *gate, const pb_tensor *up, pb_activation act);
pb_status cpu_activation_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                 pb_activation act);
pb_status cpu_activation_backward(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                                  const pb_tensor *x, pb_activation act);
pb_status cpu_column_scale_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                   const pb_tensor *scale);
pb_status cpu_column_scale_backward(pb_backend *be, pb_tensor *dx, pb_tensor *dscale,
                                    const pb_tensor *dy, const pb_tensor *x,
                                    const pb_tensor *scale);
pb_status cpu_bias_forward(pb_backend *be, pb_tensor *y, const pb_tensor *bias);
pb_status cpu_bias_backward(pb_backend *be, pb_tensor *dbias, const pb_tensor *dy);
pb_status cpu_dropout(pb_backend *be, pb_tensor *y, const pb_tensor *x, double p, pb_random stream);
pb_status cpu_cross_entropy(pb_backend *be, double *losses, pb_tensor *logits,
                            const int32_t *targets, float grad_scale);
pb_status cpu_argmax(pb_backend *be, int32_t *indices, float *largest, const pb_tensor *logits);
pb_status cpu_sum_squares(pb_backend *be, const pb_tensor *x, double *out);
pb_status cpu_adamw(pb_backend *be, pb_tensor *p, pb_tensor *m, pb_tensor *v, const pb_tensor *g,
                    const pb_adamw_args *args);
