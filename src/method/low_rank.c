// SPDX-License-Identifier: Apache-2.0
/* See low_rank.h. */
#include "low_rank.h"

#include "pb/memory.h"

pb_mask low_rank_mask(const pb_method *m, const pb_site *site)
{
    return (pb_mask){.seed   = m->seed,
                     .stride = (uint64_t)pb_model_site_count(m->model),
                     .salt   = (uint64_t)site->index};
}

pb_status scale_rows(pb_method *m, pb_tensor *weight, const pb_tensor *scale)
{
    for (int64_t i = 0; i < weight->shape[0]; i++) { /* the scaling sees a row as a column */
        pb_tensor row    = pb_tensor_rows(weight, i, 1);
        pb_tensor column = pb_tensor_2d(row.data, PB_DTYPE_F32, weight->shape[1], 1);
        pb_tensor factor = pb_tensor_rows(scale, i, 1);
        PB_TRY(pb_column_scale_forward(m->backend, &column, &column, &factor));
    }
    return PB_OK;
}

static pb_status merge_scaled(pb_method *m, const pb_low_rank *l, pb_tensor *weight, float *room)
{
    int64_t out = l->b.shape[0];
    int64_t r   = l->b.shape[1];
    pb_tensor b = pb_tensor_2d(room, PB_DTYPE_F32, out, r);
    PB_TRY(pb_copy(m->backend, &b, &l->b));
    if (!pb_tensor_is_none(&l->inner)) {
        PB_TRY(pb_column_scale_forward(m->backend, &b, &b, &l->inner));
    }
    if (!pb_tensor_is_none(&l->outer)) {
        PB_TRY(scale_rows(m, &b, &l->outer));
    }
    return pb_matmul(m->backend, weight, &b, &l->a,
                     &(pb_matmul_args){.alpha = l->scale, .beta = 1.0f});
}

pb_status low_rank_merge(pb_method *m, const pb_low_rank *l, pb_tensor *weight)
{
    void *room = NULL;
    if (pb_tensor_is_none(&l->inner) && pb_tensor_is_none(&l->outer)) {
        return pb_matmul(m->backend, weight, &l->b, &l->a,
                         &(pb_matmul_args){.alpha = l->scale, .beta = 1.0f});
    }
    size_t bytes = (size_t)(l->b.shape[0] * l->b.shape[1]) * sizeof(float);
    PB_TRY(pb_backend_alloc(m->backend, bytes, &room));
    pb_status status = merge_scaled(m, l, weight, room);
    pb_backend_free(m->backend, room);
    return status;
}
