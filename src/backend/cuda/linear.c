// SPDX-License-Identifier: Apache-2.0
/* Linear sites whose low-rank parts ride in the products of the weight: what is kept is also
 * written beside the rows that the forward reads, and its gradient beside those that the backward
 * reads. All other sites are composed of other operations. */
#include "cuda.h"

/* Columns of borders that the parts take. */
static int64_t border_width(const pb_linear *linear)
{
    int64_t width = 0;
    for (int64_t i = 0; i < linear->count; i++) {
        const pb_linear_part *part = &linear->parts[i];
        int64_t end                = part->column + part->low_rank.a.shape[0];
        width                      = end > width ? end : width;
    }
    return width;
}

static pb_status fill_border(pb_backend *be, const pb_linear *linear)
{
    pb_linear one = *linear;
    pb_scaled_copy copies[2];
    one.count = 1;
    for (int64_t i = 0; i < linear->count && !linear->holds; i++) {
        one.parts = &linear->parts[i];
        pb_linear_border(&one, copies);
        PB_TRY(pb_copy_scaled(be, copies, 2));
    }
    return PB_OK;
}

static bool rides(const pb_linear *linear, const pb_tensor *rows)
{
    return linear->rides && border_width(linear) <= rows->border;
}

static bool drops(const pb_linear *linear)
{
    bool any = false;
    for (int64_t i = 0; i < linear->count; i++) {
        any = any || linear->parts[i].low_rank.dropout > 0.0;
    }
    return any;
}

/* *wide = the rows with what the parts take of their border, *beside: that alone. It is zero where
 * no part is going to write. */
static pb_status widen(pb_backend *be, const pb_linear *linear, const pb_tensor *rows,
                       pb_tensor *wide, pb_tensor *beside)
{
    int64_t width = border_width(linear);
    *wide         = pb_tensor_widen(rows, width);
    *beside       = pb_tensor_columns(wide, rows->shape[1], width);
    return linear->parts[0].low_rank.a.shape[0] < width ? pb_zero(be, beside) : PB_OK;
}

/* The share of a part. */
static pb_tensor part_of(const pb_linear_part *part, const pb_tensor *beside)
{
    pb_tensor rows = pb_tensor_rows(beside, part->first, part->rows);
    return pb_tensor_columns(&rows, part->column, part->low_rank.a.shape[0]);
}

pb_status cuda_linear_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                              const pb_linear *linear)
{
    const pb_matmul_args by_transposed = {.transpose_b = true, .alpha = 1.0f};
    pb_tensor wide, beside;

    if (!rides(linear, x)) {
        return linear_forward_composed(be, y, x, linear);
    }
    PB_TRY(fill_border(be, linear));
    PB_TRY(widen(be, linear, x, &wide, &beside));
    for (int64_t i = 0; i < linear->count; i++) {
        pb_linear_part *part = &linear->parts[i];
        pb_tensor from       = pb_tensor_rows(x, part->first, part->rows);
        pb_tensor u          = part_of(part, &beside);
        PB_TRY(cuda_low_rank_down(be, &part->kept, &u, &from, &part->low_rank));
    }
    pb_tensor weight = pb_tensor_widen(&linear->weight, beside.shape[1]);
    PB_TRY(pb_matmul(be, y, &wide, &weight, &by_transposed));
    return pb_tensor_is_none(&linear->bias) ? PB_OK : pb_bias_forward(be, y, &linear->bias);
}

pb_status cuda_linear_backward(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                               const pb_tensor *x, pb_linear *linear, bool add)
{
    const pb_matmul_args args = {.alpha = 1.0f, .beta = add ? 1.0f : 0.0f};
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
        pb_tensor du         = part_of(part, &beside);
        PB_TRY(cuda_low_rank_gradients(be, &du, &grad, &from, &part->low_rank, &part->kept));
    }
    pb_tensor weight = linear->weight;
    weight.shape[0] += beside.shape[1]; /* A is below W */
    return pb_matmul(be, dx, &wide, &weight, &args);
}
