// SPDX-License-Identifier: Apache-2.0
/* Shapes, views and the conversion of 16-bit floats.
 *
 * A view owns nothing; row and column slices share the memory of their source. Only dimension 0 may
 * be strided, so every operation works on rows of contiguous elements. */
#include "pb/tensor.h"

#ifdef __F16C__
#include <immintrin.h>
#endif

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[PB_DTYPE_COUNT] = {
    [PB_DTYPE_F32] = {"F32", 4}, [PB_DTYPE_BF16] = {"BF16", 2},       [PB_DTYPE_F16] = {"F16", 2},
    [PB_DTYPE_F64] = {"F64", 8}, [PB_DTYPE_F8_E4M3] = {"F8_E4M3", 1}, [PB_DTYPE_I32] = {"I32", 4},
};

static bool dtype_is_valid(pb_dtype dtype)
{
    return (int)dtype >= 0 && dtype < PB_DTYPE_COUNT;
}

size_t pb_dtype_size(pb_dtype dtype)
{
    return dtype_is_valid(dtype) ? dtypes[dtype].size : 0;
}

const char *pb_dtype_name(pb_dtype dtype)
{
    return dtype_is_valid(dtype) ? dtypes[dtype].name : "unknown";
}

pb_tensor pb_tensor_1d(void *data, pb_dtype dtype, int64_t n)
{
    PB_ASSERT(n >= 0);
    return (pb_tensor){.data = data, .dtype = dtype, .ndim = 1, .shape = {n}, .stride = 1};
}

pb_tensor pb_tensor_2d(void *data, pb_dtype dtype, int64_t rows, int64_t columns)
{
    PB_ASSERT(rows >= 0 && columns >= 0);
    return (pb_tensor){
        .data = data, .dtype = dtype, .ndim = 2, .shape = {rows, columns}, .stride = columns};
}

/* The address `elements` after the start; a tensor without memory stays without. */
static void *advance(const pb_tensor *t, int64_t elements)
{
    if (t->data == NULL) {
        return NULL;
    }
    return (unsigned char *)t->data + (size_t)elements * pb_dtype_size(t->dtype);
}

pb_tensor pb_tensor_rows(const pb_tensor *t, int64_t first, int64_t count)
{
    PB_ASSERT(t->ndim >= 1 && first >= 0 && count >= 0 && first <= t->shape[0] - count);
    pb_tensor view = *t;
    view.data      = advance(t, first * t->stride);
    view.shape[0]  = count;
    return view;
}

pb_tensor pb_tensor_columns(const pb_tensor *t, int64_t first, int64_t count)
{
    PB_ASSERT(t->ndim == 2 && first >= 0 && count >= 0 && first <= t->shape[1] - count);
    pb_tensor view = *t;
    view.data      = advance(t, first);
    view.shape[1]  = count;
    view.border    = 0;
    return view;
}

pb_tensor pb_tensor_narrow(const pb_tensor *t, int64_t border)
{
    pb_tensor view = pb_tensor_columns(t, 0, t->shape[1] - border);
    view.border    = border;
    return view;
}

pb_tensor pb_tensor_widen(const pb_tensor *t, int64_t count)
{
    PB_ASSERT(t->ndim == 2 && count >= 0 && count <= t->border);
    pb_tensor view = *t;
    view.shape[1] += count;
    view.border -= count;
    return view;
}

pb_tensor pb_tensor_half(const pb_tensor *room, int which, int64_t count)
{
    return pb_tensor_columns(room, which * (room->shape[1] / 2), count);
}

bool pb_tensor_is_none(const pb_tensor *t)
{
    return t == NULL || t->ndim == 0;
}

int64_t pb_tensor_width(const pb_tensor *t)
{
    int64_t width = 1;
    for (int d = 1; d < t->ndim; d++) {
        width *= t->shape[d];
    }
    return width;
}

int64_t pb_tensor_count(const pb_tensor *t)
{
    return pb_tensor_is_none(t) ? 0 : t->shape[0] * pb_tensor_width(t);
}

size_t pb_tensor_bytes(const pb_tensor *t)
{
    return pb_tensor_is_none(t) ? 0 : (size_t)pb_tensor_count(t) * pb_dtype_size(t->dtype);
}

bool pb_tensor_is_contiguous(const pb_tensor *t)
{
    return pb_tensor_is_none(t) || t->shape[0] <= 1 || t->stride == pb_tensor_width(t);
}

bool pb_tensor_same_shape(const pb_tensor *a, const pb_tensor *b)
{
    if (a->ndim != b->ndim) {
        return false;
    }
    for (int d = 0; d < a->ndim; d++) {
        if (a->shape[d] != b->shape[d]) {
            return false;
        }
    }
    return true;
}

const char *pb_tensor_shape_text(const pb_tensor *t, char *text, size_t size)
{
    if (size == 0) {
        return "";
    }
    size_t used = (size_t)snprintf(text, size, "[");
    for (int d = 0; d < t->ndim && used < size; d++) {
        used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, d > 0 ? ", " : "",
                                 t->shape[d]);
    }
    if (used < size) {
        snprintf(text + used, size - used, "]");
    }
    return text;
}

