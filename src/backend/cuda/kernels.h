// SPDX-License-Identifier: Apache-2.0
/* The launchers of the kernels: one section per .cu file.
 *
 * Plain pointers into device memory, sizes, and the stream last. A launcher checks nothing but
 * what selects a kernel; its C side (the .c file beside it) translates tensors and reports errors.
 * Comments give shapes and types; "act" is the type that `element` arguments name. Nothing waits:
 * the result is that of the launch. */
#pragma once

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The type of elements in device memory, where a kernel takes several; F16 only for frozen
 * weights. */
enum element { ELEMENT_F32, ELEMENT_BF16, ELEMENT_F16 };

/* A matrix, whose row i begins `stride` · i elements after the first; with a list, stride ·
 * list[i]. */
typedef struct view {
    void *data;
    int64_t stride;
    const int32_t *list; /* may be NULL */
    enum element element;
} view;

/* A launch that was refused because a block may not have so many bytes of shared memory. */
typedef struct refused_launch {
    const char *kernel; /* NULL: none was */
    size_t shared;
} refused_launch;

/* convert.cu: the last one of this thread, once. */
refused_launch launch_refused(void);

/* ---- embedding.cu ---- */

/* y [rows, columns] F32 = scale · table (F32, BF16, F16) at ids [rows]; id -1: left alone. The
 * lists of the views are not used. */
cudaError_t launch_embedding_forward(view y, view table, const int32_t *ids, int64_t rows,
                                     int64_t columns, float scale, cudaStream_t stream);
/* y (act) at ids [rows] += scale · x [rows, columns] (act), in order; id -1: nothing. What y
 * accumulates is rounded to its type once. */
cudaError_t launch_scatter_add(view y, view x, const int32_t *ids, int64_t rows, int64_t columns,
                               float scale, cudaStream_t stream);

/* ---- loss.cu ---- */

/* losses [rows]; logits [rows, columns] become *grad_scale · gradient unless that is NULL. Target
 * -1: a loss and a gradient of 0. */
cudaError_t launch_cross_entropy(double *losses, float *logits, int64_t stride,
                                 const int32_t *targets, int64_t rows, int64_t columns,
                                 const float *grad_scale, cudaStream_t stream);
/* *sum += (losses [n], in order) / divisor · factor */
cudaError_t launch_loss_sum(double *sum, const double *losses, int64_t n, double divisor,
                            double factor, cudaStream_t stream);
/* indices, largest [rows] of logits [rows, columns], columns > 0 */
cudaError_t launch_argmax(int32_t *indices, float *largest, const float *logits, int64_t stride,
                          int64_t rows, int64_t columns, cudaStream_t stream);

/* ---- sums.cu ---- */

enum { COLUMN_SUM_CHUNK = 512 }; /* rows */

/* out [columns] += sum over rows of a (act) · b (act) · row_scale [rows]; b.data and row_scale may
 * be NULL. parts [rows / COLUMN_SUM_CHUNK, rounded up][columns], not used for a single chunk. */
cudaError_t launch_column_sum(float *out, double *parts, view a, view b, const float *row_scale,
                              int64_t rows, int64_t columns, cudaStream_t stream);

/* ---- optimizer.cu ---- */

enum {
    OPTIMIZER_PIECE = 4096, /* elements of a block */
    SQUARE_PARTS    = 4096, /* most partial sums */
    ADAMW_RUNS      = 64    /* of a launch: its arguments take less than 4 KiB */
};

/* *out = sum of squares of x [rows, columns]; parts [SQUARE_PARTS] */
cudaError_t launch_sum_squares(double *out, double *parts, const float *x, int64_t stride,
                               int64_t rows, int64_t columns, cudaStream_t stream);
/* x [rows, columns], whose sum of squares is *squares, down to a norm of `limit` */
cudaError_t launch_clip(float *x, int64_t stride, int64_t rows, int64_t columns,
                        const double *squares, double limit, cudaStream_t stream);

