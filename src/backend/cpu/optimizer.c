// SPDX-License-Identifier: Apache-2.0
/* AdamW (Loshchilov & Hutter 2019) in torch's order, and the sum of squares for clipping. */
#include "cpu.h"

#include <math.h>

enum { LANES = 8 };

static double piece_squares(const float *x, int64_t n)
{
    double lane[LANES] = {0};
    int64_t i          = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            lane[l] += (double)x[i + l] * (double)x[i + l];
        }
    }
    double sum = 0;
    for (; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    for (int l = 0; l < LANES; l++) {
        sum += lane[l];
    }
    return sum;
}

pb_status cpu_sum_squares(pb_backend *be, pb_tensor *out, const pb_tensor *x)
{
    cpu_pieces pieces = cpu_split((const pb_tensor *[]){x}, 1);
    void *scratch     = NULL;
    PB_TRY(cpu_scratch(be, cpu_bytes(pieces.count, sizeof(double)), &scratch));
    double *sums = scratch;
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(x) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < pieces.count; i++) {
        sums[i] = piece_squares(cpu_piece(x, &pieces, i), cpu_piece_width(&pieces, i));
    }
    double total = 0;
    for (int64_t i = 0; i < pieces.count; i++) {
        total += sums[i];
    }
    *(double *)out->data = total;
    return PB_OK;
}

/* What gradients are multiplied by. */
static float clip_factor(const pb_tensor *numbers, double limit)
{
    double norm = sqrt(((const double *)numbers->data)[PB_NUMBER_SQUARES]);
    return limit > 0.0 && isfinite(norm) ? (float)fmin(1.0, limit / (norm + 1e-6)) : 1.0f;
}

pb_status cpu_clip(pb_backend *be, pb_tensor *x, const pb_tensor *numbers, double limit)
{
    float factor      = clip_factor(numbers, limit);
    cpu_pieces pieces = cpu_split((const pb_tensor *[]){x}, 1);
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(x) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < pieces.count; i++) {
        float *piece = cpu_piece(x, &pieces, i);
        int64_t n    = cpu_piece_width(&pieces, i);
        for (int64_t j = 0; j < n; j++) {
            piece[j] *= factor;
        }
    }
    return PB_OK;
}

/* The step's factors, computed once in double. */
typedef struct factors {
    float grad, decay, keep1, new1, keep2, new2, rate, root, eps;
} factors;

static void adamw_piece(float *restrict p, float *restrict m, float *restrict v,
                        const float *restrict g, int64_t n, const factors *factor)
{
    const factors f = *factor;
    for (int64_t i = 0; i < n; i++) {
        float grad = g[i] * f.grad;
        float mean = f.keep1 * m[i] + f.new1 * grad;
        float var  = f.keep2 * v[i] + f.new2 * (grad * grad);
        m[i]       = mean;
        v[i]       = var;
        p[i]       = p[i] * f.decay - f.rate * (mean / (sqrtf(var) * f.root + f.eps));
    }
}

static void adamw_tensor(const pb_backend *be, const pb_adamw_tensor *t, const factors *f)
{
    const pb_tensor *g = &t->grad;
    cpu_pieces pieces  = cpu_split((const pb_tensor *[]){&t->value, &t->first, &t->second, g}, 4);
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(g) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < pieces.count; i++) {
        adamw_piece(cpu_piece(&t->value, &pieces, i), cpu_piece(&t->first, &pieces, i),
                    cpu_piece(&t->second, &pieces, i), cpu_piece(g, &pieces, i),
                    cpu_piece_width(&pieces, i), f);
    }
}

pb_status cpu_adamw(pb_backend *be, const pb_adamw_tensor *tensors, int64_t count,
                    pb_tensor *numbers, const pb_adamw_args *args)
{
    double *number = numbers->data;
    bool finite    = isfinite(number[PB_NUMBER_LOSS]) && isfinite(number[PB_NUMBER_PENALTY]) &&
                  isfinite(number[PB_NUMBER_SQUARES]);
    if (number[PB_NUMBER_BAD] == 0 && !finite) {
        number[PB_NUMBER_BAD] = (double)args->step;
    }
    if (number[PB_NUMBER_BAD] != 0) {
        return PB_OK;
    }
    double correct1 = 1.0 - pow(args->beta1, (double)args->step);
    double correct2 = 1.0 - pow(args->beta2, (double)args->step);
    factors f       = {
              .grad  = clip_factor(numbers, args->clip),
              .keep1 = (float)args->beta1,
              .new1  = (float)(1.0 - args->beta1),
              .keep2 = (float)args->beta2,
              .new2  = (float)(1.0 - args->beta2),
              .root  = (float)(1.0 / sqrt(correct2)),
              .eps   = (float)args->eps,
    };
    for (int64_t i = 0; i < count; i++) {
        double lr = args->lr * tensors[i].rate;
        f.decay   = (float)(1.0 - lr * tensors[i].weight_decay);
        f.rate    = (float)(lr / correct1);
        adamw_tensor(be, &tensors[i], &f);
    }
    return PB_OK;
}
