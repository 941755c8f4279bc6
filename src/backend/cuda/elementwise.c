// SPDX-License-Identifier: Apache-2.0
/* Copies within device memory, sums, rows to other places, and scaling and shifting by columns. */
#include "rows.h"

enum { RUN = 2048 }; /* elements of a row of a long run: one block of threads is as wide */

extent rows_extent(const pb_tensor *const *tensors, int count)
{
    int64_t total = pb_tensor_count(tensors[0]);
    int64_t width = pb_tensor_width(tensors[0]);
    int64_t rows  = (total + RUN - 1) / RUN;
    for (int i = 0; i < count; i++) {
        if (!pb_tensor_is_contiguous(tensors[i])) {
            return (extent){tensors[0]->shape[0], width, width};
        }
    }
    return (extent){rows, RUN, total - (rows - 1) * RUN};
}

view rows_view(const pb_tensor *t, const extent *shape)
{
    view v = view_of(t);
    if (pb_tensor_is_contiguous(t)) {
        v.stride = shape->columns;
    }
    return v;
}

/* The same in bytes. */
static extent in_bytes(extent shape, size_t size)
{
    return (extent){shape.rows, shape.columns * (int64_t)size, shape.last * (int64_t)size};
}

pb_status cuda_copy_device(pb_backend *be, pb_tensor *dst, const pb_tensor *src)
{
    extent shape        = rows_extent((const pb_tensor *[]){dst, src}, 2);
    view y              = rows_view(dst, &shape);
    view x              = rows_view(src, &shape);
    int64_t size        = (int64_t)pb_dtype_size(dst->dtype);
    cudaStream_t stream = cuda_of(be)->stream;
    if (dst->dtype == src->dtype) {
        CUDA_LAUNCH(be, "copy", shape.rows, shape.columns,
                    launch_copy(y.data, y.stride * size, x.data, x.stride * size,
                                in_bytes(shape, (size_t)size), stream));
        return PB_OK;
    }
    bool widens = dst->dtype == PB_DTYPE_F32 || dst->dtype == PB_DTYPE_BF16;
    bool is_read =
        src->dtype == PB_DTYPE_F32 || src->dtype == PB_DTYPE_BF16 || src->dtype == PB_DTYPE_F16;
    if (!widens || !is_read) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "copy: %s to %s in device memory",
                       pb_dtype_name(src->dtype), pb_dtype_name(dst->dtype));
    }
    CUDA_LAUNCH(be, "convert", shape.rows, shape.columns, launch_convert(y, x, shape, stream));
    return PB_OK;
}

pb_status cuda_zero(pb_backend *be, pb_tensor *x)
{
    extent shape = rows_extent((const pb_tensor *[]){x}, 1);
    size_t size  = pb_dtype_size(x->dtype);
    view v       = rows_view(x, &shape);
    CUDA_LAUNCH(be, "zero", shape.rows, shape.columns,
                launch_copy(v.data, v.stride * (int64_t)size, NULL, 0, in_bytes(shape, size),
                            cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_axpy(pb_backend *be, pb_tensor *y, float alpha, const pb_tensor *x)
{
    extent shape = rows_extent((const pb_tensor *[]){y, x}, 2);
    CUDA_LAUNCH(
        be, "axpy", shape.rows, shape.columns,
        launch_axpy(rows_view(y, &shape), alpha, rows_view(x, &shape), shape, cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_copy_scaled(pb_backend *be, const pb_scaled_copy *copies, int64_t count)
{
    scaled_copies some = {.count = 0};
    for (int64_t i = 0; i < count; i++) {
        const pb_scaled_copy *copy = &copies[i];
        some.copy[some.count++]    = (scaled_copy){.to      = view_of(&copy->to),
                                                   .from    = view_of(&copy->from),
                                                   .rows    = copy->to.shape[0],
                                                   .columns = pb_tensor_width(&copy->to),
                                                   .scale   = copy->scale};
        if (some.count == SCALED_COPIES || i == count - 1) {
            CUDA_LAUNCH(be, "scaled_copies", some.count, some.copy[0].columns,
                        launch_scaled_copies(&some, cuda_of(be)->stream));
            some.count = 0;
        }
    }
    return PB_OK;
}

pb_status cuda_gather(pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_list *rows)
{
    view from = view_of(x);
    from.list = rows->data;
    CUDA_LAUNCH(be, "gather", y->shape[0], y->shape[1],
                launch_convert(view_of(y), from, rows_of(y), cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_put_rows(pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_list *rows)
{
    view to = view_of(y);
    to.list = rows->data;
    CUDA_LAUNCH(be, "put_rows", x->shape[0], x->shape[1],
                launch_convert(to, view_of(x), rows_of(x), cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_column_scale_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                    const pb_tensor *scale)
{
    CUDA_LAUNCH(
        be, "column_scale_forward", x->shape[0], x->shape[1],
        launch_column_scale(view_of(y), view_of(x), scale->data, rows_of(x), cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_bias_forward(pb_backend *be, pb_tensor *y, const pb_tensor *bias)
{
    CUDA_LAUNCH(be, "bias_forward", y->shape[0], y->shape[1],
                launch_bias(view_of(y), bias->data, rows_of(y), cuda_of(be)->stream));
    return PB_OK;
}
