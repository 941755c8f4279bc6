// SPDX-License-Identifier: Apache-2.0
/* Dropout, with the masks of every backend. */
#include "cuda.h"

#include <math.h>

pb_status cuda_drop_mask(pb_backend *be, double p, const pb_mask *mask, drop_mask *out)
{
    /* The same choice as pb_random_uniform(stream, index) >= p. */
    double limit = ceil(p * 0x1p32);
    *out         = (drop_mask){.seed      = mask->seed,
                               .stride    = mask->stride,
                               .salt      = mask->salt,
                               .threshold = limit < 0x1p32 ? (uint32_t)limit : UINT32_MAX,
                               .factor    = (float)(1.0 / (1.0 - p))};
    return cuda_page_pass(be, &out->pass);
}

pb_status cuda_dropout(pb_backend *be, pb_tensor *y, const pb_tensor *x, double p,
                       const pb_mask *mask)
{
    extent shape = {x->shape[0], x->shape[1], x->shape[1]};
    drop_mask drop;
    PB_TRY(cuda_drop_mask(be, p, mask, &drop));
    CUDA_LAUNCH(be, "dropout", x->shape[0], x->shape[1],
                launch_dropout(view_of(y), view_of(x), drop, shape, cuda_of(be)->stream));
    return PB_OK;
}
