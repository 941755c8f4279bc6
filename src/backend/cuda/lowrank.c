// SPDX-License-Identifier: Apache-2.0
/* The part that methods of the LoRA family add to a product, without its vectors inner and outer;
 * parts with one of them are composed of other operations. */
#include "check.h"
#include "cuda.h"

static bool is_composed(const pb_low_rank *part)
{
    return !pb_tensor_is_none(&part->inner) || !pb_tensor_is_none(&part->outer);
}

static pb_status check_input(const pb_backend *be, const char *op, const pb_low_rank *part,
                             const pb_tensor *x, const pb_tensor *kept)
{
    PB_TRY(check_rows(be, op, "x", x, ANY, ANY));
    PB_TRY(check_weight(op, "A", &part->a, ANY, x->shape[1]));
    return check_rows(be, op, "kept", kept, x->shape[0], part->a.shape[0]);
}

static pb_status check_part(const pb_backend *be, const char *op, const pb_low_rank *part,
                            const pb_tensor *x, const pb_tensor *y, const pb_tensor *kept)
{
    PB_TRY(check_input(be, op, part, x, kept));
    PB_TRY(check_weight(op, "B", &part->b, ANY, part->a.shape[0]));
    return check_rows(be, op, "y", y, x->shape[0], part->b.shape[0]);
}

/* A [r, columns], or its gradient. */
static low_rank_factor factor_a(const pb_tensor *a)
{
    return (low_rank_factor){
        .data = a->data, .r_step = a->stride, .step = 1, .element = element_of(a)};
}

/* B [columns, r] */
static low_rank_factor factor_b(const pb_tensor *b)
{
    return (low_rank_factor){
        .data = b->data, .r_step = 1, .step = b->stride, .element = element_of(b)};
}

static low_rank_shape shape_of(pb_backend *be, const pb_tensor *wide, int64_t r, float alpha)
{
    be->work.matmul_flops += 2.0 * (double)wide->shape[0] * (double)wide->shape[1] * (double)r;
    return (low_rank_shape){.rows    = wide->shape[0],
                            .columns = wide->shape[1],
                            .r       = r,
                            .alpha   = alpha,
                            .narrow  = be->bf16};
}

/* Without dropout nothing is drawn. */
static pb_status find_mask(pb_backend *be, const pb_low_rank *part, drop_mask *out)
{
    *out = (drop_mask){0};
    return part->dropout > 0.0 ? cuda_drop_mask(be, part->dropout, &part->mask, out) : PB_OK;
}

/* out, and `also` where it is not NULL, = alpha · drop(x) · factorᵀ */
static pb_status down(pb_backend *be, pb_tensor *out, pb_tensor *also, const pb_tensor *x,
                      low_rank_factor factor, drop_mask mask, float alpha)
{
    view second          = also != NULL ? view_of(also) : (view){0};
    low_rank_shape shape = shape_of(be, x, out->shape[1], alpha);
    void *parts          = NULL;
    PB_TRY(cuda_scratch(be, cuda_bytes(lowrank_down_parts(shape), sizeof(float)), &parts));
    CUDA_LAUNCH(be, "lowrank_down", shape.rows, shape.columns,
                launch_lowrank_down(view_of(out), second, parts, view_of(x), factor, mask, shape,
                                    cuda_of(be)->stream));
    return PB_OK;
}

/* y = or += drop(alpha · u · factor) */
static pb_status up(pb_backend *be, pb_tensor *y, const pb_tensor *u, low_rank_factor factor,
                    drop_mask mask, float alpha, bool add)
{
    low_rank_shape shape = shape_of(be, y, u->shape[1], alpha);
    shape.add            = add;
    CUDA_LAUNCH(
        be, "lowrank_up", shape.rows, shape.columns,
        launch_lowrank_up(view_of(y), view_of(u), factor, mask, shape, cuda_of(be)->stream));
    return PB_OK;
}

