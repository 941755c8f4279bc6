// SPDX-License-Identifier: Apache-2.0
/* A linear site composed of other operations: one product with the weight for all rows, and each
 * part on its own. In the backward of a part, with u = inner ⊙ A drop(x) and t = scale · B u:
 *
 *     douter += Σ dy ⊙ t,   du = scale · Bᵀ (outer ⊙ dy),   dB += scale · dyᵀ u,
 *     dinner += Σ du ⊙ A drop(x),   dA += (inner ⊙ du)ᵀ drop(x),   dx += drop(Aᵀ (inner ⊙ du)) */
#include "check.h"

#include <inttypes.h>

static const pb_matmul_args by_transposed = {.transpose_b = true, .alpha = 1.0f};
static const pb_matmul_args add_gradient  = {.transpose_a = true, .alpha = 1.0f, .beta = 1.0f};

enum { RIDE_STEP = 8 }; /* elements, at least 16 bytes */

int64_t pb_linear_rank(const pb_linear *linear)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < linear->count; i++) {
        sum += linear->parts[i].low_rank.a.shape[0];
    }
    return sum;
}

bool pb_linear_may_ride(const pb_linear *linear)
{
    bool all = linear->count > 0 && pb_linear_rank(linear) <= linear->weight.border &&
               pb_tensor_is_none(&linear->dweight) && pb_tensor_is_none(&linear->dbias);
    for (int64_t i = 0; i < linear->count && all; i++) {
        const pb_low_rank *part = &linear->parts[i].low_rank;
        all = part->a.shape[0] % RIDE_STEP == 0 && pb_tensor_is_none(&part->inner) &&
              pb_tensor_is_none(&part->outer);
    }
    return all;
}

void pb_linear_border(const pb_linear *linear, pb_scaled_copy *copies)
{
    const pb_tensor *weight = &linear->weight;
    pb_tensor wide          = pb_tensor_widen(weight, weight->border);
    pb_tensor tall          = *weight;
    int64_t column          = 0;
    tall.shape[0] += weight->border;
    for (int64_t i = 0; i < linear->count; i++) {
        const pb_low_rank *part = &linear->parts[i].low_rank;
        int64_t r               = part->a.shape[0];
        pb_tensor b             = pb_tensor_columns(&wide, weight->shape[1] + column, r);
        pb_tensor a             = pb_tensor_rows(&tall, weight->shape[0] + column, r);
        copies[2 * i]           = (pb_scaled_copy){b, part->b, part->scale};
        copies[2 * i + 1]       = (pb_scaled_copy){a, part->a, 1.0f};
        column += r;
    }
}

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t pb_low_rank_room(const pb_low_rank *part)
{
    int64_t width = part->a.shape[0];
    width         = part->dropout > 0.0 ? largest(width, part->a.shape[1]) : width;
    return pb_tensor_is_none(&part->outer) ? width : largest(width, part->b.shape[0]);
}

/* One of the halves of the room, `width` wide. */
static pb_tensor half(const pb_tensor *room, int which, int64_t width)
{
    return pb_tensor_columns(room, which * (room->shape[1] / 2), width);
}

/* *out = x, or with dropout its part that stays, in the second half. */
static pb_status drop(pb_backend *be, const pb_low_rank *part, const pb_tensor *room,
                      const pb_tensor *x, pb_tensor *out)
{
    *out = *x;
    if (part->dropout == 0.0) {
        return PB_OK;
    }
    *out = half(room, 1, x->shape[1]);
    return pb_dropout(be, out, x, part->dropout, &part->mask);
}

/* *u = inner ⊙ kept, in half `which`; without an inner vector kept itself. */
static pb_status scale_inner(pb_backend *be, const pb_low_rank *part, const pb_tensor *room,
                             int which, const pb_tensor *kept, pb_tensor *u)
{
    *u = *kept;
    if (pb_tensor_is_none(&part->inner)) {
        return PB_OK;
    }
    *u = half(room, which, kept->shape[1]);
    return pb_column_scale_forward(be, u, kept, &part->inner);
}

