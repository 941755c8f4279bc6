// SPDX-License-Identifier: Apache-2.0
/* What methods compute from their own values in every step: norms of rows (dora), the penalty and
 * the budget of rows (adalora). */
#include "cpu.h"

#include <math.h>

pb_status cpu_inverse_norms(pb_backend *be, pb_tensor *y, const pb_tensor *squares,
                            const pb_tensor *a, const pb_tensor *b)
{
    const double *square = squares->data;
    float *out           = y->data;
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(a) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < b->shape[0]; i++) {
        const float *row = cpu_row(b, i);
        double sum       = square[i];
        for (int64_t k = 0; k < b->shape[1]; k++) {
            sum += (double)cpu_row(a, k)[i] * (double)row[k];
        }
        out[i] = sum > 0.0 ? 1.0f / (float)sqrt(sum) : NAN;
    }
    return PB_OK;
}

pb_status cpu_identity_distance(pb_backend *be, pb_tensor *norm, pb_tensor *gram, double weight)
{
    int64_t r  = gram->shape[0];
    double sum = 0.0;
    (void)be;
    for (int64_t i = 0; i < r; i++) {
        float *g = cpu_row(gram, i);
        g[i] -= 1.0f;
        for (int64_t j = 0; j < r; j++) {
            sum += (double)g[j] * (double)g[j];
        }
    }
    double distance       = sqrt(sum);
    *(double *)norm->data = distance;
    for (int64_t i = 0; i < r; i++) {
        float *g = cpu_row(gram, i);
        for (int64_t j = 0; j < r; j++) {
            g[j] = distance > 0.0 ? (float)(2.0 * weight * (double)g[j] / distance) : 0.0f;
        }
    }
    return PB_OK;
}

pb_status cpu_sensitivity(pb_backend *be, pb_tensor *mean, pb_tensor *deviation,
                          const pb_tensor *value, const pb_tensor *grad, double beta1, double beta2)
{
    float keep1 = (float)beta1, new1 = (float)(1.0 - beta1);
    float keep2 = (float)beta2, new2 = (float)(1.0 - beta2);
    float *m = mean->data, *d = deviation->data;
    const float *v = value->data, *g = grad->data;
    int64_t n = pb_tensor_count(mean);
#pragma omp parallel for num_threads(be->threads) if (n > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < n; i++) {
        float now = fabsf(v[i] * g[i]);
        m[i]      = keep1 * m[i] + new1 * now;
        d[i]      = keep2 * d[i] + new2 * fabsf(now - m[i]);
    }
    return PB_OK;
}

pb_status cpu_product_means(pb_backend *be, pb_tensor *y, const pb_tensor *a, const pb_tensor *b,
                            bool by_columns)
{
    int64_t terms  = a->shape[by_columns ? 0 : 1];
    int64_t a_step = by_columns ? a->stride : 1;
    int64_t b_step = by_columns ? b->stride : 1;
    float *out     = y->data;
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(a) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < pb_tensor_count(y); i++) {
        const float *left  = (const float *)a->data + i * (by_columns ? 1 : a->stride);
        const float *right = (const float *)b->data + i * (by_columns ? 1 : b->stride);
        double sum         = 0.0;
        for (int64_t k = 0; k < terms; k++) {
            sum += (double)(left[k * a_step] * right[k * b_step]);
        }
        out[i] += (float)(sum / (double)terms);
    }
    return PB_OK;
}

/* Fewer than `count` are smaller: it is among the smallest, or equal to one of them. */
pb_status cpu_drop_smallest(pb_backend *be, pb_tensor *kept, const pb_tensor *scores, int64_t count)
{
    const float *score = scores->data;
    float *out         = kept->data;
    int64_t n          = pb_tensor_count(scores);
#pragma omp parallel for num_threads(be->threads) if (n * n > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < n; i++) {
        int32_t smaller = 0;
        for (int64_t k = 0; k < n; k++) {
            smaller += score[k] < score[i];
        }
        out[i] = smaller < count && score[i] == score[i] ? 0.0f : 1.0f;
    }
    return PB_OK;
}

pb_status cpu_keep(pb_backend *be, pb_tensor *x, const pb_tensor *kept)
{
    const float *k = kept->data;
    float *to      = x->data;
    (void)be;
    for (int64_t i = 0; i < pb_tensor_count(x); i++) {
        to[i] = k[i] == 0.0f ? 0.0f : to[i];
    }
    return PB_OK;
}