/* The gradient of a factor += alpha · uᵀ · drop(x). */
static pb_status gradient(pb_backend *be, low_rank_factor g, const pb_tensor *u, const pb_tensor *x,
                          drop_mask mask, float alpha)
{
    low_rank_shape shape = shape_of(be, x, u->shape[1], alpha);
    void *parts          = NULL;
    PB_TRY(cuda_scratch(be, cuda_bytes(lowrank_grad_parts(shape), sizeof(float)), &parts));
    CUDA_LAUNCH(
        be, "lowrank_grad", shape.rows, shape.columns,
        launch_lowrank_grad(g, parts, view_of(u), view_of(x), mask, shape, cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_low_rank_down(pb_backend *be, pb_tensor *kept, pb_tensor *u, const pb_tensor *x,
                             const pb_low_rank *part)
{
    drop_mask mask;

    PB_TRY(check_input(be, "low rank down", part, x, kept));
    PB_TRY(find_mask(be, part, &mask));
    PB_TRY(cuda_timer_begin(be, false));
    PB_TRY(down(be, kept, u, x, factor_a(&part->a), mask, 1.0f));
    return cuda_timer_end(be);
}

pb_status cuda_low_rank_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                const pb_low_rank *part, pb_tensor *kept, const pb_tensor *room)
{
    if (is_composed(part)) {
        return low_rank_forward_composed(be, y, x, part, kept, room);
    }
    drop_mask mask;
    PB_TRY(check_part(be, "low rank forward", part, x, y, kept));
    PB_TRY(find_mask(be, part, &mask));
    PB_TRY(cuda_timer_begin(be, false));
    PB_TRY(down(be, kept, NULL, x, factor_a(&part->a), mask, 1.0f));
    PB_TRY(up(be, y, kept, factor_b(&part->b), (drop_mask){0}, part->scale, true));
    return cuda_timer_end(be);
}

static pb_status check_gradients(const char *op, const pb_low_rank *part, const pb_tensor *x)
{
    int64_t r = part->a.shape[0];
    if (!pb_tensor_is_none(&part->da)) {
        PB_TRY(check_matrix(op, "dA", &part->da, r, x->shape[1]));
    }
    if (!pb_tensor_is_none(&part->db)) {
        PB_TRY(check_matrix(op, "dB", &part->db, part->b.shape[0], r));
    }
    return PB_OK;
}

pb_status cuda_low_rank_gradients(pb_backend *be, pb_tensor *du, const pb_tensor *dy,
                                  const pb_tensor *x, pb_low_rank *part, const pb_tensor *kept)
{
    static const char op[] = "low rank backward";
    const drop_mask all    = {0};
    drop_mask mask;

    PB_TRY(check_part(be, op, part, x, dy, kept));
    PB_TRY(check_gradients(op, part, x));
    PB_TRY(find_mask(be, part, &mask));
    PB_TRY(cuda_timer_begin(be, false));
    if (!pb_tensor_is_none(&part->db)) {
        PB_TRY(gradient(be, factor_b(&part->db), kept, dy, all, part->scale));
    }
    PB_TRY(down(be, du, NULL, dy, factor_b(&part->b), all, part->scale));
    if (!pb_tensor_is_none(&part->da)) {
        PB_TRY(gradient(be, factor_a(&part->da), du, x, mask, 1.0f));
    }
    return cuda_timer_end(be);
}

pb_status cuda_low_rank_backward(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                                 const pb_tensor *x, pb_low_rank *part, const pb_tensor *kept,
                                 const pb_tensor *room, bool add)
{
    static const char op[] = "low rank backward";
    drop_mask mask;

    if (is_composed(part)) {
        return low_rank_backward_composed(be, dx, dy, x, part, kept, room, add);
    }
    PB_TRY(check_rows(be, op, "room", room, x->shape[0], ANY));
    if (room->shape[1] < kept->shape[1]) {
        return PB_FAIL(PB_ERR_SHAPE, "%s: the room has %lld columns, %lld are taken", op,
                       (long long)room->shape[1], (long long)kept->shape[1]);
    }
    pb_tensor du = pb_tensor_columns(room, 0, kept->shape[1]);
    PB_TRY(cuda_low_rank_gradients(be, &du, dy, x, part, kept));
    if (pb_tensor_is_none(dx)) {
        return PB_OK;
    }
    PB_TRY(check_rows(be, op, "dx", dx, x->shape[0], x->shape[1]));
    PB_TRY(find_mask(be, part, &mask));
    PB_TRY(cuda_timer_begin(be, false));
    PB_TRY(up(be, dx, &du, factor_a(&part->a), mask, 1.0f, add));
    return cuda_timer_end(be);
}
