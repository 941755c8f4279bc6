// SPDX-License-Identifier: Apache-2.0
/* The sum of squares, clipping, and AdamW (Loshchilov & Hutter 2019) with the CPU's arithmetic: the
 * same bits from the same gradients and numbers. Work is cut into pieces of 4096 elements. */
#include "device.cuh"
#include "kernels.h"

#include <math.h>

enum {
    THREADS = 256,
    WARPS   = THREADS / 32,
    GROUP   = 4,               /* elements of one access */
    PIECE   = OPTIMIZER_PIECE, /* elements of a block, which it visits ... */
    STEP    = THREADS * GROUP, /* ... as many at a time */
    VISITS  = PIECE / STEP
};

static __device__ __forceinline__ bool is_finite(double x)
{
    return x - x == 0.0;
}

static __device__ __forceinline__ bool is_aligned(const void *p)
{
    return (uintptr_t)p % 16 == 0;
}

/* Up to four elements, of which `left` exist; the rest is zero. */
static __device__ __forceinline__ float4 load_group(const float *x, int64_t left, bool aligned)
{
    if (aligned && left >= GROUP) {
        return *(const float4 *)x;
    }
    return make_float4(left > 0 ? x[0] : 0.0f, left > 1 ? x[1] : 0.0f, left > 2 ? x[2] : 0.0f,
                       left > 3 ? x[3] : 0.0f);
}

static __device__ __forceinline__ void store_group(float *x, int64_t left, bool aligned, float4 v)
{
    if (aligned && left >= GROUP) {
        *(float4 *)x = v;
        return;
    }
    const float part[GROUP] = {v.x, v.y, v.z, v.w};
    UNROLL
    for (int i = 0; i < GROUP; i++) {
        if (i < left) {
            x[i] = part[i];
        }
    }
}

static int64_t pieces_of(int64_t columns)
{
    return (columns + PIECE - 1) / PIECE;
}

static __device__ __forceinline__ double square_sum(float4 v)
{
    return ((double)v.x * (double)v.x + (double)v.y * (double)v.y) +
           ((double)v.z * (double)v.z + (double)v.w * (double)v.w);
}

__global__ void __launch_bounds__(THREADS)
    square_parts_kernel(double *parts, const float *x, int64_t stride, int64_t columns,
                        int64_t across, int64_t pieces)
{
    double sum = 0.0;
    for (int64_t piece = blockIdx.x; piece < pieces; piece += gridDim.x) {
        const float *row = x + piece / across * stride;
        int64_t first    = piece % across * PIECE + threadIdx.x * GROUP;
        bool aligned     = is_aligned(row);
        float4 v[VISITS];
        UNROLL
        for (int i = 0; i < VISITS; i++) {
            v[i] = load_group(row + first + i * STEP, columns - first - i * STEP, aligned);
        }
        UNROLL
        for (int i = 0; i < VISITS; i++) {
            sum += square_sum(v[i]);
        }
    }
    sum = device_block_sum<WARPS>(sum, (double *)device_shared());
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
    }
}

__global__ void __launch_bounds__(THREADS)
    square_total_kernel(double *out, const double *parts, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = threadIdx.x; i < count; i += THREADS) {
        sum += parts[i];
    }
    sum = device_block_sum<WARPS>(sum, (double *)device_shared());
    if (threadIdx.x == 0) {
        *out = sum;
    }
}

extern "C" cudaError_t launch_sum_squares(double *out, double *parts, const float *x,
                                          int64_t stride, int64_t rows, int64_t columns,
                                          cudaStream_t stream)
{
    int64_t across = pieces_of(columns);
    int64_t pieces = rows * across;
    int64_t blocks = pieces < SQUARE_PARTS ? pieces : (int64_t)SQUARE_PARTS;
    size_t shared  = WARPS * sizeof(double);
    if (blocks > 0) {
        cudaError_t code =
            device_launch("square_parts", square_parts_kernel, dim3((unsigned)blocks),
                          dim3(THREADS), shared, stream, parts, x, stride, columns, across, pieces);
        if (code != cudaSuccess) {
            return code;
        }
    }
    return device_launch("square_total", square_total_kernel, dim3(1), dim3(THREADS), shared,
                         stream, out, parts, blocks);
}

/* What gradients are multiplied by. */
static __device__ float clip_factor(double squares, double limit)
{
    double norm = sqrt(squares);
    return limit > 0.0 && is_finite(norm) ? (float)fmin(1.0, limit / (norm + 1e-6)) : 1.0f;
}

