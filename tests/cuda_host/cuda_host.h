// SPDX-License-Identifier: Apache-2.0
/* Runs CUDA kernels on the CPU: blocks one after the other, the threads of a block as fibers.
 *
 * For tests only. A .cu file is compiled by the host's C++ compiler with this header in place of
 * nvcc's built-ins. Whole warps only: collectives take all 32 lanes. What would hang or race on a
 * device is reported (a barrier that not all threads reach, lanes at different collectives) or
 * shown by running the same kernel with the threads and blocks in another order. */
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>
#include <utility>

#undef __shared__
#define __shared__ static thread_local
#undef __global__
#define __global__ static
#undef __device__
#define __device__
#undef __forceinline__
#define __forceinline__ inline
#undef __launch_bounds__
#define __launch_bounds__(...)
#define __restrict__ __restrict

namespace cuda_host
{

/* The thread that runs now. */
struct place {
    uint3 thread, block;
    dim3 block_size, grid_size;
    int lane, warp;
};
extern thread_local place here;

/* Dynamic shared memory of the running block. */
void *shared();

/* All threads of the block; `what` names the barrier in messages. */
void block_barrier(const char *what);

/* All lanes of the warp put `bytes` (at most 64) into the table that is returned: [32] of 64 bytes.
 */
const unsigned char *warp_meet(const char *what, const void *mine, size_t bytes);

/* Copies that are made when the group that they belong to is waited for. */
void async_copy(void *to, const void *from, int bytes, int valid);
void async_commit();
void async_wait(int groups_left);

/* Runs it now, or when its stream is waited for, or puts it into the graph that is captured. */
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);

struct launch_shape {
    dim3 grid, block;
    size_t shared_bytes;
    const char *name;
};
void run_grid(const launch_shape &shape, const std::function<void()> &thread);

template <typename T> T warp_value(const char *what, T mine, int from)
{
    const unsigned char *all = warp_meet(what, &mine, sizeof mine);
    T value;
    std::memcpy(&value, all + 64 * (from & 31), sizeof value);
    return value;
}

} // namespace cuda_host

#define threadIdx (cuda_host::here.thread)
#define blockIdx  (cuda_host::here.block)
#define blockDim  (cuda_host::here.block_size)
#define gridDim   (cuda_host::here.grid_size)
#define warpSize  32

static inline void __syncthreads()
{
    cuda_host::block_barrier("__syncthreads");
}
static inline void __syncwarp(unsigned = 0xffffffffu)
{
    char c = 0;
    cuda_host::warp_meet("__syncwarp", &c, 1);
}

template <typename T> static inline T __shfl_xor_sync(unsigned, T v, int mask)
{
    return cuda_host::warp_value("__shfl_xor_sync", v, cuda_host::here.lane ^ mask);
}
template <typename T> static inline T __shfl_sync(unsigned, T v, int from)
{
    return cuda_host::warp_value("__shfl_sync", v, from);
}
template <typename T> static inline T __shfl_down_sync(unsigned, T v, unsigned by)
{
    int from = cuda_host::here.lane + (int)by;
    return cuda_host::warp_value("__shfl_down_sync", v, from < 32 ? from : cuda_host::here.lane);
}
static inline unsigned __ballot_sync(unsigned, int predicate)
{
    unsigned char mine       = predicate != 0;
    const unsigned char *all = cuda_host::warp_meet("__ballot_sync", &mine, 1);
    unsigned bits            = 0;
    for (int i = 0; i < 32; i++) {
        bits |= (unsigned)all[64 * i] << i;
    }
    return bits;
}
static inline int __any_sync(unsigned m, int p)
{
    return __ballot_sync(m, p) != 0;
}
static inline int __all_sync(unsigned m, int p)
{
    return __ballot_sync(m, p) == 0xffffffffu;
}

template <typename T> static inline T __ldg(const T *p)
{
    return *p;
}
static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)(((uint64_t)a * b) >> 32);
}
static inline float __int_as_float(int x)
{
    float f;
    std::memcpy(&f, &x, 4);
    return f;
}
static inline int __float_as_int(float f)
{
    int x;
    std::memcpy(&x, &f, 4);
    return x;
}

/* Integers only: sums of floats by atomics depend on the order, so there are none. */
static inline unsigned atomicAdd(unsigned *p, unsigned v)
{
    unsigned old = *p;
    *p += v;
    return old;
}
static inline int atomicAdd(int *p, int v)
{
    int old = *p;
    *p += v;
    return old;
}
static inline int atomicMin(int *p, int v)
{
    int old = *p;
    *p      = v < old ? v : old;
    return old;
}
static inline int atomicMax(int *p, int v)
{
    int old = *p;
    *p      = v > old ? v : old;
    return old;
}
static inline void __threadfence()
{
}
