// SPDX-License-Identifier: Apache-2.0
/* Products by kernels of our own. */
#include "cuda.h"

pb_status cuda_product(pb_backend *be, pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                       const pb_matmul_args *args, const void *before)
{
    product_shape shape = {.m           = c->shape[0],
                           .n           = c->shape[1],
                           .k           = a->shape[args->transpose_a ? 0 : 1],
                           .transpose_a = args->transpose_a,
                           .transpose_b = args->transpose_b,
                           .alpha       = args->alpha,
                           .beta        = args->beta,
                           .before      = before};
    CUDA_LAUNCH(be, "product", shape.m, shape.n,
                launch_product(view_of(c), view_of(a), view_of(b), shape,
                               cuda_of(be)->properties.sharedMemPerBlockOptin,
                               cuda_of(be)->stream));
    return PB_OK;
}
