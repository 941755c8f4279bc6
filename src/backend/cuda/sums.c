// SPDX-License-Identifier: Apache-2.0
/* Sums over rows: gradients of what is added to columns or multiplies them. */
#include "cuda.h"

size_t cuda_column_sum_bytes(int64_t rows, int64_t columns)
{
    int64_t chunks = (rows + COLUMN_SUM_CHUNK - 1) / COLUMN_SUM_CHUNK;
    return chunks > 1 ? cuda_bytes(chunks * columns, sizeof(double)) : 0;
}

pb_status cuda_column_sum(pb_backend *be, float *out, const pb_tensor *a, const pb_tensor *b,
                          const float *row_scale, void *parts)
{
    CUDA_LAUNCH(be, "column_sum", a->shape[0], a->shape[1],
                launch_column_sum(out, parts, view_of(a), b != NULL ? view_of(b) : (view){0},
                                  row_scale, a->shape[0], a->shape[1], cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_bias_backward(pb_backend *be, pb_tensor *dbias, const pb_tensor *dy)
{
    void *parts = NULL;
    PB_TRY(cuda_scratch(be, cuda_column_sum_bytes(dy->shape[0], dy->shape[1]), &parts));
    return cuda_column_sum(be, dbias->data, dy, NULL, NULL, parts);
}

pb_status cuda_column_scale_backward(pb_backend *be, pb_tensor *dx, pb_tensor *dscale,
                                     const pb_tensor *dy, const pb_tensor *x,
                                     const pb_tensor *scale)
{
    void *parts = NULL;
    PB_TRY(cuda_scratch(be, cuda_column_sum_bytes(dy->shape[0], dy->shape[1]), &parts));
    PB_TRY(cuda_column_sum(be, dscale->data, dy, x, NULL, parts));
    return cuda_column_scale_forward(be, dx, dy, scale);
}
