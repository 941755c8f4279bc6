// SPDX-License-Identifier: Apache-2.0
/* Cross-entropy of label rows with its gradient in place, and the greedy choice: a block per row.
 * Sums are F32 within a thread, which sees every 1024th group of four elements, and F64 across. */
#include "device.cuh"
#include "kernels.h"

#include <math.h>

enum { THREADS = 1024, WARPS = THREADS / 32, GROUP = 4, SMALL = 128 };

/* Elements at … at + 3 of a row of n; what lies beyond the end is -infinity. */
static __device__ __forceinline__ float4 load_group(const float *row, int64_t at, int64_t n,
                                                    bool aligned)
{
    if (aligned && at + GROUP <= n) {
        return *(const float4 *)(row + at);
    }
    return make_float4(row[at], at + 1 < n ? row[at + 1] : -INFINITY,
                       at + 2 < n ? row[at + 2] : -INFINITY, at + 3 < n ? row[at + 3] : -INFINITY);
}

static __device__ __forceinline__ void store_group(float *row, int64_t at, int64_t n, bool aligned,
                                                   float4 v)
{
    if (aligned && at + GROUP <= n) {
        *(float4 *)(row + at) = v;
        return;
    }
    const float part[GROUP] = {v.x, v.y, v.z, v.w};
    UNROLL
    for (int i = 0; i < GROUP; i++) {
        if (at + i < n) {
            row[at + i] = part[i];
        }
    }
}

static __device__ __forceinline__ bool is_aligned(const float *row)
{
    return (uintptr_t)row % 16 == 0;
}

/* The target's own element counts as -infinity: it is kept apart. */
static __device__ __forceinline__ float4 without(float4 v, int64_t at, int64_t target)
{
    v.x = at == target ? -INFINITY : v.x;
    v.y = at + 1 == target ? -INFINITY : v.y;
    v.z = at + 2 == target ? -INFINITY : v.z;
    v.w = at + 3 == target ? -INFINITY : v.w;
    return v;
}

/* exp(x - max); 0 for -infinity, even where that is the largest so far. */
static __device__ __forceinline__ float term(float x, float max)
{
    return x == -INFINITY ? 0.0f : expf(x - max);
}

/* The largest over a block, the same in all threads; NaN is passed over. */
template <int COUNT> static __device__ __forceinline__ float block_max(float v, float *room)
{
    v = device_warp_max(v);
    if (threadIdx.x % 32 == 0) {
        room[threadIdx.x / 32] = v;
    }
    __syncthreads();
    v = -INFINITY;
    for (int w = 0; w < COUNT; w++) {
        v = fmaxf(v, room[w]);
    }
    __syncthreads();
    return v;
}

/* What the gradient of a row needs. */
struct row_factors {
    float max, factor, own;
};

/* As the CPU: a loss near zero is log1p(others / own), and the target's gradient -others / sum,
 * both without cancellation. `others` are relative to e^max. */
static __device__ row_factors row_loss(double *loss, double others, float max, float own,
                                       float grad_scale)
{
    double mine = exp((double)own - (double)max);
    double sum  = others + mine;
    *loss       = own == max ? log1p(others) : (double)max - (double)own + log(sum);
    return row_factors{max, (float)((double)grad_scale / sum),
                       (float)(-(double)grad_scale * (others / sum))};
}

/* Of a row without a target. */
template <int BLOCK>
static __device__ void no_loss(double *loss, float *row, int64_t n, bool gradient)
{
    if (threadIdx.x == 0) {
        *loss = 0.0;
    }
    for (int64_t at = threadIdx.x; gradient && at < n; at += BLOCK) {
        row[at] = 0.0f;
    }
}

template <int BLOCK>
__global__ void __launch_bounds__(BLOCK)
    cross_entropy_kernel(double *losses, float *logits, int64_t stride, const int32_t *targets,
                         int64_t n, const float *grad_scale)
{
    bool gradient      = grad_scale != NULL;
    double *room       = (double *)device_shared(); /* [BLOCK / 32] */
    row_factors *share = (row_factors *)(room + BLOCK / 32);
    float *row         = logits + blockIdx.x * stride;
    int32_t target     = targets[blockIdx.x];
    bool aligned       = is_aligned(row);
    if (target < 0) { /* the whole block */
        no_loss<BLOCK>(&losses[blockIdx.x], row, n, gradient);
        return;
    }
    float own = row[target];
    float max = -INFINITY;
    float sum = 0.0f;
    for (int64_t at = (int64_t)threadIdx.x * GROUP; at < n; at += BLOCK * GROUP) {
        float4 v  = without(load_group(row, at, n, aligned), at, target);
        float top = fmaxf(fmaxf(v.x, v.y), fmaxf(v.z, v.w));
        if (top > max) {
            sum *= expf(max - top);
            max = top;
        }
        sum += (term(v.x, max) + term(v.y, max)) + (term(v.z, max) + term(v.w, max));
    }
    float all     = fmaxf(block_max<BLOCK / 32>(max, (float *)room), own);
    double others = (double)sum * exp((double)max - (double)all);
    others        = device_block_sum<BLOCK / 32>(others, room);
    if (threadIdx.x == 0) {
        *share = row_loss(&losses[blockIdx.x], others, all, own, gradient ? *grad_scale : 0.0f);
    }
    __syncthreads();
    if (!gradient) {
        return;
    }
    row_factors f = *share;
    for (int64_t at = (int64_t)threadIdx.x * GROUP; at < n; at += BLOCK * GROUP) {
        float4 v = load_group(row, at, n, aligned);
        v.x      = at == target ? f.own : expf(v.x - f.max) * f.factor;
        v.y      = at + 1 == target ? f.own : expf(v.y - f.max) * f.factor;
        v.z      = at + 2 == target ? f.own : expf(v.z - f.max) * f.factor;
        v.w      = at + 3 == target ? f.own : expf(v.w - f.max) * f.factor;
        store_group(row, at, n, aligned, v);
    }
}