__global__ void __launch_bounds__(THREADS)
    clip_kernel(float *x, int64_t stride, int64_t columns, int64_t across, const double *squares,
                double limit)
{
    float *share = (float *)device_shared();
    if (threadIdx.x == 0) {
        *share = clip_factor(*squares, limit);
    }
    __syncthreads();
    float factor  = *share;
    float *row    = x + blockIdx.x / across * stride;
    int64_t first = blockIdx.x % across * PIECE + threadIdx.x * GROUP;
    bool aligned  = is_aligned(row);
    if (factor == 1.0f) {
        return;
    }
    for (int i = 0; i < VISITS; i++) {
        int64_t left = columns - first - i * STEP;
        float *at    = row + first + i * STEP;
        float4 v     = load_group(at, left, aligned);
        store_group(at, left, aligned,
                    make_float4(v.x * factor, v.y * factor, v.z * factor, v.w * factor));
    }
}

extern "C" cudaError_t launch_clip(float *x, int64_t stride, int64_t rows, int64_t columns,
                                   const double *squares, double limit, cudaStream_t stream)
{
    int64_t across = pieces_of(columns);
    if (rows == 0 || columns == 0) {
        return cudaSuccess;
    }
    return device_launch("clip", clip_kernel, dim3((unsigned)(rows * across)), dim3(THREADS),
                         sizeof(float), stream, x, stride, columns, across, squares, limit);
}

/* What the threads of a block share. */
struct adamw_share {
    float grad;
    int works;
};

/* Decided alike by every block of a step, whether or not another has already set BAD. */
static __device__ adamw_share adamw_decide(double *numbers, const adamw_step &step)
{
    double squares = numbers[step.squares];
    double bad     = ((volatile double *)numbers)[step.bad];
    bool finite =
        is_finite(numbers[step.loss]) && is_finite(numbers[step.penalty]) && is_finite(squares);
    if (bad == 0.0 && !finite && blockIdx.x == 0) {
        numbers[step.bad] = step.number;
    }
    return adamw_share{clip_factor(squares, step.clip), bad == 0.0 && finite ? 1 : 0};
}

/* One element, in the order of the CPU and rounded as there. */
static __device__ __forceinline__ void adamw_element(float *p, float *m, float *v, float g,
                                                     float grad, float decay, float rate,
                                                     const adamw_step &s)
{
    float d    = device_mul(g, grad);
    float mean = device_add(device_mul(s.keep1, *m), device_mul(s.new1, d));
    float var  = device_add(device_mul(s.keep2, *v), device_mul(s.new2, device_mul(d, d)));
    float move = mean / device_add(device_mul(sqrtf(var), s.root), s.eps);
    *m         = mean;
    *v         = var;
    *p         = device_add(device_mul(*p, decay), -device_mul(rate, move));
}

__global__ void __launch_bounds__(THREADS)
    adamw_kernel(const adamw_runs runs, const adamw_step step, double *numbers)
{
    adamw_share *share = (adamw_share *)device_shared();
    if (threadIdx.x == 0) {
        *share = adamw_decide(numbers, step);
    }
    __syncthreads();
    float grad = share->grad;
    if (share->works == 0) {
        return;
    }
    int which = 0;
    while (which + 1 < runs.count && blockIdx.x >= runs.run[which + 1].block) {
        which++;
    }
    const adamw_run &run = runs.run[which];
    int64_t first        = (int64_t)(blockIdx.x - run.block) * PIECE + threadIdx.x * GROUP;
    float *value         = run.value;
    float *mean          = run.first;
    float *var           = run.second;
    bool aligned = is_aligned(value) && is_aligned(mean) && is_aligned(var) && is_aligned(run.grad);
    for (int i = 0; i < VISITS; i++) {
        int64_t at   = first + i * STEP;
        int64_t left = run.count - at;
        float4 p     = load_group(value + at, left, aligned);
        float4 m     = load_group(mean + at, left, aligned);
        float4 v     = load_group(var + at, left, aligned);
        float4 g     = load_group(run.grad + at, left, aligned);
        adamw_element(&p.x, &m.x, &v.x, g.x, grad, run.decay, run.rate, step);
        adamw_element(&p.y, &m.y, &v.y, g.y, grad, run.decay, run.rate, step);
        adamw_element(&p.z, &m.z, &v.z, g.z, grad, run.decay, run.rate, step);
        adamw_element(&p.w, &m.w, &v.w, g.w, grad, run.decay, run.rate, step);
        store_group(value + at, left, aligned, p);
        store_group(mean + at, left, aligned, m);
        store_group(var + at, left, aligned, v);
    }
}

extern "C" cudaError_t launch_adamw(adamw_runs *runs, const adamw_step *step, double *numbers,
                                    cudaStream_t stream)
{
    int64_t blocks = 0;
    for (int i = 0; i < runs->count; i++) {
        runs->run[i].block = (unsigned)blocks;
        blocks += pieces_of(runs->run[i].count);
    }
    return device_launch("adamw", adamw_kernel, dim3((unsigned)(blocks > 0 ? blocks : 1)),
                         dim3(THREADS), sizeof(adamw_share), stream, *runs, *step, numbers);
}