pb_status low_rank_forward_composed(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                    const pb_low_rank *part, pb_tensor *kept, const pb_tensor *room)
{
    pb_tensor dropped, u;

    PB_TRY(drop(be, part, room, x, &dropped));
    PB_TRY(pb_matmul(be, kept, &dropped, &part->a, &by_transposed));
    PB_TRY(scale_inner(be, part, room, 0, kept, &u));
    if (pb_tensor_is_none(&part->outer)) {
        return pb_matmul(
            be, y, &u, &part->b,
            &(pb_matmul_args){.transpose_b = true, .alpha = part->scale, .beta = 1.0f});
    }
    pb_tensor t = half(room, 1, y->shape[1]);
    PB_TRY(pb_matmul(be, &t, &u, &part->b,
                     &(pb_matmul_args){.transpose_b = true, .alpha = part->scale}));
    PB_TRY(pb_column_scale_forward(be, &t, &t, &part->outer));
    return pb_axpy(be, y, 1.0f, &t);
}

pb_status pb_low_rank_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                              const pb_low_rank *part, pb_tensor *kept, const pb_tensor *room)
{
    if (be->ops->low_rank_forward != NULL) {
        PB_TRY(be->ops->low_rank_forward(be, y, x, part, kept, room));
        return PB_OK;
    }
    return low_rank_forward_composed(be, y, x, part, kept, room);
}

/* *dt = outer ⊙ dy in the second half, and the gradient of outer; dy itself without one. */
static pb_status outer_backward(pb_backend *be, pb_low_rank *part, const pb_tensor *room,
                                const pb_tensor *dy, const pb_tensor *kept, pb_tensor *dt)
{
    pb_tensor u, t;

    *dt = *dy;
    if (pb_tensor_is_none(&part->outer)) {
        return PB_OK;
    }
    PB_TRY(scale_inner(be, part, room, 1, kept, &u));
    t   = half(room, 0, dy->shape[1]);
    *dt = half(room, 1, dy->shape[1]);
    PB_TRY(pb_matmul(be, &t, &u, &part->b,
                     &(pb_matmul_args){.transpose_b = true, .alpha = part->scale}));
    return pb_column_scale_backward(be, dt, &part->douter, dy, &t, &part->outer);
}

/* dx = or += drop(Aᵀ du). */
static pb_status input_backward(pb_backend *be, const pb_low_rank *part, const pb_tensor *room,
                                const pb_tensor *du, pb_tensor *dx, bool add)
{
    if (part->dropout == 0.0) {
        return pb_matmul(be, dx, du, &part->a,
                         &(pb_matmul_args){.alpha = 1.0f, .beta = add ? 1.0f : 0.0f});
    }
    pb_tensor way = half(room, 1, dx->shape[1]);
    PB_TRY(pb_matmul(be, &way, du, &part->a, &(pb_matmul_args){.alpha = 1.0f}));
    PB_TRY(pb_dropout(be, add ? &way : dx, &way, part->dropout, &part->mask));
    return add ? pb_axpy(be, dx, 1.0f, &way) : PB_OK;
}

pb_status low_rank_backward_composed(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                                     const pb_tensor *x, pb_low_rank *part, const pb_tensor *kept,
                                     const pb_tensor *room, bool add)
{
    pb_tensor dropped, u, dt;

    pb_tensor du = half(room, 0, kept->shape[1]);
    if (!pb_tensor_is_none(&part->db)) {
        PB_TRY(scale_inner(be, part, room, 1, kept, &u));
        PB_TRY(
            pb_matmul(be, &part->db, dy, &u,
                      &(pb_matmul_args){.transpose_a = true, .alpha = part->scale, .beta = 1.0f}));
    }
    PB_TRY(outer_backward(be, part, room, dy, kept, &dt));
    PB_TRY(pb_matmul(be, &du, &dt, &part->b, &(pb_matmul_args){.alpha = part->scale}));
    if (!pb_tensor_is_none(&part->inner)) {
        PB_TRY(pb_column_scale_backward(be, &du, &part->dinner, &du, kept, &part->inner));
    }
    if (!pb_tensor_is_none(&part->da)) {
        PB_TRY(drop(be, part, room, x, &dropped));
        PB_TRY(pb_matmul(be, &part->da, &du, &dropped, &add_gradient));
    }
    return pb_tensor_is_none(dx) ? PB_OK : input_backward(be, part, room, &du, dx, add);
}

pb_status pb_low_rank_backward(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                               const pb_tensor *x, pb_low_rank *part, const pb_tensor *kept,
                               const pb_tensor *room, bool add)
{
    if (be->ops->low_rank_backward != NULL) {
        PB_TRY(be->ops->low_rank_backward(be, dx, dy, x, part, kept, room, add));
        return PB_OK;
    }
    return low_rank_backward_composed(be, dx, dy, x, part, kept, room, add);
}