/* Consecutive elements that share their factors. */
typedef struct adamw_run {
    float *value, *first, *second;
    const float *grad;
    int64_t count;
    float decay, rate;
    unsigned block; /* the first that works on it: set by the launcher */
} adamw_run;

typedef struct adamw_runs {
    adamw_run run[ADAMW_RUNS];
    int count;
} adamw_runs;

typedef struct adamw_step {
    double clip;
    double number;                   /* of the step: what BAD becomes */
    int loss, penalty, squares, bad; /* places in numbers */
    float keep1, new1, keep2, new2, root, eps;
} adamw_step;

/* One step, or a part of one. */
cudaError_t launch_adamw(adamw_runs *runs, const adamw_step *step, double *numbers,
                         cudaStream_t stream);

/* ---- parameters.cu: see pb/operations.def ---- */

/* Factors of two moving averages. */
typedef struct averages {
    float keep1, new1, keep2, new2;
} averages;

/* a [r, n], b [n, r], F32 */
cudaError_t launch_inverse_norms(float *y, const double *squares, view a, view b, int64_t n,
                                 int64_t r, cudaStream_t stream);
/* gram F32 [r, r] */
cudaError_t launch_identity_distance(double *norm, view gram, int64_t r, double weight,
                                     cudaStream_t stream);
cudaError_t launch_sensitivity(float *mean, float *deviation, const float *value, const float *grad,
                               int64_t n, averages factors, cudaStream_t stream);
/* a, b F32 [rows, columns] */
cudaError_t launch_product_means(float *y, view a, view b, int64_t rows, int64_t columns,
                                 bool by_columns, cudaStream_t stream);
/* n > 0 */
cudaError_t launch_drop_smallest(float *kept, const float *scores, int64_t n, int64_t count,
                                 cudaStream_t stream);
cudaError_t launch_keep(float *x, const float *kept, int64_t n, cudaStream_t stream);

/* ---- elementwise.cu, convert.cu, activation.cu, norm.cu, rope.cu, dropout.cu, product.cu ---- */

/* Matrices of one shape: rows of `columns` elements, the last of `last`. So a long run of elements
 * is cut into rows. */
typedef struct extent {
    int64_t rows, columns, last;
} extent;

/* Bytes: rows of shape.columns bytes, `to_step` and `from_step` bytes apart; without `from` they
 * become zero. */
cudaError_t launch_copy(void *to, int64_t to_step, const void *from, int64_t from_step,
                        extent shape, cudaStream_t stream);
/* y = x, F32, BF16 or F16 to F32 or BF16; rows through the lists of the views. */
cudaError_t launch_convert(view y, view x, extent shape, cudaStream_t stream);
/* y += alpha x */
cudaError_t launch_axpy(view y, float alpha, view x, extent shape, cudaStream_t stream);

/* to [rows, columns] (F32 or BF16) = scale · from (F32) */
typedef struct scaled_copy {
    view to, from;
    int64_t rows, columns;
    float scale;
    unsigned block; /* the first that works on it: set by the launcher */
} scaled_copy;

enum { SCALED_COPIES = 44 }; /* of a launch: its arguments take less than 4 KiB */

typedef struct scaled_copies {
    scaled_copy copy[SCALED_COPIES];
    int count;
} scaled_copies;

cudaError_t launch_scaled_copies(scaled_copies *copies, cudaStream_t stream);
/* y = x · scale, scale F32 [columns]; y may be x. */
cudaError_t launch_column_scale(view y, view x, const float *scale, extent shape,
                                cudaStream_t stream);
/* y += bias, F32 [columns] */
cudaError_t launch_bias(view y, const float *bias, extent shape, cudaStream_t stream);

/* y = act(gate) · up, `act` of pb_activation; y may be an input. */
cudaError_t launch_gated_forward(view y, view gate, view up, int act, extent shape,
                                 cudaStream_t stream);
/* dgate and dup may be dy. */
cudaError_t launch_gated_backward(view dgate, view dup, view dy, view gate, view up, int act,
                                  extent shape, cudaStream_t stream);
