// SPDX-License-Identifier: Apache-2.0
/* Runs CUDA kernels on the CPU, for tests: blocks one after the other, the threads of a block as
 * fibers.
 *
 * The C++ compiler takes this header in place of nvcc's built-ins. A thread runs until it comes to
 * a barrier or a collective. What would hang or be undefined on a device ends the process with a
 * message that names kernel, block and thread; what would race shows when the same kernel runs with
 * its threads and blocks in another order: the environment variable CUDA_HOST_ORDER is 0 (as they
 * come), 1 (backwards), or a seed that shuffles them. */
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#undef __shared__
#undef __global__
#undef __device__
#undef __host__
#undef __forceinline__
#undef __launch_bounds__
#define __shared__ static /* kept for the sake of completeness: the sanitizers do not watch it */
#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

namespace cuda_host
{

constexpr int WARP        = 32;
constexpr size_t MOST     = 64; /* bytes that a lane brings to a collective */
constexpr unsigned NO_BIT = 0xffffffffu;

/* The thread that runs now. */
struct place {
    uint3 thread, block;
    dim3 block_size, grid_size;
    int lane;
};
extern place here;

/* What the lanes of a warp have brought: [WARP] of MOST bytes. */
struct warp_table {
    alignas(64) unsigned char lane[WARP][MOST];
};

struct launch_shape {
    const char *name;
    dim3 grid, block;
    size_t shared_bytes;
};

/* Dynamic shared memory of the running block: NaN at first, and exactly as large as launched. */
void *shared();

/* Waits for all threads of the block; `what` names the barrier in messages. */
void block_barrier(const char *what);

/* Waits for all lanes of the warp, which bring `bytes` each; valid until the lane's next
 * collective.
 */
const warp_table &warp_meet(const char *what, unsigned mask, const void *mine, size_t bytes);

/* The same; the lane that comes last turns the table into one of results. */
const warp_table &warp_compute(const char *what, unsigned mask, const void *mine, size_t bytes,
                               void (*compute)(const warp_table &in, warp_table &out));

/* 16 bytes to shared memory, `valid` of them (0 … 16) from global memory, the rest zero. They
 * arrive when their group is waited for, and are NaN until then. */
void async_copy(void *to, const void *from, int valid);
void async_commit();
void async_wait(int groups_left);

/* Eight rows of 16 bytes a matrix: lane l brings the address of row l % 8 of matrix l / 8. */
void load_matrices(uint32_t r[4], const void *row, bool transposed);

/* D [16, 8] += A [16, 16] B [16, 8] from and to the fragments of a warp. */
void tile_product(float d[4], const uint32_t a[4], const uint32_t b[2]);

/* Checks what a device checks at the launch, and queues the kernel on its stream: see
 * fake_cuda.cpp. */
cudaError_t launch(const launch_shape &shape, cudaStream_t stream, std::function<void()> thread);

/* Runs a kernel to its end. */
void run_grid(const launch_shape &shape, const std::function<void()> &thread);

template <typename T> T warp_value(const char *what, unsigned mask, T mine, int from)
{
    static_assert(sizeof(T) <= MOST, "a lane brings too much");
    T value;

    std::memcpy(&value, warp_meet(what, mask, &mine, sizeof mine).lane[from % WARP], sizeof value);
    return value;
}

template <typename To, typename From> To bits_as(From from)
{
    static_assert(sizeof(To) == sizeof(From), "bits of another size");
    To to;

    std::memcpy(&to, &from, sizeof to);
    return to;
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

static inline void __syncwarp(unsigned mask = cuda_host::NO_BIT)
{
    unsigned char nothing = 0;

    (void)cuda_host::warp_meet("__syncwarp", mask, &nothing, sizeof nothing);
}

template <typename T> static inline T __shfl_sync(unsigned mask, T v, int from)
{
    return cuda_host::warp_value("__shfl_sync", mask, v, from);
}

template <typename T> static inline T __shfl_xor_sync(unsigned mask, T v, int by)
{
    return cuda_host::warp_value("__shfl_xor_sync", mask, v, cuda_host::here.lane ^ by);
}

template <typename T> static inline T __shfl_down_sync(unsigned mask, T v, unsigned by)
{
    int lane = cuda_host::here.lane;
    int from = lane + static_cast<int>(by);

    return cuda_host::warp_value("__shfl_down_sync", mask, v, from < 32 ? from : lane);
}

template <typename T> static inline T __shfl_up_sync(unsigned mask, T v, unsigned by)
{
    int lane = cuda_host::here.lane;
    int from = lane - static_cast<int>(by);

    return cuda_host::warp_value("__shfl_up_sync", mask, v, from >= 0 ? from : lane);
}

static inline unsigned __ballot_sync(unsigned mask, int predicate)
{
    unsigned char mine = predicate != 0;
    const cuda_host::warp_table &all =
        cuda_host::warp_meet("__ballot_sync", mask, &mine, sizeof mine);
    unsigned bits = 0;

    for (int i = 0; i < 32; i++) {
        bits |= static_cast<unsigned>(all.lane[i][0]) << i;
    }
    return bits;
}

static inline int __any_sync(unsigned mask, int predicate)
{
    return __ballot_sync(mask, predicate) != 0;
}

static inline int __all_sync(unsigned mask, int predicate)
{
    return __ballot_sync(mask, predicate) == cuda_host::NO_BIT;
}

template <typename T> static inline T __ldg(const T *p)
{
    return *p;
}

static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}

static inline float __int_as_float(int x)
{
    return cuda_host::bits_as<float>(x);
}

static inline int __float_as_int(float x)
{
    return cuda_host::bits_as<int>(x);
}

static inline float __uint_as_float(unsigned x)
{
    return cuda_host::bits_as<float>(x);
}

static inline unsigned __float_as_uint(float x)
{
    return cuda_host::bits_as<unsigned>(x);
}

static inline double __longlong_as_double(long long x)
{
    return cuda_host::bits_as<double>(x);
}

static inline long long __double_as_longlong(double x)
{
    return cuda_host::bits_as<long long>(x);
}

static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}

