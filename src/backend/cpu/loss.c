// SPDX-License-Identifier: Apache-2.0
/* Cross-entropy of label rows with its gradient in place, and the greedy choice. */
#include "cpu.h"
#include "simd.h"

#include <math.h>
#include <string.h>

enum { CHUNK = 256 }; /* elements summed in F32 lanes before they are added in double */

/* Sum of exp(x - max) in double; the exponentials replace x. */
static double exp_in_place(float *x, int64_t n, float max)
{
    double sum = 0;
    for (int64_t first = 0; first < n; first += CHUNK) {
        int64_t width = n - first < CHUNK ? n - first : CHUNK;
        float *part   = x + first;
        for (int64_t j = 0; j < width; j++) {
            part[j] = simd_exp(part[j] - max);
        }
        sum += (double)simd_sum(part, width);
    }
    return sum;
}

/* The same sum; x stays. */
static double exp_aside(const float *x, int64_t n, float max)
{
    float part[CHUNK];
    double sum = 0;
    for (int64_t first = 0; first < n; first += CHUNK) {
        int64_t width = n - first < CHUNK ? n - first : CHUNK;
        for (int64_t j = 0; j < width; j++) {
            part[j] = simd_exp(x[first + j] - max);
        }
        sum += (double)simd_sum(part, width);
    }
    return sum;
}

/* The target's own exponential is kept apart from the sum of the others: a loss near zero is
 * log1p(others / own), and the target's gradient -others / sum, both without cancellation. */
static double target_loss(float *x, int64_t n, int32_t target, const float *grad_scale)
{
    float max     = simd_max(x, n);
    float own     = x[target];
    x[target]     = -INFINITY;
    double others = grad_scale != NULL ? exp_in_place(x, n, max) : exp_aside(x, n, max);
    double mine   = exp((double)own - (double)max);
    double sum    = others + mine;
    double loss   = own == max ? log1p(others) : (double)max - (double)own + log(sum);
    if (grad_scale == NULL) {
        x[target] = own;
        return loss;
    }
    float factor = (float)((double)*grad_scale / sum);
    for (int64_t j = 0; j < n; j++) {
        x[j] *= factor;
    }
    x[target] = (float)(-(double)*grad_scale * (others / sum));
    return loss;
}

static double row_loss(float *x, int64_t n, int32_t target, const float *grad_scale)
{
    if (target >= 0) {
        return target_loss(x, n, target, grad_scale);
    }
    if (grad_scale != NULL) {
        memset(x, 0, (size_t)n * sizeof *x);
    }
    return 0.0;
}

pb_status cpu_cross_entropy(pb_backend *be, pb_tensor *losses, pb_tensor *logits,
                            const pb_list *targets, const pb_tensor *grad_scale)
{
    const float *scale = grad_scale != NULL ? grad_scale->data : NULL;
    double *loss       = losses->data;
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(logits) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < logits->shape[0]; i++) {
        loss[i] = row_loss(cpu_row(logits, i), logits->shape[1], targets->data[i], scale);
    }
    return PB_OK;
}

pb_status cpu_loss_sum(pb_backend *be, pb_tensor *sum, const pb_tensor *losses, double divisor,
                       double factor)
{
    (void)be;
    const double *loss = losses->data;
    double total       = 0;
    for (int64_t i = 0; i < losses->shape[0]; i++) {
        total += loss[i];
    }
    *(double *)sum->data += total / divisor * factor;
    return PB_OK;
}

/* A NaN counts as the largest, so that it is seen. */
static int32_t row_argmax(const float *x, int64_t n)
{
    float max = simd_max(x, n);
    float sum = simd_sum(x, n);
    if (sum != sum) {
        for (int64_t j = 0; j < n; j++) {
            if (x[j] != x[j]) {
                return (int32_t)j;
            }
        }
    }
    int64_t at = 0;
    while (at < n - 1 && x[at] != max) {
        at++;
    }
    return (int32_t)at;
}

pb_status cpu_argmax(pb_backend *be, pb_tensor *indices, pb_tensor *largest,
                     const pb_tensor *logits)
{
    int32_t *index = indices->data;
    float *value   = largest->data;
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(logits) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < logits->shape[0]; i++) {
        const float *row = cpu_row(logits, i);
        index[i]         = row_argmax(row, logits->shape[1]);
        value[i]         = row[index[i]];
    }
    return PB_OK;
}
