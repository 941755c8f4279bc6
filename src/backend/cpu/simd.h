// SPDX-License-Identifier: Apache-2.0
/* Short vectors for sums, and an exponential that compilers vectorise.
 *
 * Sums run in 32 lanes, which are added in a fixed tree: the same bits with every compiler and
 * instruction set that rounds products (see -ffp-contract=off), and an error that grows with n / 32
 * only. */
#pragma once

#include <stdint.h>
#include <string.h>

typedef float v8 __attribute__((vector_size(32)));
/* The same in memory that is aligned to floats only. */
typedef float v8u __attribute__((vector_size(32), aligned(4), may_alias));

#define V8_AT(p)         (*(const v8u *)(p))
#define V8_PUT(p, value) (*(v8u *)(p) = (value))

static inline float v8_sum(const v8 *x)
{
    const v8 v = *x;
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

/* sum of x · y */
static inline float simd_dot(const float *x, const float *y, int64_t n)
{
    v8 a0     = {0};
    v8 a1     = {0};
    v8 a2     = {0};
    v8 a3     = {0};
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        a0 += V8_AT(x + i) * V8_AT(y + i);
        a1 += V8_AT(x + i + 8) * V8_AT(y + i + 8);
        a2 += V8_AT(x + i + 16) * V8_AT(y + i + 16);
        a3 += V8_AT(x + i + 24) * V8_AT(y + i + 24);
    }
    for (; i + 8 <= n; i += 8) {
        a0 += V8_AT(x + i) * V8_AT(y + i);
    }
    a0 += a1;
    a2 += a3;
    a0 += a2;
    float sum = v8_sum(&a0);
    for (; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

/* Two dot products with one y, which is loaded once; each has the bits of simd_dot. */
static inline void simd_dot2(const float *x0, const float *x1, const float *y, int64_t n,
                             float sum[2])
{
    v8 a[4]   = {{0}};
    v8 b[4]   = {{0}};
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const v8 y0 = V8_AT(y + i);
        const v8 y1 = V8_AT(y + i + 8);
        const v8 y2 = V8_AT(y + i + 16);
        const v8 y3 = V8_AT(y + i + 24);
        a[0] += V8_AT(x0 + i) * y0;
        a[1] += V8_AT(x0 + i + 8) * y1;
        a[2] += V8_AT(x0 + i + 16) * y2;
        a[3] += V8_AT(x0 + i + 24) * y3;
        b[0] += V8_AT(x1 + i) * y0;
        b[1] += V8_AT(x1 + i + 8) * y1;
        b[2] += V8_AT(x1 + i + 16) * y2;
        b[3] += V8_AT(x1 + i + 24) * y3;
    }
    for (; i + 8 <= n; i += 8) {
        a[0] += V8_AT(x0 + i) * V8_AT(y + i);
        b[0] += V8_AT(x1 + i) * V8_AT(y + i);
    }
    a[0]   = (a[0] + a[1]) + (a[2] + a[3]);
    b[0]   = (b[0] + b[1]) + (b[2] + b[3]);
    sum[0] = v8_sum(&a[0]);
    sum[1] = v8_sum(&b[0]);
    for (; i < n; i++) {
        sum[0] += x0[i] * y[i];
        sum[1] += x1[i] * y[i];
    }
}

static inline float simd_sum(const float *x, int64_t n)
{
    v8 a0     = {0};
    v8 a1     = {0};
    v8 a2     = {0};
    v8 a3     = {0};
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        a0 += V8_AT(x + i);
        a1 += V8_AT(x + i + 8);
        a2 += V8_AT(x + i + 16);
        a3 += V8_AT(x + i + 24);
    }
    a0 += a1;
    a2 += a3;
    a0 += a2;
    float sum = v8_sum(&a0);
    for (; i < n; i++) {
        sum += x[i];
    }
    return sum;
}

/* The largest element; -infinity when there is none. A NaN is passed over: what is computed from it
 * afterwards is NaN anyway. */
static inline float simd_max(const float *x, int64_t n)
{
    enum { LANES = 32 };
    float lane[LANES];
    for (int l = 0; l < LANES; l++) {
        lane[l] = -__builtin_inff();
    }
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
        }
    }
    float max = -__builtin_inff();
    for (; i < n; i++) {
        max = x[i] > max ? x[i] : max;
    }
    for (int l = 0; l < LANES; l++) {
        max = lane[l] > max ? lane[l] : max;
    }
    return max;
}

static inline float simd_bits_to_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t simd_float_to_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* e^x, error below 1.5 units in the last place, subnormal results included; 0 below -104, infinity
 * above 88.73, NaN for NaN. x = n ln 2 + r with |r| ≤ ln 2 / 2; e^r by its series up to r^7 / 7!,
 * whose remainder is 0.1 units; 2^n in two factors, since n goes from -151 to 129. */
static inline float simd_exp(float x)
{
    const float magic = 12582912.0f; /* 1.5 · 2^23: adding it rounds to an integer */
    x                 = x < -105.0f ? -105.0f : x;
    x                 = x > 89.0f ? 89.0f : x;
    float shifted     = x * 1.44269504f + magic;
    float n           = shifted - magic;
    int32_t whole     = (int32_t)(simd_float_to_bits(shifted) - simd_float_to_bits(magic));
    /* ln 2 in two parts, the first with 15 bits, so that n times it is exact. */
    float r = (x - n * 0.693145751953125f) - n * 1.42860682030941723e-6f;
    float p = 1.0f / 5040;
    p       = p * r + 1.0f / 720;
    p       = p * r + 1.0f / 120;
    p       = p * r + 1.0f / 24;
    p       = p * r + 1.0f / 6;
    p       = p * r + 0.5f;
    p       = (p * r) * r + r + 1.0f;
    /* For NaN `whole` is arbitrary; unsigned arithmetic keeps it defined. */
    int32_t half = whole >> 1;
    float low    = simd_bits_to_float((uint32_t)(half + 127) << 23);
    float high   = simd_bits_to_float((uint32_t)(whole - half + 127) << 23);
    return p * low * high;
}