static inline int __clz(int x)
{
    return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x));
}

static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}

/* Rounded one by one on a device: nvcc makes no fused multiply-add of them. */
#define CUDA_HOST_ROUNDED(type, prefix)               \
    static inline type prefix##add_rn(type a, type b) \
    {                                                 \
        return a + b;                                 \
    }                                                 \
    static inline type prefix##sub_rn(type a, type b) \
    {                                                 \
        return a - b;                                 \
    }                                                 \
    static inline type prefix##mul_rn(type a, type b) \
    {                                                 \
        return a * b;                                 \
    }                                                 \
    static inline type prefix##div_rn(type a, type b) \
    {                                                 \
        return a / b;                                 \
    }                                                 \
    static inline type prefix##sqrt_rn(type a)        \
    {                                                 \
        return std::sqrt(a);                          \
    }
CUDA_HOST_ROUNDED(float, __f)
CUDA_HOST_ROUNDED(double, __d)

static inline float __fmaf_rn(float a, float b, float c)
{
    return std::fma(a, b, c);
}

/* CUDA has these for all arithmetic types, beside those of the C library. */
#define CUDA_HOST_CHOICE(type)             \
    static inline type min(type a, type b) \
    {                                      \
        return b < a ? b : a;              \
    }                                      \
    static inline type max(type a, type b) \
    {                                      \
        return a < b ? b : a;              \
    }
CUDA_HOST_CHOICE(int)
CUDA_HOST_CHOICE(unsigned)
CUDA_HOST_CHOICE(long)
CUDA_HOST_CHOICE(unsigned long)
CUDA_HOST_CHOICE(long long)
CUDA_HOST_CHOICE(unsigned long long)

/* Integers only: a sum of floats depends on the order of its terms. */
#define CUDA_HOST_ATOMICS(type)                            \
    static inline type atomicAdd(type *p, type v)          \
    {                                                      \
        type old = *p;                                     \
        *p       = old + v;                                \
        return old;                                        \
    }                                                      \
    static inline type atomicMin(type *p, type v)          \
    {                                                      \
        type old = *p;                                     \
        *p       = min(old, v);                            \
        return old;                                        \
    }                                                      \
    static inline type atomicMax(type *p, type v)          \
    {                                                      \
        type old = *p;                                     \
        *p       = max(old, v);                            \
        return old;                                        \
    }                                                      \
    static inline type atomicExch(type *p, type v)         \
    {                                                      \
        type old = *p;                                     \
        *p       = v;                                      \
        return old;                                        \
    }                                                      \
    static inline type atomicCAS(type *p, type is, type v) \
    {                                                      \
        type old = *p;                                     \
        *p       = old == is ? v : old;                    \
        return old;                                        \
    }
CUDA_HOST_ATOMICS(int)
CUDA_HOST_ATOMICS(unsigned)
CUDA_HOST_ATOMICS(unsigned long long)
float atomicAdd(float *p, float v)    = delete;
double atomicAdd(double *p, double v) = delete;

static inline void __threadfence()
{
}