extern "C" cudaError_t launch_cross_entropy(double *losses, float *logits, int64_t stride,
                                            const int32_t *targets, int64_t rows, int64_t columns,
                                            const float *grad_scale, cudaStream_t stream)
{
    if (rows == 0) {
        return cudaSuccess;
    }
    /* Threads that have no element add zeros: fewer of them give the same bits. */
    int threads = columns <= SMALL * GROUP ? SMALL : THREADS;
    auto kernel = threads == SMALL ? cross_entropy_kernel<SMALL> : cross_entropy_kernel<THREADS>;
    return device_launch("cross_entropy", kernel, dim3((unsigned)rows), dim3((unsigned)threads),
                         (size_t)threads / 32 * sizeof(double) + sizeof(row_factors), stream,
                         losses, logits, stride, targets, columns, grad_scale);
}

/* One thread adds, in order; the others fetch what comes next. */
__global__ void __launch_bounds__(THREADS)
    loss_sum_kernel(double *sum, const double *losses, int64_t n, double divisor, double factor)
{
    double *room = (double *)device_shared(); /* [THREADS] */
    double total = 0.0;
    for (int64_t first = 0; first < n; first += THREADS) {
        int64_t at        = first + threadIdx.x;
        room[threadIdx.x] = at < n ? losses[at] : 0.0;
        __syncthreads();
        for (int i = 0; threadIdx.x == 0 && i < THREADS && first + i < n; i++) {
            total += room[i];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        *sum = device_add(*sum, device_mul(total / divisor, factor));
    }
}

extern "C" cudaError_t launch_loss_sum(double *sum, const double *losses, int64_t n, double divisor,
                                       double factor, cudaStream_t stream)
{
    return device_launch("loss_sum", loss_sum_kernel, dim3(1), dim3(THREADS),
                         THREADS * sizeof(double), stream, sum, losses, n, divisor, factor);
}

/* Grows with x, and among equals with a lower index; a NaN is above all numbers. */
static __device__ __forceinline__ uint64_t choice_of(float x, int64_t index)
{
    uint32_t bits  = (uint32_t)__float_as_int(x + 0.0f); /* -0 becomes 0 */
    uint32_t order = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
    order          = x != x ? 0xffffffffu : order;
    return (uint64_t)order << 32 | (0xffffffffu - (uint32_t)index);
}

static __device__ __forceinline__ uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static __device__ __forceinline__ uint64_t warp_choice(uint64_t best)
{
    for (int by = 16; by > 0; by /= 2) {
        best = larger(best, __shfl_xor_sync(FULL_WARP, (unsigned long long)best, by));
    }
    return best;
}

__global__ void __launch_bounds__(THREADS)
    argmax_kernel(int32_t *indices, float *largest, const float *logits, int64_t stride, int64_t n)
{
    uint64_t *room   = (uint64_t *)device_shared(); /* [WARPS] */
    const float *row = logits + blockIdx.x * stride;
    uint64_t best    = 0; /* below that of any element */
    for (int64_t at = threadIdx.x; at < n; at += THREADS) {
        best = larger(best, choice_of(row[at], at));
    }
    best = warp_choice(best);
    if (threadIdx.x % 32 == 0) {
        room[threadIdx.x / 32] = best;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        best = warp_choice(room[threadIdx.x]);
    }
    if (threadIdx.x == 0) {
        uint32_t index      = 0xffffffffu - (uint32_t)best;
        indices[blockIdx.x] = (int32_t)index;
        largest[blockIdx.x] = row[index];
    }
}

extern "C" cudaError_t launch_argmax(int32_t *indices, float *largest, const float *logits,
                                     int64_t stride, int64_t rows, int64_t columns,
                                     cudaStream_t stream)
{
    if (rows == 0) {
        return cudaSuccess;
    }
    return device_launch("argmax", argmax_kernel, dim3((unsigned)rows), dim3(THREADS),
                         WARPS * sizeof(uint64_t), stream, indices, largest, logits, stride,
                         columns);
}
