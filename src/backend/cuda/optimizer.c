// SPDX-License-Identifier: Apache-2.0
/* The sum of squares, clipping, and AdamW. A step's tensors are arguments of the launch: the
 * trainables of a method are contiguous, so that neighbours with the same factors become one run,
 * and few runs are left. No table of them exists in device memory, and nothing waits for one. */
#include "cuda.h"

#include <math.h>

/* Rows of a matrix with gaps between them; a tensor without gaps is one row. */
typedef struct lines {
    int64_t rows, columns, stride;
} lines;

static lines lines_of(const pb_tensor *t)
{
    if (pb_tensor_is_contiguous(t)) {
        return (lines){.rows = 1, .columns = pb_tensor_count(t), .stride = pb_tensor_count(t)};
    }
    return (lines){.rows = t->shape[0], .columns = pb_tensor_width(t), .stride = t->stride};
}

pb_status cuda_sum_squares(pb_backend *be, pb_tensor *out, const pb_tensor *x)
{
    lines l     = lines_of(x);
    void *parts = NULL;
    PB_TRY(cuda_scratch(be, cuda_bytes(SQUARE_PARTS, sizeof(double)), &parts));
    CUDA_LAUNCH(be, "sum_squares", l.rows, l.columns,
                launch_sum_squares(out->data, parts, x->data, l.stride, l.rows, l.columns,
                                   cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_clip(pb_backend *be, pb_tensor *x, const pb_tensor *numbers, double limit)
{
    lines l               = lines_of(x);
    const double *squares = (const double *)numbers->data + PB_NUMBER_SQUARES;
    CUDA_LAUNCH(
        be, "clip", l.rows, l.columns,
        launch_clip(x->data, l.stride, l.rows, l.columns, squares, limit, cuda_of(be)->stream));
    return PB_OK;
}

/* A step that is being launched, by as many runs as fit at a time. */
typedef struct launcher {
    pb_backend *be;
    double *numbers;
    adamw_step step;
    adamw_runs runs;
    int64_t elements;
} launcher;

static pb_status flush(launcher *l)
{
    CUDA_LAUNCH(l->be, "adamw", l->runs.count, l->elements,
                launch_adamw(&l->runs, &l->step, l->numbers, cuda_of(l->be)->stream));
    l->runs.count = 0;
    l->elements   = 0;
    return PB_OK;
}

static bool continues(const adamw_run *before, const adamw_run *run)
{
    int64_t n = before->count;
    return before->value + n == run->value && before->first + n == run->first &&
           before->second + n == run->second && before->grad + n == run->grad &&
           before->decay == run->decay && before->rate == run->rate;
}

static pb_status add_run(launcher *l, const adamw_run *run)
{
    adamw_run *last = l->runs.count > 0 ? &l->runs.run[l->runs.count - 1] : NULL;
    l->elements += run->count;
    if (last != NULL && continues(last, run)) {
        last->count += run->count;
        return PB_OK;
    }
    if (l->runs.count == ADAMW_RUNS) {
        PB_TRY(flush(l));
    }
    l->runs.run[l->runs.count++] = *run;
    return PB_OK;
}

static float *row_at(const pb_tensor *t, int64_t row)
{
    return (float *)t->data + row * t->stride;
}

/* Row by row where one of the four has gaps between rows. */
static pb_status add_tensor(launcher *l, const pb_adamw_tensor *t, float decay, float rate)
{
    bool flat = pb_tensor_is_contiguous(&t->value) && pb_tensor_is_contiguous(&t->first) &&
                pb_tensor_is_contiguous(&t->second) && pb_tensor_is_contiguous(&t->grad);
    int64_t count = pb_tensor_count(&t->value);
    int64_t rows  = count == 0 ? 0 : flat ? 1 : t->value.shape[0];
    for (int64_t i = 0; i < rows; i++) {
        adamw_run run = {
            .value  = row_at(&t->value, i),
            .first  = row_at(&t->first, i),
            .second = row_at(&t->second, i),
            .grad   = row_at(&t->grad, i),
            .count  = count / rows,
            .decay  = decay,
            .rate   = rate,
        };
        PB_TRY(add_run(l, &run));
    }
    return PB_OK;
}

pb_status cuda_adamw(pb_backend *be, const pb_adamw_tensor *tensors, int64_t count,
                     pb_tensor *numbers, const pb_adamw_args *args)
{
    double correct1 = 1.0 - pow(args->beta1, (double)args->step);
    double correct2 = 1.0 - pow(args->beta2, (double)args->step);
    launcher l      = {
             .be      = be,
             .numbers = numbers->data,
             .step    = {.clip    = args->clip,
                         .number  = (double)args->step,
                         .loss    = PB_NUMBER_LOSS,
                         .penalty = PB_NUMBER_PENALTY,
                         .squares = PB_NUMBER_SQUARES,
                         .bad     = PB_NUMBER_BAD,
                         .keep1   = (float)args->beta1,
                         .new1    = (float)(1.0 - args->beta1),
                         .keep2   = (float)args->beta2,
                         .new2    = (float)(1.0 - args->beta2),
                         .root    = (float)(1.0 / sqrt(correct2)),
                         .eps     = (float)args->eps},
    };
    for (int64_t i = 0; i < count; i++) {
        double lr = args->lr * tensors[i].rate;
        PB_TRY(add_tensor(&l, &tensors[i], (float)(1.0 - lr * tensors[i].weight_decay),
                          (float)(lr / correct1)));
    }
    return flush(&l);
}
