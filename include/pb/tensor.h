// SPDX-License-Identifier: Apache-2.0
/* Tensors: dtype, shape and a view of borrowed memory. Describes, computes nothing.
 *
 * Shape letters, used in all headers: B batch, T packed rows (tokens), D model width, H heads, K
 * key-value heads, E width of a head, F feed-forward width, V vocabulary, L layers, R adapter
 * width, N label rows. */
#pragma once

#include "pb/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum pb_dtype {
    PB_DTYPE_F32,
    PB_DTYPE_BF16,
    PB_DTYPE_F16,
    PB_DTYPE_F64, /* the last two are read from files and converted, never used in computations */
    PB_DTYPE_F8_E4M3, /* 1 sign, 4 exponent (bias 7), 3 fraction bits; no infinity (OCP FP8) */
    PB_DTYPE_I32,
    PB_DTYPE_COUNT
} pb_dtype;

size_t pb_dtype_size(pb_dtype dtype);      /* bytes */
const char *pb_dtype_name(pb_dtype dtype); /* "F32", as safetensors writes it */

#define PB_TENSOR_DIMS 4

/* Row-major; the rows (index of dimension 0) are `stride` elements apart, everything below
 * dimension 0 is contiguous. A zeroed tensor is "none". */
typedef struct pb_tensor {
    void *data;
    pb_dtype dtype;
    int ndim;
    int64_t shape[PB_TENSOR_DIMS];
    int64_t stride; /* elements from one row to the next */
    int64_t border; /* elements after the columns of a row that are the tensor's own, as
                       pb_tensor_narrow makes them; its rows have them too */
} pb_tensor;

pb_tensor pb_tensor_1d(void *data, pb_dtype dtype, int64_t n);
pb_tensor pb_tensor_2d(void *data, pb_dtype dtype, int64_t rows, int64_t columns);

/* Rows first … first + count - 1, all columns. */
pb_tensor pb_tensor_rows(const pb_tensor *t, int64_t first, int64_t count);
/* Columns first … of a 2-D tensor, all rows: the stride stays. */
pb_tensor pb_tensor_columns(const pb_tensor *t, int64_t first, int64_t count);
/* The first `count` columns of half `which` of a room. */
pb_tensor pb_tensor_half(const pb_tensor *room, int which, int64_t count);
/* The columns before the last `border`, which become the border. */
pb_tensor pb_tensor_narrow(const pb_tensor *t, int64_t border);
/* The first `count` columns of the border become columns. */
pb_tensor pb_tensor_widen(const pb_tensor *t, int64_t count);

bool pb_tensor_is_none(const pb_tensor *t);
int64_t pb_tensor_count(const pb_tensor *t); /* elements */
int64_t pb_tensor_width(
    const pb_tensor *t); /* elements of a row: product of the dimensions after the first; 1-D: 1 */
size_t pb_tensor_bytes(const pb_tensor *t); /* of a contiguous copy */
bool pb_tensor_is_contiguous(const pb_tensor *t);
bool pb_tensor_same_shape(const pb_tensor *a, const pb_tensor *b);
/* "[2, 3]" into text; returns text. */
const char *pb_tensor_shape_text(const pb_tensor *t, char *text, size_t size);

bool pb_dtype_is_float(pb_dtype dtype);

/* dst [n] = src [n] of a float dtype: exact, but for F64, which is rounded to nearest even. The two
 * may not overlap. */
void pb_floats_to_f32(float *dst, const void *src, pb_dtype dtype, int64_t n);

/* dst [n] = the nearest BF16 values of src [n] of a float dtype. The two may not overlap. */
void pb_floats_to_bf16(uint16_t *dst, const void *src, pb_dtype dtype, int64_t n);

/* x [n] becomes the nearest BF16 values, in F32. */
void pb_floats_round_bf16(float *x, int64_t n);

/* f32 ↔ 16-bit, round to nearest even; NaN stays NaN. */
float pb_bf16_to_f32(uint16_t x);
float pb_f16_to_f32(uint16_t x);
uint16_t pb_f32_to_bf16(float x);
