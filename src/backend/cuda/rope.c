// SPDX-License-Identifier: Apache-2.0
/* The rotary embedding. */
#include "cuda.h"

pb_status cuda_rope(pb_backend *be, pb_tensor *x, const pb_tensor *table, const pb_list *positions,
                    int64_t heads, bool inverse)
{
    view angles = view_of(table);
    angles.list = positions->data;
    CUDA_LAUNCH(be, "rope", x->shape[0], x->shape[1],
                launch_rope(view_of(x), angles, x->shape[0], heads, x->shape[1] / heads,
                            inverse ? -1.0f : 1.0f, cuda_of(be)->stream));
    return PB_OK;
}
