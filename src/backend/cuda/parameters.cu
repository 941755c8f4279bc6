// SPDX-License-Identifier: Apache-2.0
/* What methods compute from their own values in every step, with the arithmetic of the CPU: the
 * same bits but for sums over many elements, which a block adds in an order of its own. */
#include "device.cuh"
#include "kernels.h"

#include <math.h>

enum { THREADS = 256, WARPS = THREADS / 32 };

static dim3 blocks_for(int64_t n)
{
    return dim3((unsigned)((n + THREADS - 1) / THREADS));
}

static __device__ __forceinline__ int64_t thread_index(void)
{
    return (int64_t)blockIdx.x * THREADS + threadIdx.x;
}

__global__ void __launch_bounds__(THREADS)
    inverse_norms_kernel(float *y, const double *squares, view a, view b, int64_t n, int64_t r)
{
    int64_t i = thread_index();
    if (i >= n) {
        return;
    }
    double sum = squares[i];
    for (int64_t k = 0; k < r; k++) {
        sum += (double)((const float *)a.data)[k * a.stride + i] *
               (double)((const float *)b.data)[i * b.stride + k];
    }
    y[i] = sum > 0.0 ? 1.0f / (float)sqrt(sum) : NAN;
}

extern "C" cudaError_t launch_inverse_norms(float *y, const double *squares, view a, view b,
                                            int64_t n, int64_t r, cudaStream_t stream)
{
    return n == 0 ? cudaSuccess
                  : device_launch("inverse_norms", inverse_norms_kernel, blocks_for(n),
                                  dim3(THREADS), 0, stream, y, squares, a, b, n, r);
}

__global__ void __launch_bounds__(THREADS)
    identity_distance_kernel(double *norm, view gram, int64_t r, double weight)
{
    double sum = 0.0;
    for (int64_t i = threadIdx.x; i < r * r; i += THREADS) {
        float *g = (float *)gram.data + i / r * gram.stride + i % r;
        *g -= i / r == i % r ? 1.0f : 0.0f;
        sum += (double)*g * (double)*g;
    }
    double distance = sqrt(device_block_sum<WARPS>(sum, (double *)device_shared()));
    for (int64_t i = threadIdx.x; i < r * r; i += THREADS) {
        float *g = (float *)gram.data + i / r * gram.stride + i % r;
        *g       = distance > 0.0 ? (float)(2.0 * weight * (double)*g / distance) : 0.0f;
    }
    if (threadIdx.x == 0) {
        *norm = distance;
    }
}

extern "C" cudaError_t launch_identity_distance(double *norm, view gram, int64_t r, double weight,
                                                cudaStream_t stream)
{
    return device_launch("identity_distance", identity_distance_kernel, dim3(1), dim3(THREADS),
                         WARPS * sizeof(double), stream, norm, gram, r, weight);
}

__global__ void __launch_bounds__(THREADS)
    sensitivity_kernel(float *mean, float *deviation, const float *value, const float *grad,
                       int64_t n, averages f)
{
    int64_t i = thread_index();
    if (i >= n) {
        return;
    }
    float now    = fabsf(device_mul(value[i], grad[i]));
    float m      = device_add(device_mul(f.keep1, mean[i]), device_mul(f.new1, now));
    float off    = fabsf(device_add(now, -m));
    mean[i]      = m;
    deviation[i] = device_add(device_mul(f.keep2, deviation[i]), device_mul(f.new2, off));
}

extern "C" cudaError_t launch_sensitivity(float *mean, float *deviation, const float *value,
                                          const float *grad, int64_t n, averages factors,
                                          cudaStream_t stream)
{
    return n == 0 ? cudaSuccess
                  : device_launch("sensitivity", sensitivity_kernel, blocks_for(n), dim3(THREADS),
                                  0, stream, mean, deviation, value, grad, n, factors);
}

/* A block has a mean; the terms of one are `a_step` and `b_step` elements apart. */
__global__ void __launch_bounds__(THREADS)
    product_means_kernel(float *y, view a, view b, int64_t terms, int64_t a_step, int64_t b_step)
{
    const float *left  = (const float *)a.data + blockIdx.x * a.stride;
    const float *right = (const float *)b.data + blockIdx.x * b.stride;
    double sum         = 0.0;
    for (int64_t k = threadIdx.x; k < terms; k += THREADS) {
        sum += (double)device_mul(left[k * a_step], right[k * b_step]);
    }
    sum = device_block_sum<WARPS>(sum, (double *)device_shared());
    if (threadIdx.x == 0) {
        y[blockIdx.x] += (float)(sum / (double)terms);
    }
}

extern "C" cudaError_t launch_product_means(float *y, view a, view b, int64_t rows, int64_t columns,
                                            bool by_columns, cudaStream_t stream)
{
    int64_t count  = by_columns ? columns : rows;
    int64_t terms  = by_columns ? rows : columns;
    int64_t a_step = by_columns ? a.stride : 1;
    int64_t b_step = by_columns ? b.stride : 1;
    a.stride       = by_columns ? 1 : a.stride;
    b.stride       = by_columns ? 1 : b.stride;
    return count == 0 ? cudaSuccess
                      : device_launch("product_means", product_means_kernel, dim3((unsigned)count),
                                      dim3(THREADS), WARPS * sizeof(double), stream, y, a, b, terms,
                                      a_step, b_step);
}

/* Fewer than `count` are smaller: it is among the smallest, or equal to one of them. */
__global__ void __launch_bounds__(THREADS)
    drop_smallest_kernel(float *kept, const float *scores, int64_t n, int64_t count)
{
    int64_t i = thread_index();
    if (i >= n) {
        return;
    }
    float score     = scores[i];
    int64_t smaller = 0;
    for (int64_t k = 0; k < n; k++) {
        smaller += scores[k] < score;
    }
    kept[i] = smaller < count && score == score ? 0.0f : 1.0f;
}

extern "C" cudaError_t launch_drop_smallest(float *kept, const float *scores, int64_t n,
                                            int64_t count, cudaStream_t stream)
{
    return device_launch("drop_smallest", drop_smallest_kernel, blocks_for(n), dim3(THREADS), 0,
                         stream, kept, scores, n, count);
}

__global__ void __launch_bounds__(THREADS) keep_kernel(float *x, const float *kept, int64_t n)
{
    int64_t i = thread_index();
    if (i < n && kept[i] == 0.0f) {
        x[i] = 0.0f;
    }
}

extern "C" cudaError_t launch_keep(float *x, const float *kept, int64_t n, cudaStream_t stream)
{
    return n == 0 ? cudaSuccess
                  : device_launch("keep", keep_kernel, blocks_for(n), dim3(THREADS), 0, stream, x,
                                  kept, n);
}