float pb_bf16_to_f32(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. Every value is exact in F32.
 */
float pb_f16_to_f32(uint16_t x)
{
    uint32_t sign     = (uint32_t)(x & 0x8000u) << 16;
    uint32_t exponent = (x >> 10) & 0x1fu;
    uint32_t fraction = x & 0x3ffu;
    uint32_t bits     = 0;
    if (exponent == 0x1f) {
        bits = sign | 0x7f800000u | (fraction << 13);
    } else if (exponent != 0) {
        bits = sign | ((exponent + 112) << 23) | (fraction << 13);
    } else if (fraction == 0) {
        bits = sign;
    } else {
        /* A subnormal is fraction · 2⁻²⁴: shift until the leading one is the implicit bit. */
        uint32_t shifts = 0;
        while ((fraction & 0x400u) == 0) {
            fraction <<= 1;
            shifts++;
        }
        bits = sign | ((113 - shifts) << 23) | ((fraction & 0x3ffu) << 13);
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint16_t pb_f32_to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        /* The quiet bit keeps a NaN whose payload lies in the dropped half from becoming Inf. */
        return (uint16_t)((bits >> 16) | 0x40u);
    }
    uint32_t odd = (bits >> 16) & 1u;
    return (uint16_t)((bits + 0x7fffu + odd) >> 16);
}

bool pb_dtype_is_float(pb_dtype dtype)
{
    return dtype_is_valid(dtype) && dtype != PB_DTYPE_I32;
}

static void bf16_row(float *dst, const uint16_t *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)src[i] << 16;
        memcpy(&dst[i], &bits, sizeof bits);
    }
}

static void f16_row(float *dst, const uint16_t *src, int64_t n)
{
    int64_t i = 0;
#ifdef __F16C__
    for (; i + 8 <= n; i += 8) {
        __m128i half = _mm_loadu_si128((const __m128i *)(const void *)(src + i));
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(half));
    }
#endif
    for (; i < n; i++) {
        dst[i] = pb_f16_to_f32(src[i]);
    }
}

/* Up to ±448, and NaN; subnormals are fraction · 2⁻⁹. */
static float f8_e4m3_to_f32(uint8_t x)
{
    int exponent = (x >> 3) & 0xf;
    int fraction = x & 0x7;
    float value =
        exponent == 0 ? ldexpf((float)fraction, -9) : ldexpf((float)(8 + fraction), exponent - 10);
    if ((x & 0x7f) == 0x7f) {
        value = NAN;
    }
    return (x & 0x80) != 0 ? -value : value;
}

void pb_floats_to_f32(float *dst, const void *src, pb_dtype dtype, int64_t n)
{
    PB_ASSERT(pb_dtype_is_float(dtype));
    switch (dtype) {
    case PB_DTYPE_BF16:
        bf16_row(dst, src, n);
        break;
    case PB_DTYPE_F16:
        f16_row(dst, src, n);
        break;
    case PB_DTYPE_F64:
        for (int64_t i = 0; i < n; i++) {
            dst[i] = (float)((const double *)src)[i];
        }
        break;
    case PB_DTYPE_F8_E4M3:
        for (int64_t i = 0; i < n; i++) {
            dst[i] = f8_e4m3_to_f32(((const uint8_t *)src)[i]);
        }
        break;
    case PB_DTYPE_F32:
    case PB_DTYPE_I32:
    case PB_DTYPE_COUNT:
        memcpy(dst, src, (size_t)n * sizeof *dst);
        break;
    }
}

/* As pb_f32_to_bf16, without branches; the upper half has the value. */
static uint32_t nearest_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t nearest = bits + 0x7fffu + ((bits >> 16) & 1u);
    uint32_t quiet   = bits | 0x00400000u;
    return (bits & 0x7fffffffu) > 0x7f800000u ? quiet : nearest;
}

void pb_floats_round_bf16(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = nearest_bf16(x[i]) & 0xffff0000u;
        memcpy(&x[i], &bits, sizeof bits);
    }
}

void pb_floats_to_bf16(uint16_t *dst, const void *src, pb_dtype dtype, int64_t n)
{
    enum { RUN = 256 };
    float run[RUN];
    if (dtype == PB_DTYPE_BF16) {
        memcpy(dst, src, (size_t)n * sizeof *dst);
        return;
    }
    for (int64_t first = 0; first < n; first += RUN) {
        int64_t count     = n - first < RUN ? n - first : RUN;
        const void *from  = (const char *)src + (size_t)first * pb_dtype_size(dtype);
        const float *take = run;
        if (dtype == PB_DTYPE_F32) {
            take = from;
        } else {
            pb_floats_to_f32(run, from, dtype, count);
        }
        for (int64_t i = 0; i < count; i++) {
            dst[first + i] = (uint16_t)(nearest_bf16(take[i]) >> 16);
        }
    }
}
