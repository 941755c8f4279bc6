// SPDX-License-Identifier: Apache-2.0
/* See low_rank.h. In the backward, with u = inner ⊙ A drop(x) and t = scale · B u:
 *
 *     douter += Σ dy ⊙ t,   du = scale · Bᵀ (outer ⊙ dy),   dB += scale · dyᵀ u,
 *     dinner += Σ du ⊙ A drop(x),   dA += (inner ⊙ du)ᵀ drop(x),   dx += drop(Aᵀ (inner ⊙ du)) */
#include "low_rank.h"

#include "pb/memory.h"

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static bool drops(const low_rank *l, const pb_site_context *ctx)
{
    return ctx->training && l->dropout > 0.0;
}

pb_tensor low_rank_half(const pb_site_context *ctx, int which, int64_t width)
{
    return pb_tensor_columns(ctx->scratch, which * (ctx->scratch->shape[1] / 2), width);
}

int64_t low_rank_scratch(const low_rank *l, const pb_site *site)
{
    int64_t width = l->a.shape[0];
    width         = l->dropout > 0.0 ? largest(width, site->in) : width;
    return pb_tensor_is_none(&l->outer) ? width : largest(width, site->out);
}

/* The mask of a site in a pass: the same in forward and backward. */
static pb_mask mask_of(const pb_method *m, const pb_site *site)
{
    return (pb_mask){.seed   = m->seed,
                     .stride = (uint64_t)pb_model_site_count(m->model),
                     .salt   = (uint64_t)site->index};
}

pb_status low_rank_dropped(pb_method *m, double dropout, const pb_site *site,
                           const pb_site_context *ctx, int which, const pb_tensor *x,
                           pb_tensor *out)
{
    if (!ctx->training || dropout == 0.0) {
        *out = *x;
        return PB_OK;
    }
    pb_mask mask = mask_of(m, site);
    *out         = low_rank_half(ctx, which, site->in);
    return pb_dropout(m->backend, out, x, dropout, &mask);
}

/* *u = inner ⊙ kept, in half `which`; kept itself without an inner vector. */
static pb_status scaled_inner(pb_method *m, const low_rank *l, const pb_site_context *ctx,
                              int which, const pb_tensor *kept, pb_tensor *u)
{
    *u = *kept;
    if (pb_tensor_is_none(&l->inner)) {
        return PB_OK;
    }
    *u = low_rank_half(ctx, which, kept->shape[1]);
    return pb_column_scale_forward(m->backend, u, kept, &l->inner);
}

pb_status low_rank_forward(pb_method *m, const low_rank *l, const pb_site *site,
                           const pb_site_context *ctx, pb_tensor *y, const pb_tensor *x,
                           pb_tensor *kept)
{
    pb_tensor dropped, u;
    PB_TRY(low_rank_dropped(m, l->dropout, site, ctx, 1, x, &dropped));
    PB_TRY(pb_matmul(m->backend, kept, &dropped, &l->a,
                     &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f}));
    PB_TRY(scaled_inner(m, l, ctx, 0, kept, &u));
    if (pb_tensor_is_none(&l->outer)) {
        return pb_matmul(m->backend, y, &u, &l->b,
                         &(pb_matmul_args){.transpose_b = true, .alpha = l->scale, .beta = 1.0f});
    }
    pb_tensor t = low_rank_half(ctx, 1, site->out);
    PB_TRY(pb_matmul(m->backend, &t, &u, &l->b,
                     &(pb_matmul_args){.transpose_b = true, .alpha = l->scale}));
    PB_TRY(pb_column_scale_forward(m->backend, &t, &t, &l->outer));
    return pb_axpy(m->backend, y, 1.0f, &t);
}