cudaError_t launch_activation_forward(view y, view x, int act, extent shape, cudaStream_t stream);
cudaError_t launch_activation_backward(view dx, view dy, view x, int act, extent shape,
                                       cudaStream_t stream);

/* Element (row, column) is multiplied by `factor` where word row · columns + column of the stream
 * of pb_mask is at least `threshold`, and else dropped; threshold 0: nothing is. The pass is read
 * from the page. */
typedef struct drop_mask {
    const uint64_t *pass;
    uint64_t seed, stride, salt;
    uint32_t threshold;
    float factor;
} drop_mask;

/* y = drop(x); y may be x. */
cudaError_t launch_dropout(view y, view x, drop_mask mask, extent shape, cudaStream_t stream);

/* Rows of a norm, and its weight F32 [columns]. */
typedef struct norm_shape {
    int64_t rows, columns;
    const float *weight;
    float eps, offset;
} norm_shape;

cudaError_t launch_rmsnorm_forward(view y, view x, norm_shape shape, cudaStream_t stream);
/* dx = or += ; `scale` F32 [rows], if it is not NULL, becomes 1 / sqrt(mean(x²) + eps). */
cudaError_t launch_rmsnorm_backward(view dx, float *scale, view dy, view x, norm_shape shape,
                                    bool add, cudaStream_t stream);

/* In place: x [rows, heads · width], table F32 [positions, width] with rows `table.stride` apart,
 * positions [rows] = table.list; sign -1: the inverse. */
cudaError_t launch_rope(view x, view table, int64_t rows, int64_t heads, int64_t width, float sign,
                        cudaStream_t stream);

/* C [m, n] = alpha op(A) op(B) + beta C; op(A) [m, k], op(B) [k, n]. A and B both BF16, or both of
 * any type: then computed in F32. C F32 or BF16. */
typedef struct product_shape {
    int64_t m, n, k;
    bool transpose_a, transpose_b; /* A is stored as [k, m], B as [n, k] */
    float alpha, beta;             /* beta 0: C is not read */
    const void *before;            /* read as C is, in its place; NULL: C itself */
} product_shape;

/* `shared`: bytes that a block may have; sums of few rows that take more go to another kernel. */
cudaError_t launch_product(view c, view a, view b, product_shape shape, size_t shared,
                           cudaStream_t stream);

/* ---- lowrank.cu ---- */

enum {
    LOW_RANK_PART  = 512, /* columns whose products are summed before they are added to others */
    LOW_RANK_CHUNK = 512  /* rows, likewise */
};

/* A factor of r by `columns` or by rows, or its gradient: element (i, j) at i · r_step + j · step.
 */
typedef struct low_rank_factor {
    void *data;
    int64_t r_step, step;
    enum element element;
} low_rank_factor;

typedef struct low_rank_shape {
    int64_t rows, columns, r;
    float alpha;
    bool add;    /* `up` adds to y */
    bool narrow; /* the elements of both factors are rounded to BF16 */
} low_rank_shape;

/* Floats of memory for sums of parts that launches of this shape take. */
int64_t lowrank_down_parts(low_rank_shape shape);
int64_t lowrank_grad_parts(low_rank_shape shape);
/* out [rows, r], and `also` where it has data, = alpha · drop(x [rows, columns]) · factorᵀ */
cudaError_t launch_lowrank_down(view out, view also, float *parts, view x, low_rank_factor factor,
                                drop_mask mask, low_rank_shape shape, cudaStream_t stream);
/* y [rows, columns] = or += drop(alpha · u [rows, r] · factor) */
cudaError_t launch_lowrank_up(view y, view u, low_rank_factor factor, drop_mask mask,
                              low_rank_shape shape, cudaStream_t stream);
/* g F32 += alpha · u [rows, r]ᵀ · drop(x [rows, columns]) */
cudaError_t launch_lowrank_grad(low_rank_factor g, float *parts, view u, view x, drop_mask mask,
                                low_rank_shape shape, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#include "attention.h"
