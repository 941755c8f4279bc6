// SPDX-License-Identifier: Apache-2.0
/* Linear sites whose low-rank parts ride in the products of the weight: what is kept is also
 * written beside the rows that the forward reads, and its gradient beside those that the backward
 * reads. All other sites are composed of other operations. */
#include "cuda.h"

enum { MOST_RIDING = 8 }; /* parts */

static bool rides(const pb_linear *linear, const pb_tensor *rows)
{
    return linear->rides && linear->count <= MOST_RIDING && pb_linear_rank(linear) <= rows->border;
}

static bool drops(const pb_linear *linear)
{
    bool any = false;
    for (int64_t i = 0; i < linear->count; i++) {
        any = any || linear->parts[i].low_rank.dropout > 0.0;
    }
    return any;
}

static pb_status fill_border(pb_backend *be, const pb_linear *linear)
{
    pb_scaled_copy copies[2 * MOST_RIDING];
    if (linear->holds) {
        return PB_OK;
    }
    pb_linear_border(linear, copies);
    return pb_copy_scaled(be, copies, 2 * linear->count);
}

/* *wide = the rows with what the parts take of their border, *beside: that alone. It is zero where
 * several parts leave each other's rows out. */
static pb_status widen(pb_backend *be, const pb_linear *linear, const pb_tensor *rows,
                       pb_tensor *wide, pb_tensor *beside)
{
    int64_t rank = pb_linear_rank(linear);
    *wide        = pb_tensor_widen(rows, rank);
    *beside      = pb_tensor_columns(wide, rows->shape[1], rank);
    return linear->count > 1 ? pb_zero(be, beside) : PB_OK;
}

/* The share of a part that begins at *column, which moves to the next. */
static pb_tensor take_share(const pb_linear_part *part, const pb_tensor *beside, int64_t *column)
{
    int64_t r      = part->low_rank.a.shape[0];
    pb_tensor rows = pb_tensor_rows(beside, part->first, part->rows);
    *column += r;
    return pb_tensor_columns(&rows, *column - r, r);
}

/* y = x Wᵀ and the residual */
static pb_status multiply(pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_tensor *weight,
                          const pb_tensor *residual)
{
    const pb_matmul_args by_transposed = {.transpose_b = true, .alpha = 1.0f};
    return pb_tensor_is_none(residual) ? pb_matmul(be, y, x, weight, &by_transposed)
                                       : cuda_matmul_add(be, y, residual, x, weight);
}

pb_status cuda_linear_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                              const pb_linear *linear)
{
    int64_t column = 0;
    pb_tensor wide, beside;

    if (!rides(linear, x)) {
        PB_TRY(multiply(be, y, x, &linear->weight, &linear->residual));
        return linear_added_forward(be, y, x, linear);
    }
    PB_TRY(fill_border(be, linear));
    PB_TRY(widen(be, linear, x, &wide, &beside));
    for (int64_t i = 0; i < linear->count; i++) {
        pb_linear_part *part = &linear->parts[i];
        pb_tensor from       = pb_tensor_rows(x, part->first, part->rows);
        pb_tensor u          = take_share(part, &beside, &column);
        PB_TRY(cuda_low_rank_down(be, &part->kept, &u, &from, &part->low_rank));
    }
    pb_tensor weight = pb_tensor_widen(&linear->weight, beside.shape[1]);
    PB_TRY(multiply(be, y, &wide, &weight, &linear->residual));
    return pb_tensor_is_none(&linear->bias) ? PB_OK : pb_bias_forward(be, y, &linear->bias);
}

pb_status cuda_linear_backward(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                               const pb_tensor *x, pb_linear *linear, bool add)
{
    const pb_matmul_args args = {.alpha = 1.0f, .beta = add ? 1.0f : 0.0f};
    int64_t column            = 0;
    pb_tensor wide, beside;

    if (!rides(linear, dy) || drops(linear) || pb_tensor_is_none(dx)) {
        return linear_backward_composed(be, dx, dy, x, linear, add);
    }
    PB_TRY(fill_border(be, linear));
    PB_TRY(widen(be, linear, dy, &wide, &beside));
    for (int64_t i = 0; i < linear->count; i++) {
        pb_linear_part *part = &linear->parts[i];
        pb_tensor grad       = pb_tensor_rows(dy, part->first, part->rows);
        pb_tensor from       = pb_tensor_rows(x, part->first, part->rows);
        pb_tensor du         = take_share(part, &beside, &column);
        PB_TRY(cuda_low_rank_gradients(be, &du, &grad, &from, &part->low_rank, &part->kept));
    }
    pb_tensor weight = linear->weight;
    weight.shape[0] += beside.shape[1]; /* A is below W */
    return pb_matmul(be, dx, &wide, &weight, &args);
}
