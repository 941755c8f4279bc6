// SPDX-License-Identifier: Apache-2.0
/* RMS norm by rows: y = x · s · (offset + weight) with s = 1 / sqrt(mean(x²) + eps) (Zhang &
 * Sennrich 2019), and the rotary embedding. */
#include "cpu.h"
#include "simd.h"

#include <math.h>

static float row_scale(const float *x, int64_t n, float eps)
{
    double mean = (double)simd_dot(x, x, n) / (double)n;
    return (float)(1.0 / sqrt(mean + (double)eps));
}

pb_status cpu_rmsnorm_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                              const pb_tensor *weight, const pb_rmsnorm_args *args)
{
    const float *w = weight->data;
    float offset   = args->offset;
    int64_t n      = x->shape[1];
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(x) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < x->shape[0]; i++) {
        const float *from = cpu_row(x, i);
        float *to         = cpu_row(y, i);
        float s           = row_scale(from, n, args->eps);
        for (int64_t j = 0; j < n; j++) {
            to[j] = from[j] * s * (offset + w[j]);
        }
    }
    return PB_OK;
}

/* sum of x · (offset + w) · z, in the lanes of simd_dot */
static float dot3(const float *x, const float *w, float offset, const float *z, int64_t n)
{
    v8 a0     = {0};
    v8 a1     = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        a0 += V8_AT(x + i) * (offset + V8_AT(w + i)) * V8_AT(z + i);
        a1 += V8_AT(x + i + 8) * (offset + V8_AT(w + i + 8)) * V8_AT(z + i + 8);
    }
    a0 += a1;
    float sum = v8_sum(&a0);
    for (; i < n; i++) {
        sum += x[i] * (offset + w[i]) * z[i];
    }
    return sum;
}

/* With g = dy · (offset + w): dx = s g - x s³ mean(g x); dw = sum over rows of dy · x · s. */
pb_status cpu_rmsnorm_backward(pb_backend *be, pb_tensor *dx, pb_tensor *dweight,
                               const pb_tensor *dy, const pb_tensor *x, const pb_tensor *weight,
                               const pb_rmsnorm_args *args)
{
    const float *w = weight->data;
    float offset   = args->offset;
    int64_t rows   = x->shape[0];
    int64_t n      = x->shape[1];
    void *scratch  = NULL;
    PB_TRY(cpu_scratch(be, cpu_bytes(rows, sizeof(float)), &scratch));
    float *scale = scratch;
#pragma omp parallel for num_threads(be->threads) if (rows * n > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < rows; i++) {
        const float *from = cpu_row(x, i);
        const float *grad = cpu_row(dy, i);
        float *to         = cpu_row(dx, i);
        float s           = row_scale(from, n, args->eps);
        float c           = s * s * s * (dot3(grad, w, offset, from, n) / (float)n);
        for (int64_t j = 0; j < n; j++) {
            float d = s * (grad[j] * (offset + w[j])) - c * from[j];
            to[j]   = args->add ? to[j] + d : d;
        }
        scale[i] = s;
    }
    if (dweight != NULL) {
        cpu_column_sum(be, dweight->data, dy, x, scale);
    }
    return PB_OK;
}

/* The pair (x[i], x[i + E/2]) turns by the angle of its position. */
static void turn_head(float *restrict low, float *restrict high, const float *restrict cosine,
                      const float *restrict sine, float sign, int64_t half)
{
    for (int64_t i = 0; i < half; i++) {
        float a = low[i];
        float b = high[i];
        float s = sign * sine[i];
        low[i]  = a * cosine[i] - b * s;
        high[i] = b * cosine[i] + a * s;
    }
}

pb_status cpu_rope(pb_backend *be, pb_tensor *x, const pb_tensor *table, const pb_list *positions,
                   int64_t heads, bool inverse)
{
    int64_t width = x->shape[1] / heads;
    int64_t half  = width / 2;
    float sign    = inverse ? -1.0f : 1.0f;
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(x) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < x->shape[0]; i++) {
        const float *angles = cpu_row(table, positions->data[i]);
        for (int64_t h = 0; h < heads; h++) {
            float *head = cpu_row(x, i) + h * width;
            turn_head(head, head + half, angles, angles + half, sign, half);
        }
    }
    return PB_OK;
}
