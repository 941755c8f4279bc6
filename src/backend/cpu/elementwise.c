// SPDX-License-Identifier: Apache-2.0
/* Copies, sums, and scaling and shifting by columns, with the sums over rows that are their
 * backward. */
#include "cpu.h"

#include <string.h>

enum {
    PIECE   = 4096, /* elements of a flat piece: stays in the first-level cache */
    COLUMNS = 64,   /* columns that a thread sums at once */
    BLOCK   = 32    /* rows summed in F32 before they are added in double */
};

cpu_pieces cpu_split(const pb_tensor *const *tensors, int count)
{
    int64_t total = pb_tensor_count(tensors[0]);
    bool flat     = true;
    for (int i = 0; i < count; i++) {
        flat = flat && pb_tensor_is_contiguous(tensors[i]);
    }
    if (total == 0) {
        return (cpu_pieces){.flat = flat};
    }
    if (!flat) {
        int64_t width = pb_tensor_width(tensors[0]);
        return (cpu_pieces){.count = tensors[0]->shape[0], .width = width, .last = width};
    }
    int64_t pieces = (total + PIECE - 1) / PIECE;
    return (cpu_pieces){
        .count = pieces, .width = PIECE, .last = total - (pieces - 1) * PIECE, .flat = true};
}

/* One row between types; the pair has been looked at. */
static void convert_row(unsigned char *to, pb_dtype to_type, const unsigned char *from,
                        pb_dtype from_type, int64_t n)
{
    if (to_type == from_type) {
        memcpy(to, from, (size_t)n * pb_dtype_size(to_type));
    } else if (to_type == PB_DTYPE_BF16) {
        for (int64_t i = 0; i < n; i++) {
            ((uint16_t *)to)[i] = pb_f32_to_bf16(((const float *)from)[i]);
        }
    } else {
        pb_floats_to_f32((float *)(void *)to, from, from_type, n);
    }
}

pb_status cpu_copy(pb_backend *be, pb_tensor *dst, const pb_tensor *src)
{
    bool widens  = dst->dtype == PB_DTYPE_F32 && src->dtype != PB_DTYPE_I32;
    bool narrows = dst->dtype == PB_DTYPE_BF16 && src->dtype == PB_DTYPE_F32;
    if (dst->dtype != src->dtype && !widens && !narrows) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "copy: %s to %s", pb_dtype_name(src->dtype),
                       pb_dtype_name(dst->dtype));
    }
    cpu_pieces pieces = cpu_split((const pb_tensor *[]){dst, src}, 2);
    size_t to_step    = (size_t)(pieces.flat ? PIECE : dst->stride) * pb_dtype_size(dst->dtype);
    size_t from_step  = (size_t)(pieces.flat ? PIECE : src->stride) * pb_dtype_size(src->dtype);
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(dst) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < pieces.count; i++) {
        convert_row((unsigned char *)dst->data + (size_t)i * to_step, dst->dtype,
                    (const unsigned char *)src->data + (size_t)i * from_step, src->dtype,
                    cpu_piece_width(&pieces, i));
    }
    return PB_OK;
}

pb_status cpu_zero(pb_backend *be, pb_tensor *x)
{
    cpu_pieces pieces = cpu_split((const pb_tensor *[]){x}, 1);
    size_t item       = pb_dtype_size(x->dtype);
    size_t step       = (size_t)(pieces.flat ? PIECE : x->stride) * item;
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(x) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < pieces.count; i++) {
        memset((unsigned char *)x->data + (size_t)i * step, 0,
               (size_t)cpu_piece_width(&pieces, i) * item);
    }
    return PB_OK;
}

pb_status cpu_axpy(pb_backend *be, pb_tensor *y, float alpha, const pb_tensor *x)
{
    cpu_pieces pieces = cpu_split((const pb_tensor *[]){y, x}, 2);
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(y) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < pieces.count; i++) {
        float *to         = cpu_piece(y, &pieces, i);
        const float *from = cpu_piece(x, &pieces, i);
        int64_t n         = cpu_piece_width(&pieces, i);
        for (int64_t j = 0; j < n; j++) {
            to[j] += alpha * from[j];
        }
    }
    return PB_OK;
}

pb_status cpu_column_scale_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                   const pb_tensor *scale)
{
    const float *s = scale->data;
    int64_t n      = x->shape[1];
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(x) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < x->shape[0]; i++) {
        float *to         = cpu_row(y, i);
        const float *from = cpu_row(x, i);
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            to[j] = from[j] * s[j];
        }
    }
    return PB_OK;
}

pb_status cpu_column_scale_backward(pb_backend *be, pb_tensor *dx, pb_tensor *dscale,
                                    const pb_tensor *dy, const pb_tensor *x, const pb_tensor *scale)
{
    cpu_column_sum(be, dscale->data, dy, x, NULL);
    return cpu_column_scale_forward(be, dx, dy, scale);
}

pb_status cpu_bias_forward(pb_backend *be, pb_tensor *y, const pb_tensor *bias)
{
    const float *b = bias->data;
    int64_t n      = y->shape[1];
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(y) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < y->shape[0]; i++) {
        float *to = cpu_row(y, i);
        for (int64_t j = 0; j < n; j++) {
            to[j] += b[j];
        }
    }
    return PB_OK;
}

pb_status cpu_bias_backward(pb_backend *be, pb_tensor *dbias, const pb_tensor *dy)
{
    cpu_column_sum(be, dbias->data, dy, NULL, NULL);
    return PB_OK;
}

/* part [width] += a · b · factor over one row. */
static void add_row(float *part, const float *a, const float *b, float factor, int64_t width)
{
    if (b == NULL) {
        for (int64_t j = 0; j < width; j++) {
            part[j] += a[j] * factor;
        }
        return;
    }
    for (int64_t j = 0; j < width; j++) {
        part[j] += a[j] * b[j] * factor;
    }
}

void cpu_column_sum(pb_backend *be, float *out, const pb_tensor *a, const pb_tensor *b,
                    const float *row_scale)
{
    int64_t rows    = a->shape[0];
    int64_t columns = a->shape[1];
#pragma omp parallel for num_threads(be->threads) if (rows * columns > CPU_PARALLEL_MIN)
    for (int64_t first = 0; first < columns; first += COLUMNS) {
        int64_t width         = columns - first < COLUMNS ? columns - first : COLUMNS;
        double total[COLUMNS] = {0};
        for (int64_t block = 0; block < rows; block += BLOCK) {
            float part[COLUMNS] = {0};
            int64_t end         = block + BLOCK < rows ? block + BLOCK : rows;
            for (int64_t i = block; i < end; i++) {
                add_row(part, cpu_row(a, i) + first, b != NULL ? cpu_row(b, i) + first : NULL,
                        row_scale != NULL ? row_scale[i] : 1.0f, width);
            }
            for (int64_t j = 0; j < width; j++) {
                total[j] += (double)part[j];
            }
        }
        for (int64_t j = 0; j < width; j++) {
            out[first + j] += (float)total[j];
        }
    }
}
