// SPDX-License-Identifier: Apache-2.0
#include "launch.h"

#include "fake_cuda.h"

#include "pb/linear.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t pass_number = 5;
static const pb_mask draws        = {
           .seed = UINT64_C(0x123456789abcdef0), .stride = 700, .salt = UINT64_C(1) << 40};

static void wait_for_all(void)
{
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
}

/* Through pinned memory, which asynchronous copies want. */
static void move(void *to, const void *from, size_t bytes, bool up)
{
    void *pinned = NULL;
    assert_int_equal(cudaHostAlloc(&pinned, bytes + 1, 0), cudaSuccess);
    if (up) {
        memcpy(pinned, from, bytes);
        assert_int_equal(cudaMemcpyAsync(to, pinned, bytes, cudaMemcpyHostToDevice, NULL),
                         cudaSuccess);
    } else {
        assert_int_equal(cudaMemcpyAsync(pinned, from, bytes, cudaMemcpyDeviceToHost, NULL),
                         cudaSuccess);
    }
    wait_for_all();
    if (!up) {
        memcpy(to, pinned, bytes);
    }
    assert_int_equal(cudaFreeHost(pinned), cudaSuccess);
}

void *device_new(const void *host, size_t bytes)
{
    void *data = NULL;
    assert_int_equal(cudaMalloc(&data, bytes + 16), cudaSuccess);
    if (host != NULL) {
        device_write(data, host, bytes);
    } else {
        assert_int_equal(cudaMemsetAsync(data, 0, bytes, NULL), cudaSuccess);
        wait_for_all();
    }
    return data;
}

void device_read(void *host, const void *device, size_t bytes)
{
    move(host, device, bytes, false);
}

void device_write(void *device, const void *host, size_t bytes)
{
    move(device, host, bytes, true);
}

void device_free(void *device)
{
    assert_int_equal(cudaFree(device), cudaSuccess);
}

void *device_elements(float *values, int64_t n, enum element element)
{
    if (element == ELEMENT_F32) {
        return device_new(values, (size_t)n * sizeof *values);
    }
    uint16_t *bits = calloc((size_t)n + 1, sizeof *bits);
    assert_non_null(bits);
    for (int64_t i = 0; i < n; i++) {
        if (element == ELEMENT_BF16) {
            bits[i]   = pb_f32_to_bf16(values[i]);
            values[i] = pb_bf16_to_f32(bits[i]);
        } else { /* any F16 whose exponent is not that of infinity */
            bits[i]   = (uint16_t)((unsigned)(values[i] * 1000.0f) & 0xbbffu);
            values[i] = pb_f16_to_f32(bits[i]);
        }
    }
    void *data = device_new(bits, (size_t)n * sizeof *bits);
    free(bits);
    return data;
}

void device_floats(float *values, const void *device, int64_t n, enum element element)
{
    if (element == ELEMENT_F32) {
        device_read(values, device, (size_t)n * sizeof *values);
        return;
    }
    uint16_t *bits = calloc((size_t)n + 1, sizeof *bits);
    assert_non_null(bits);
    device_read(bits, device, (size_t)n * sizeof *bits);
    pb_floats_to_f32(values, bits, element == ELEMENT_BF16 ? PB_DTYPE_BF16 : PB_DTYPE_F16, n);
    free(bits);
}

drop_mask device_mask(double p)
{
    static const uint64_t *pass; /* stays to the end */
    pass = pass != NULL ? pass : device_new(&pass_number, sizeof pass_number);
    return (drop_mask){.pass      = pass,
                       .seed      = draws.seed,
                       .stride    = draws.stride,
                       .salt      = draws.salt,
                       .threshold = (uint32_t)ceil(p * 0x1p32),
                       .factor    = (float)(1.0 / (1.0 - p))};
}

pb_random device_stream(void)
{
    return pb_random_stream(draws.seed, PB_RANDOM_DROPOUT, pass_number * draws.stride + draws.salt);
}

void random_floats(float *values, int64_t n, float range, unsigned seed)
{
    for (int64_t i = 0; i < n; i++) {
        seed      = seed * 1664525u + 1013904223u;
        values[i] = range * ((float)(seed >> 8) / 8388608.0f - 1.0f);
    }
}

void in_all_orders(void (*run)(const void *context, void *result), const void *context,
                   void *result, size_t bytes)
{
    static const unsigned orders[] = {1, 17};
    void *other                    = calloc(1, bytes + 1);
    assert_non_null(other);
    cuda_host_order(0);
    run(context, result);
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        cuda_host_order(orders[i]);
        run(context, other);
        assert_memory_equal(result, other, bytes);
    }
    cuda_host_order(0);
    free(other);
}
