// SPDX-License-Identifier: Apache-2.0
/* What kernels are written with: launch, shared memory, asynchronous copies, the tensor cores, and
 * sums in a fixed order. The only file that differs between nvcc and the CPU of the tests. */
#pragma once

#include "kernels.h"

#include <cuda_runtime_api.h>
#include <stdint.h>

/* Bytes of shared memory that a block may have on every device; others refuse larger requests. */
enum { DEVICE_SHARED_ANY = 48 << 10 };

/* The last launch of this thread that a device refused for its shared memory. */
inline thread_local refused_launch device_refused = {};

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define FULL_WARP 0xffffffffu
#define UNROLL    _Pragma("unroll")

static __device__ __forceinline__ float device_rsqrt(float x)
{
    return rsqrtf(x);
}
/* 2^x: one instruction, error below 2 units in the last place; 0 for -infinity. */
static __device__ __forceinline__ float device_exp2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Products and sums that are rounded each, as the CPU does: never one fused operation. */
static __device__ __forceinline__ float device_mul(float a, float b)
{
    return __fmul_rn(a, b);
}
static __device__ __forceinline__ double device_mul(double a, double b)
{
    return __dmul_rn(a, b);
}
static __device__ __forceinline__ float device_add(float a, float b)
{
    return __fadd_rn(a, b);
}
static __device__ __forceinline__ double device_add(double a, double b)
{
    return __dadd_rn(a, b);
}

/* 1 / x: one instruction, error of one unit in the last place; 0 for infinity. */
static __device__ __forceinline__ float device_reciprocal(float x)
{
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Dynamic shared memory of the block. */
static __device__ __forceinline__ unsigned char *device_shared(void)
{
    extern __shared__ __align__(128) unsigned char device_shared_memory[];
    return device_shared_memory;
}

static __device__ __forceinline__ uint32_t device_shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* 16 bytes at once, which both sides are aligned to. */
static __device__ __forceinline__ void device_copy_16(void *to, const void *from)
{
    *(uint4 *)to = *(const uint4 *)from;
}

/* 16 bytes from global to shared memory, `valid` of them (0 or 16), the rest zero. */
static __device__ __forceinline__ void device_copy_async(void *to, const void *from, int valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(device_shared_address(to)),
                 "l"(from), "r"(valid));
}
static __device__ __forceinline__ void device_copy_commit(void)
{
    asm volatile("cp.async.commit_group;\n");
}
template <int LEFT> static __device__ __forceinline__ void device_copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;\n" ::"n"(LEFT));
}

/* Four 8x8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix l / 8. */
static __device__ __forceinline__ void device_load_matrix(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(device_shared_address(row)));
}
static __device__ __forceinline__ void device_load_matrix_transposed(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(device_shared_address(row)));
}

/* D [16, 8] += A [16, 16] B [16, 8], bf16 factors, F32 sums. */
static __device__ __forceinline__ void device_mma(float d[4], const uint32_t a[4],
                                                  const uint32_t b[2])
{
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <typename... P, typename... A>
static inline cudaError_t device_launch(const char *name, void (*kernel)(P...), dim3 grid,
                                        dim3 block, size_t shared, cudaStream_t stream, A... args)
{
    if (shared > DEVICE_SHARED_ANY) {
        cudaError_t e = cudaFuncSetAttribute(
            (const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
        if (e != cudaSuccess) {
            device_refused = {name, shared};
            return e;
        }
    }
    kernel<<<grid, block, shared, stream>>>(static_cast<P>(args)...);
    return cudaGetLastError();
}

#else
#include <cuda_host.h>

#define FULL_WARP 0xffffffffu
#define UNROLL

static inline float device_rsqrt(float x)
{
    return 1.0f / sqrtf(x);
}
static inline float device_exp2(float x)
{
    return exp2f(x);
}
static inline float device_reciprocal(float x)
{
    return 1.0f / x;
}

static inline float device_mul(float a, float b)
{
    return a * b;
}
static inline double device_mul(double a, double b)
{
    return a * b;
}
static inline float device_add(float a, float b)
{
    return a + b;
}
static inline double device_add(double a, double b)
{
    return a + b;
}

static inline unsigned char *device_shared(void)
{
    return (unsigned char *)cuda_host::shared();
}
static inline void device_copy_16(void *to, const void *from)
{
    typedef unsigned __int128 __attribute__((may_alias)) any_16;
    *(any_16 *)to = *(const any_16 *)from;
}
static inline void device_copy_async(void *to, const void *from, int valid)
{
    cuda_host::async_copy(to, from, valid);
}
static inline void device_copy_commit(void)
{
    cuda_host::async_commit();
}
template <int LEFT> static inline void device_copy_wait(void)
{
    cuda_host::async_wait(LEFT);
}

static inline void device_load_matrix(uint32_t r[4], const void *row)
{
    cuda_host::load_matrices(r, row, false);
}
static inline void device_load_matrix_transposed(uint32_t r[4], const void *row)
{
    cuda_host::load_matrices(r, row, true);
}
static inline void device_mma(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    cuda_host::tile_product(d, a, b);
}

template <typename... P, typename... A>
static inline cudaError_t device_launch(const char *name, void (*kernel)(P...), dim3 grid,
                                        dim3 block, size_t shared, cudaStream_t stream, A... args)
{
    cuda_host::launch_shape shape = {name, grid, block, shared};
    cudaError_t e = cuda_host::launch(shape, stream, [=] { kernel(static_cast<P>(args)...); });
    if (e == cudaErrorInvalidValue && shared > DEVICE_SHARED_ANY) {
        device_refused = {name, shared};
    }
    return e;
}
#endif

/* An element as a float, and a float as the nearest element. */
static __device__ __forceinline__ float device_float(float v)
{
    return v;
}
static __device__ __forceinline__ float device_float(__nv_bfloat16 v)
{
    return __bfloat162float(v);
}
static __device__ __forceinline__ float device_float(__half v)
{
    return __half2float(v);
}
static __device__ __forceinline__ void device_put(float *to, float v)
{
    *to = v;
}
static __device__ __forceinline__ void device_put(__nv_bfloat16 *to, float v)
{
    *to = __float2bfloat16_rn(v);
}

/* The sum over a warp, the same in all lanes: a fixed tree. T: float or double. */
template <typename T> static __device__ __forceinline__ T device_warp_sum(T v)
{
    for (int by = 16; by > 0; by /= 2) {
        v += __shfl_xor_sync(FULL_WARP, v, by);
    }
    return v;
}
static __device__ __forceinline__ float device_warp_max(float v)
{
    for (int by = 16; by > 0; by /= 2) {
        v = fmaxf(v, __shfl_xor_sync(FULL_WARP, v, by));
    }
    return v;
}

/* The sum over a block of WARPS warps; `room` [WARPS] of shared memory, free again on return. */
template <int WARPS, typename T> static __device__ __forceinline__ T device_block_sum(T v, T *room)
{
    v = device_warp_sum(v);
    if (threadIdx.x % 32 == 0) {
        room[threadIdx.x / 32] = v;
    }
    __syncthreads();
    v = 0;
    for (int w = 0; w < WARPS; w++) {
        v += room[w];
    }
    __syncthreads();
    return v;
}

static __device__ __forceinline__ uint32_t device_pair(float low, float high)
{
    __nv_bfloat162 p = __floats2bfloat162_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &p, sizeof bits);
    return bits;
}
