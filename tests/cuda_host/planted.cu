// SPDX-License-Identifier: Apache-2.0
/* Faults that a device would hide, or answer with a hang. */
#include "planted.h"

#include "device.cuh"

static __device__ float *block_of(float *y)
{
    return y + blockIdx.x * blockDim.x;
}

static __device__ const float *block_of(const float *x)
{
    return x + blockIdx.x * blockDim.x;
}

template <int BARRIER> __global__ void reverse_kernel(float *y, const float *x)
{
    float *room   = (float *)device_shared();
    unsigned last = (BARRIER == 1 ? 32 : blockDim.x) - 1;
    unsigned from = threadIdx.x / (last + 1) * (last + 1) + last - threadIdx.x % (last + 1);

    room[threadIdx.x] = block_of(x)[threadIdx.x];
    if (BARRIER == 2) {
        __syncthreads();
    }
    block_of(y)[threadIdx.x] = room[from];
}

__global__ void block_order_kernel(float *y, const float *x)
{
    if (threadIdx.x == 0) {
        y[0] = 2.0f * y[0] + x[blockIdx.x + 1];
    }
}

__global__ void early_return_kernel(float *y, const float *x)
{
    if (threadIdx.x >= 40) {
        return;
    }
    __syncthreads();
    block_of(y)[threadIdx.x] = x[0];
}

__global__ void lane_return_kernel(float *y, const float *x)
{
    if (threadIdx.x % 32 >= 20) {
        return;
    }
    block_of(y)[threadIdx.x] = __shfl_xor_sync(FULL_WARP, x[0], 1);
}

__global__ void two_collectives_kernel(float *y, const float *x)
{
    float v;

    if (threadIdx.x % 32 < 16) {
        v = __shfl_xor_sync(FULL_WARP, x[0], 1);
    } else {
        v = (float)__ballot_sync(FULL_WARP, 1);
    }
    block_of(y)[threadIdx.x] = v;
}

__global__ void barrier_shuffle_kernel(float *y, const float *x)
{
    float v = 0.0f;

    if (threadIdx.x % 32 < 16) {
        v = __shfl_xor_sync(FULL_WARP, x[0], 1);
    } else {
        __syncthreads();
    }
    block_of(y)[threadIdx.x] = v;
}

__global__ void half_mask_kernel(float *y, const float *x)
{
    float v = x[0];

    if (threadIdx.x % 32 < 16) {
        v = __shfl_xor_sync(0xffffu, v, 1);
    }
    block_of(y)[threadIdx.x] = v;
}

template <bool WAITS> __global__ void copy_kernel(float *y, const float *x)
{
    float *room = (float *)device_shared();

    device_copy_async(room + 4 * threadIdx.x, x + 4 * (threadIdx.x % 16), 16);
    device_copy_commit();
    block_of(y)[threadIdx.x] = room[4 * threadIdx.x];
    if (WAITS) {
        device_copy_wait<0>();
    }
}

__global__ void shared_overrun_kernel(float *y, const float *x)
{
    float *room = (float *)device_shared();

    room[threadIdx.x + 1] = x[threadIdx.x];
    __syncthreads();
    block_of(y)[threadIdx.x] = room[threadIdx.x];
}

__global__ void shared_unwritten_kernel(float *y, const float *x)
{
    float *room = (float *)device_shared();

    if (threadIdx.x != 7) {
        room[threadIdx.x] = x[threadIdx.x];
    }
    __syncthreads();
    block_of(y)[threadIdx.x] = room[threadIdx.x];
}

__global__ void global_overrun_kernel(float *y, const float *x)
{
    block_of(y)[threadIdx.x + 1] = block_of(x)[threadIdx.x];
}

__global__ void misaligned_kernel(float *y, const float *x)
{
    float4 v = *(const float4 *)(x + threadIdx.x);

    block_of(y)[threadIdx.x] = v.x;
}

__global__ void misaligned_copy_kernel(float *y, const float *x)
{
    float *room = (float *)device_shared();

    device_copy_async(room + 4 * threadIdx.x, x + threadIdx.x, 16);
    device_copy_commit();
    device_copy_wait<0>();
    block_of(y)[threadIdx.x] = room[4 * threadIdx.x];
}

__global__ void misaligned_row_kernel(float *y, const float *x)
{
    float *room = (float *)device_shared();
    uint32_t r[4];

    room[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    device_load_matrix(r, room + 1);
    block_of(y)[threadIdx.x] = (float)r[0];
}

__global__ void deep_stack_kernel(float *y, const float *x)
{
    volatile float own[75000];

    for (int i = 0; i < 75000; i++) {
        own[74999 - i] = x[0];
    }
    block_of(y)[threadIdx.x] = own[threadIdx.x];
}

typedef void (*kernel)(float *, const float *);

static kernel kernel_of(enum planted which)
{
    switch (which) {
    case PLANTED_NO_BARRIER:
        return reverse_kernel<0>;
    case PLANTED_NO_WARP_BARRIER:
        return reverse_kernel<1>;
    case PLANTED_BLOCK_ORDER:
        return block_order_kernel;
    case PLANTED_EARLY_RETURN:
        return early_return_kernel;
    case PLANTED_LANE_RETURN:
        return lane_return_kernel;
    case PLANTED_TWO_COLLECTIVES:
        return two_collectives_kernel;
    case PLANTED_BARRIER_SHUFFLE:
        return barrier_shuffle_kernel;
    case PLANTED_HALF_MASK:
        return half_mask_kernel;
    case PLANTED_NO_COPY_WAIT:
        return copy_kernel<true>;
    case PLANTED_COPY_LEFT:
        return copy_kernel<false>;
    case PLANTED_SHARED_OVERRUN:
        return shared_overrun_kernel;
    case PLANTED_SHARED_UNWRITTEN:
        return shared_unwritten_kernel;
    case PLANTED_GLOBAL_OVERRUN:
        return global_overrun_kernel;
    case PLANTED_MISALIGNED:
        return misaligned_kernel;
    case PLANTED_MISALIGNED_COPY:
        return misaligned_copy_kernel;
    case PLANTED_MISALIGNED_ROW:
        return misaligned_row_kernel;
    case PLANTED_DEEP_STACK:
        return deep_stack_kernel;
    default:
        return reverse_kernel<2>;
    }
}

extern "C" cudaError_t launch_planted(enum planted which, float *y, const float *x,
                                      cudaStream_t stream)
{
    bool copies = which == PLANTED_NO_COPY_WAIT || which == PLANTED_COPY_LEFT ||
                  which == PLANTED_MISALIGNED_COPY;
    size_t shared = PLANTED_THREADS * sizeof(float) * (copies ? 4 : 1);

    return device_launch("planted", kernel_of(which), dim3(PLANTED_BLOCKS), dim3(PLANTED_THREADS),
                         shared, stream, y, x);
}
