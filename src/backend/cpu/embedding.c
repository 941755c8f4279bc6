// SPDX-License-Identifier: Apache-2.0
/* Rows by index: embedding, gather, scatter, put. What adds to rows runs over all rows in order,
 * threads share the columns. */
#include "cpu.h"

#include <string.h>

enum { COLUMNS = 256 };

/* y[i] = scale · x[rows[i]]; a negative index leaves the row as it is. */
static void take_rows(const pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_list *list,
                      float scale)
{
    const int32_t *rows = list->data;
    int64_t columns     = y->shape[1];
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(y) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < y->shape[0]; i++) {
        if (rows[i] < 0) {
            continue;
        }
        float *to      = cpu_row(y, i);
        size_t element = (size_t)(rows[i] * x->stride);
        pb_floats_to_f32(to, (const char *)x->data + element * pb_dtype_size(x->dtype), x->dtype,
                         columns);
        for (int64_t j = 0; scale != 1.0f && j < columns; j++) {
            to[j] *= scale;
        }
    }
}

/* y[rows[i]] += scale · x[i] in order; a negative index adds nothing. */
static void add_rows(const pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_list *list,
                     float scale)
{
    const int32_t *rows = list->data;
    int64_t columns     = x->shape[1];
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(x) > CPU_PARALLEL_MIN)
    for (int64_t first = 0; first < columns; first += COLUMNS) {
        int64_t width = columns - first < COLUMNS ? columns - first : COLUMNS;
        for (int64_t i = 0; i < x->shape[0]; i++) {
            if (rows[i] < 0) {
                continue;
            }
            float *to         = cpu_row(y, rows[i]) + first;
            const float *from = cpu_row(x, i) + first;
            for (int64_t j = 0; j < width; j++) {
                to[j] += scale * from[j];
            }
        }
    }
}

pb_status cpu_embedding_forward(pb_backend *be, pb_tensor *y, const pb_tensor *table,
                                const pb_list *ids, float scale)
{
    take_rows(be, y, table, ids, scale);
    return PB_OK;
}

pb_status cpu_embedding_backward(pb_backend *be, pb_tensor *dtable, const pb_tensor *dy,
                                 const pb_list *ids, float scale)
{
    add_rows(be, dtable, dy, ids, scale);
    return PB_OK;
}

pb_status cpu_gather(pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_list *rows)
{
    take_rows(be, y, x, rows, 1.0f);
    return PB_OK;
}

pb_status cpu_scatter_add(pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_list *rows)
{
    add_rows(be, y, x, rows, 1.0f);
    return PB_OK;
}

pb_status cpu_put_rows(pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_list *rows)
{
    size_t bytes = (size_t)x->shape[1] * sizeof(float);
#pragma omp parallel for num_threads(be->threads) if (pb_tensor_count(x) > CPU_PARALLEL_MIN)
    for (int64_t i = 0; i < x->shape[0]; i++) {
        memcpy(cpu_row(y, rows->data[i]), cpu_row(x, i), bytes);
    }
    return PB_OK;
}
