// SPDX-License-Identifier: Apache-2.0
/* The small products of attention. A CBLAS call packs both factors, which pays from a handful of
 * rows on; below that each key or value is read once, straight from its store. */
#include "small.h"

#include "simd.h"

#include <cblas.h>

enum { FEW_ROWS = 4 };

void small_nt(small_block c, small_block a, small_block b, int64_t m, int64_t n, int64_t k)
{
    if (m > FEW_ROWS) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1.0f, a.data,
                    (int)a.stride, b.data, (int)b.stride, 0.0f, c.data, (int)c.stride);
        return;
    }
    for (int64_t j = 0; j < n; j++) {
        const float *row = b.data + j * b.stride;
        float *to        = c.data + j;
        int64_t i        = 0;
        for (; i + 2 <= m; i += 2) {
            float sum[2];
            simd_dot2(a.data + i * a.stride, a.data + (i + 1) * a.stride, row, k, sum);
            to[i * c.stride]       = sum[0];
            to[(i + 1) * c.stride] = sum[1];
        }
        if (i < m) {
            to[i * c.stride] = simd_dot(a.data + i * a.stride, row, k);
        }
    }
}

/* c [n] += a [k] B [k, n] */
static void row_times_block(float *c, const float *a, small_block b, int64_t n, int64_t k)
{
    int64_t j = 0;
    for (; j + 32 <= n; j += 32) {
        v8 c0 = V8_AT(c + j);
        v8 c1 = V8_AT(c + j + 8);
        v8 c2 = V8_AT(c + j + 16);
        v8 c3 = V8_AT(c + j + 24);
        for (int64_t p = 0; p < k; p++) {
            const float *row = b.data + p * b.stride + j;
            c0 += V8_AT(row) * a[p];
            c1 += V8_AT(row + 8) * a[p];
            c2 += V8_AT(row + 16) * a[p];
            c3 += V8_AT(row + 24) * a[p];
        }
        V8_PUT(c + j, c0);
        V8_PUT(c + j + 8, c1);
        V8_PUT(c + j + 16, c2);
        V8_PUT(c + j + 24, c3);
    }
    for (; j + 8 <= n; j += 8) {
        v8 c0 = V8_AT(c + j);
        for (int64_t p = 0; p < k; p++) {
            c0 += V8_AT(b.data + p * b.stride + j) * a[p];
        }
        V8_PUT(c + j, c0);
    }
    for (; j < n; j++) {
        for (int64_t p = 0; p < k; p++) {
            c[j] += b.data[p * b.stride + j] * a[p];
        }
    }
}

void small_nn_add(small_block c, small_block a, small_block b, int64_t m, int64_t n, int64_t k)
{
    if (m > FEW_ROWS) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1.0f, a.data,
                    (int)a.stride, b.data, (int)b.stride, 1.0f, c.data, (int)c.stride);
        return;
    }
    for (int64_t i = 0; i < m; i++) {
        row_times_block(c.data + i * c.stride, a.data + i * a.stride, b, n, k);
    }
}

void small_tn_add(small_block c, small_block a, small_block b, int64_t m, int64_t n, int64_t k)
{
    if (k > FEW_ROWS) {
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)m, (int)n, (int)k, 1.0f, a.data,
                    (int)a.stride, b.data, (int)b.stride, 1.0f, c.data, (int)c.stride);
        return;
    }
    for (int64_t i = 0; i < m; i++) {
        float *to = c.data + i * c.stride;
        for (int64_t p = 0; p < k; p++) {
            float factor      = a.data[p * a.stride + i];
            const float *from = b.data + p * b.stride;
            for (int64_t j = 0; j < n; j++) {
                to[j] += factor * from[j];
            }
        }
    }
}
