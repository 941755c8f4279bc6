// SPDX-License-Identifier: Apache-2.0
/* The embedding, and rows that are added to others. */
#include "cuda.h"

pb_status cuda_embedding_forward(pb_backend *be, pb_tensor *y, const pb_tensor *table,
                                 const pb_list *ids, float scale)
{
    CUDA_LAUNCH(be, "embedding_forward", y->shape[0], y->shape[1],
                launch_embedding_forward(view_of(y), view_of(table), ids->data, y->shape[0],
                                         y->shape[1], scale, cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_embedding_backward(pb_backend *be, pb_tensor *dtable, const pb_tensor *dy,
                                  const pb_list *ids, float scale)
{
    CUDA_LAUNCH(be, "embedding_backward", dy->shape[0], dy->shape[1],
                launch_scatter_add(view_of(dtable), view_of(dy), ids->data, dy->shape[0],
                                   dy->shape[1], scale, cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_scatter_add(pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_list *rows)
{
    CUDA_LAUNCH(be, "scatter_add", x->shape[0], x->shape[1],
                launch_scatter_add(view_of(y), view_of(x), rows->data, x->shape[0], x->shape[1],
                                   1.0f, cuda_of(be)->stream));
    return PB_OK;
}
