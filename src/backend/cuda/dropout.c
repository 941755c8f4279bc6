// SPDX-License-Identifier: Apache-2.0
/* Dropout, with the masks of every backend. */
#include "cuda.h"

#include <math.h>

drop_mask cuda_drop_mask(const pb_backend *be, double p, const pb_mask *mask)
{
    pb_random stream =
        pb_random_stream(mask->seed, PB_RANDOM_DROPOUT, be->pass * mask->stride + mask->salt);
    /* The same choice as pb_random_uniform(stream, index) >= p. */
    double limit = ceil(p * 0x1p32);
    return (drop_mask){.key       = stream.key,
                       .threshold = limit < 0x1p32 ? (uint32_t)limit : UINT32_MAX,
                       .factor    = (float)(1.0 / (1.0 - p))};
}

pb_status cuda_dropout(pb_backend *be, pb_tensor *y, const pb_tensor *x, double p,
                       const pb_mask *mask)
{
    extent shape = {x->shape[0], x->shape[1], x->shape[1]};
    CUDA_LAUNCH(be, "dropout", x->shape[0], x->shape[1],
                launch_dropout(view_of(y), view_of(x), cuda_drop_mask(be, p, mask), shape,
                               cuda_of(be)->stream));
    return PB_OK;
}
