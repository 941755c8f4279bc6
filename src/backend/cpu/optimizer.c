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

pb_status cpu_sum_squares(pb_backend *be, const pb_tensor *x, double *out)
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
    *out = total;
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

pb_status cpu_adamw(pb_backend *be, pb_tensor *p, pb_tensor *m, pb_tensor *v, const pb_tensor *g,
                    const pb_adamw_args *args)
{
    double correct1 = 1.0 - pow(args->beta1, (double)args->step);
    double correct2 = 1.0 - pow(args->beta2, (double)args->step);
    const factors f = {
        .grad  = (float)args->grad_scale,
        .decay = (float)(1.0 - args->lr * args->weight_decay),
        .keep1 = (float)args->beta1,
        .new1  = (float)(1.0 - args->beta1),
        .keep2 = (float)args->beta2,
        .new2  = (float)(1.0 - args->beta2),
        .rate  = (float)(args->lr / correct1),
        .root  = (float)(1.0 / sqrt(correct2)),
        .eps   = (float)args->eps,
    };
    cpu_pieces pieces = cpu_split((const pb_tensor *[]){p, m, v, g}, 4);
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(p) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < pieces.count; i++) {
        adamw_piece(cpu_piece(p, &pieces, i), cpu_piece(m, &pieces, i), cpu_piece(v, &pieces, i),
                    cpu_piece(g, &pieces, i), cpu_piece_width(&pieces, i), &f);
    }
    return PB_OK;
}
