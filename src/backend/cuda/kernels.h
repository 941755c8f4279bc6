// SPDX-License-Identifier: Apache-2.0
/* The launchers of the kernels: one section per .cu file.
 *
 * Plain pointers into device memory, sizes, and the stream last. A launcher checks nothing but
 * what selects a kernel; its C side (the .c file beside it) translates tensors and reports errors.
 * Comments give shapes and types; "act" is the type that `element` arguments name. Nothing waits:
 * the result is that of the launch. */
#pragma once

#include <cuda_runtime_api.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What lies in device memory, where a kernel takes more than one type; F16 as a frozen weight. */
enum element { ELEMENT_F32, ELEMENT_BF16, ELEMENT_F16 };

/* A matrix, whose row i begins `stride` · i elements behind the first; with a list, stride ·
 * list[i]. */
typedef struct view {
    void *data;
    int64_t stride;
    const int32_t *list; /* may be NULL */
    enum element element;
} view;

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

/* losses [rows]; logits [rows, columns] become grad_scale · gradient unless that is 0. */
cudaError_t launch_cross_entropy(double *losses, float *logits, int64_t stride,
                                 const int32_t *targets, int64_t rows, int64_t columns,
                                 float grad_scale, cudaStream_t stream);
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

/* Elements that lie in a row and have factors in common. */
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
    double number;          /* of the step: what BAD becomes */
    int loss, squares, bad; /* places in numbers */
    float keep1, new1, keep2, new2, root, eps;
} adamw_step;

/* One step, or a part of one. */
cudaError_t launch_adamw(adamw_runs *runs, const adamw_step *step, double *numbers,
                         cudaStream_t stream);

#ifdef __cplusplus
}
#endif