/* The parts have all `rows`, in order, or there are none. */
static pb_status check_parts(const char *op, const pb_linear *linear, int64_t rows)
{
    int64_t end = 0;
    for (int64_t i = 0; i < linear->count; i++) {
        const pb_linear_part *part = &linear->parts[i];
        if (part->first != end || part->rows < 0) {
            return PB_FAIL(PB_ERR_ARGUMENT,
                           "%s: part %" PRId64 " has %" PRId64 " rows from %" PRId64
                           " on, those before it end at %" PRId64,
                           op, i, part->rows, part->first, end);
        }
        end += part->rows;
    }
    if (linear->count > 0 && end != rows) {
        return PB_FAIL(PB_ERR_SHAPE, "%s: the parts have %" PRId64 " rows, there are %" PRId64, op,
                       end, rows);
    }
    return PB_OK;
}

static pb_tensor part_rows(const pb_linear_part *part, const pb_tensor *t)
{
    return pb_tensor_rows(t, part->first, part->rows);
}

pb_status linear_added_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                               const pb_linear *linear)
{
    if (!pb_tensor_is_none(&linear->bias)) {
        PB_TRY(pb_bias_forward(be, y, &linear->bias));
    }
    for (int64_t i = 0; i < linear->count; i++) {
        pb_linear_part *part = &linear->parts[i];
        pb_tensor to         = part_rows(part, y);
        pb_tensor from       = part_rows(part, x);
        PB_TRY(pb_low_rank_forward(be, &to, &from, &part->low_rank, &part->kept, &part->room));
    }
    return PB_OK;
}

static pb_status linear_forward_composed(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                         const pb_linear *linear)
{
    PB_TRY(pb_matmul(be, y, x, &linear->weight, &by_transposed));
    PB_TRY(linear_added_forward(be, y, x, linear));
    return pb_tensor_is_none(&linear->residual) ? PB_OK : pb_axpy(be, y, 1.0f, &linear->residual);
}

pb_status pb_linear_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                            const pb_linear *linear)
{
    PB_TRY(check_parts("linear forward", linear, x->shape[0]));
    if (!pb_tensor_is_none(&linear->residual)) {
        PB_TRY(check_rows_like(be, "linear forward", "residual", &linear->residual, y));
    }
    if (be->ops->linear_forward != NULL) {
        PB_TRY(be->ops->linear_forward(be, y, x, linear));
        return PB_OK;
    }
    return linear_forward_composed(be, y, x, linear);
}

static pb_status part_backward(pb_backend *be, pb_linear_part *part, const pb_tensor *dx,
                               const pb_tensor *dy, const pb_tensor *x, bool add)
{
    pb_tensor to   = pb_tensor_is_none(dx) ? *dx : part_rows(part, dx);
    pb_tensor grad = part_rows(part, dy);
    pb_tensor from = part_rows(part, x);
    return pb_low_rank_backward(be, &to, &grad, &from, &part->low_rank, &part->kept, &part->room,
                                add);
}

pb_status linear_backward_composed(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                                   const pb_tensor *x, pb_linear *linear, bool add)
{
    for (int64_t i = 0; i < linear->count; i++) {
        PB_TRY(part_backward(be, &linear->parts[i], dx, dy, x, add));
    }
    add = add || linear->count > 0;
    if (!pb_tensor_is_none(&linear->dweight)) {
        PB_TRY(pb_matmul(be, &linear->dweight, dy, x, &add_gradient));
    }
    if (!pb_tensor_is_none(&linear->dbias)) {
        PB_TRY(pb_bias_backward(be, &linear->dbias, dy));
    }
    if (pb_tensor_is_none(dx)) {
        return PB_OK;
    }
    return pb_matmul(be, dx, dy, &linear->weight,
                     &(pb_matmul_args){.alpha = 1.0f, .beta = add ? 1.0f : 0.0f});
}

pb_status pb_linear_backward(pb_backend *be, pb_tensor *dx, const pb_tensor *dy, const pb_tensor *x,
                             pb_linear *linear, bool add)
{
    PB_TRY(check_parts("linear backward", linear, dy->shape[0]));
    if (be->ops->linear_backward != NULL) {
        PB_TRY(be->ops->linear_backward(be, dx, dy, x, linear, add));
        return PB_OK;
    }
    return linear_backward_composed(be, dx, dy, x, linear, add);
}
