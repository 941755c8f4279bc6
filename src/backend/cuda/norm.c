// SPDX-License-Identifier: Apache-2.0
/* RMS norm by rows (Zhang & Sennrich 2019); see cpu/norm.c. */
#include "cuda.h"

static norm_shape shape_of(const pb_tensor *x, const pb_tensor *weight, const pb_rmsnorm_args *args)
{
    return (norm_shape){.rows    = x->shape[0],
                        .columns = x->shape[1],
                        .weight  = weight->data,
                        .eps     = args->eps,
                        .offset  = args->offset};
}

pb_status cuda_rmsnorm_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                               const pb_tensor *weight, const pb_rmsnorm_args *args)
{
    CUDA_LAUNCH(be, "rmsnorm_forward", x->shape[0], x->shape[1],
                launch_rmsnorm_forward(view_of(y), view_of(x), shape_of(x, weight, args),
                                       cuda_of(be)->stream));
    return PB_OK;
}

/* dweight = sum over rows of dy · x · s: the kernel leaves s to the sum of columns. */
pb_status cuda_rmsnorm_backward(pb_backend *be, pb_tensor *dx, pb_tensor *dweight,
                                const pb_tensor *dy, const pb_tensor *x, const pb_tensor *weight,
                                const pb_rmsnorm_args *args)
{
    float *scale = NULL;
    char *parts  = NULL;
    if (dweight != NULL) {
        size_t own    = cuda_bytes(x->shape[0], sizeof(float));
        void *scratch = NULL;
        PB_TRY(cuda_scratch(be, own + cuda_column_sum_bytes(x->shape[0], x->shape[1]), &scratch));
        scale = scratch;
        parts = (char *)scratch + own;
    }
    CUDA_LAUNCH(be, "rmsnorm_backward", x->shape[0], x->shape[1],
                launch_rmsnorm_backward(view_of(dx), scale, view_of(dy), view_of(x),
                                        shape_of(x, weight, args), args->add, cuda_of(be)->stream));
    if (dweight != NULL) {
        PB_TRY(cuda_column_sum(be, dweight->data, dy, x, scale, parts));
    }
    return PB_OK;
}