/* *dt = outer ⊙ dy in the second half, and the gradient of outer; dy itself without one. */
static pb_status outer_backward(pb_method *m, low_rank *l, const pb_site_context *ctx,
                                const pb_tensor *dy, const pb_tensor *kept, pb_tensor *dt)
{
    pb_tensor u, t;
    *dt = *dy;
    if (pb_tensor_is_none(&l->outer)) {
        return PB_OK;
    }
    PB_TRY(scaled_inner(m, l, ctx, 1, kept, &u));
    t   = low_rank_half(ctx, 0, dy->shape[1]);
    *dt = low_rank_half(ctx, 1, dy->shape[1]);
    PB_TRY(pb_matmul(m->backend, &t, &u, &l->b,
                     &(pb_matmul_args){.transpose_b = true, .alpha = l->scale}));
    return pb_column_scale_backward(m->backend, dt, &l->douter, dy, &t, &l->outer);
}

static pb_status input_backward(pb_method *m, const low_rank *l, const pb_site *site,
                                const pb_site_context *ctx, const pb_tensor *dkept, pb_tensor *dx)
{
    if (!drops(l, ctx)) {
        return pb_matmul(m->backend, dx, dkept, &l->a,
                         &(pb_matmul_args){.alpha = 1.0f, .beta = 1.0f});
    }
    pb_tensor way = low_rank_half(ctx, 1, site->in);
    PB_TRY(pb_matmul(m->backend, &way, dkept, &l->a, &(pb_matmul_args){.alpha = 1.0f}));
    pb_mask mask = mask_of(m, site);
    PB_TRY(pb_dropout(m->backend, &way, &way, l->dropout, &mask));
    return pb_axpy(m->backend, dx, 1.0f, &way);
}

pb_status low_rank_backward(pb_method *m, low_rank *l, const pb_site *site,
                            const pb_site_context *ctx, const pb_tensor *dy, pb_tensor *dx,
                            const pb_tensor *x, const pb_tensor *kept)
{
    pb_tensor dkept = low_rank_half(ctx, 0, kept->shape[1]);
    pb_tensor dropped, u, dt;
    if (!pb_tensor_is_none(&l->db)) {
        PB_TRY(scaled_inner(m, l, ctx, 1, kept, &u));
        PB_TRY(pb_matmul(m->backend, &l->db, dy, &u,
                         &(pb_matmul_args){.transpose_a = true, .alpha = l->scale, .beta = 1.0f}));
    }
    PB_TRY(outer_backward(m, l, ctx, dy, kept, &dt));
    PB_TRY(pb_matmul(m->backend, &dkept, &dt, &l->b, &(pb_matmul_args){.alpha = l->scale}));
    if (!pb_tensor_is_none(&l->inner)) {
        PB_TRY(pb_column_scale_backward(m->backend, &dkept, &l->dinner, &dkept, kept, &l->inner));
    }
    if (!pb_tensor_is_none(&l->da)) {
        PB_TRY(low_rank_dropped(m, l->dropout, site, ctx, 1, x, &dropped));
        PB_TRY(pb_matmul(m->backend, &l->da, &dkept, &dropped,
                         &(pb_matmul_args){.transpose_a = true, .alpha = 1.0f, .beta = 1.0f}));
    }
    return pb_tensor_is_none(dx) ? PB_OK : input_backward(m, l, site, ctx, &dkept, dx);
}

pb_status scale_rows(pb_method *m, pb_tensor *weight, const pb_tensor *scale)
{
    for (int64_t i = 0; i < weight->shape[0]; i++) { /* to the scaling a row is a column */
        pb_tensor row    = pb_tensor_rows(weight, i, 1);
        pb_tensor column = pb_tensor_2d(row.data, PB_DTYPE_F32, weight->shape[1], 1);
        pb_tensor factor = pb_tensor_rows(scale, i, 1);
        PB_TRY(pb_column_scale_forward(m->backend, &column, &column, &factor));
    }
    return PB_OK;
}

static pb_status merge_scaled(pb_method *m, const low_rank *l, pb_tensor *weight, float *room)
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

pb_status low_rank_merge(pb_method *m, const low_rank *l, pb_tensor *weight)
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
