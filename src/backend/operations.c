// SPDX-License-Identifier: Apache-2.0
/* The checked fronts of all operations but attention: arguments are looked at once, here, so that
 * tables only compute. Nothing is written when a check fails. */
#include "check.h"

#include "pb/clock.h"

#include <inttypes.h>

pb_status pb_copy(pb_backend *be, pb_tensor *dst, const pb_tensor *src)
{
    char text[96];
    char other[96];

    if (pb_tensor_is_none(dst) || pb_tensor_is_none(src)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "copy: source or destination is missing");
    }
    if (!pb_tensor_same_shape(dst, src)) {
        return PB_FAIL(PB_ERR_SHAPE, "copy: %s to %s", pb_tensor_shape_text(src, text, sizeof text),
                       pb_tensor_shape_text(dst, other, sizeof other));
    }
    if (pb_tensor_count(src) == 0) {
        return PB_OK;
    }
    if (dst->data == NULL || src->data == NULL) {
        return PB_FAIL(PB_ERR_ARGUMENT, "copy: source or destination has no memory");
    }
    return PB_FRAME(be->ops->copy(be, dst, src));
}

pb_status pb_zero(pb_backend *be, pb_tensor *x)
{
    if (pb_tensor_count(x) == 0) {
        return PB_OK;
    }
    if (x->data == NULL) {
        return PB_FAIL(PB_ERR_ARGUMENT, "zero: the tensor has no memory");
    }
    return PB_FRAME(be->ops->zero(be, x));
}

pb_status pb_matmul(pb_backend *be, pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                    const pb_matmul_args *args)
{
    static const char op[] = "matmul";

    if (args == NULL) {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s: no arguments", op);
    }
    PB_TRY(check_rows(be, op, "A", a, ANY, ANY));
    int64_t m     = a->shape[args->transpose_a ? 1 : 0];
    int64_t inner = a->shape[args->transpose_a ? 0 : 1];
    PB_TRY(check_weight(op, args->transpose_b ? "B (transposed)" : "B", b,
                        args->transpose_b ? ANY : inner, args->transpose_b ? inner : ANY));
    int64_t n = b->shape[args->transpose_b ? 0 : 1];
    PB_TRY(check_rows(be, op, "C", c, m, n));
    if (m == 0 || n == 0) {
        return PB_OK;
    }
    if (c->data == a->data || c->data == b->data) {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s: C and a factor share memory", op);
    }
    double start = host_times(be) ? pb_clock_seconds() : 0;
    PB_TRY(be->ops->matmul(be, c, a, b, args));
    be->work.matmul_flops += 2.0 * (double)m * (double)n * (double)inner;
    if (host_times(be)) {
        double seconds = pb_clock_seconds() - start;
        be->work.matmul_seconds += seconds;
        be->work.part_matmul_seconds[be->part] += seconds;
    }
    return PB_OK;
}

pb_status pb_axpy(pb_backend *be, pb_tensor *y, float alpha, const pb_tensor *x)
{
    PB_TRY(check_rows_like(be, "axpy", "y", y, NULL));
    PB_TRY(check_rows_like(be, "axpy", "x", x, y));
    return PB_FRAME(be->ops->axpy(be, y, alpha, x));
}

pb_status pb_copy_scaled(pb_backend *be, const pb_scaled_copy *copies, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const pb_scaled_copy *copy = &copies[i];
        PB_TRY(check_matrix("copy scaled", "from", &copy->from, ANY, ANY));
        PB_TRY(check_rows_like(be, "copy scaled", "to", &copy->to, &copy->from));
    }
    if (be->ops->copy_scaled != NULL) {
        return PB_FRAME(be->ops->copy_scaled(be, copies, count));
    }
    for (int64_t i = 0; i < count; i++) {
        pb_tensor to = copies[i].to;
        PB_TRY(pb_zero(be, &to));
        PB_TRY(pb_axpy(be, &to, copies[i].scale, &copies[i].from));
    }
    return PB_OK;
}

pb_status pb_embedding_forward(pb_backend *be, pb_tensor *y, const pb_tensor *table,
                               const pb_list *ids, float scale)
{
    static const char op[] = "embedding forward";

    PB_TRY(check_matrix(op, "y", y, ANY, ANY));
    PB_TRY(check_weight(op, "table", table, ANY, y->shape[1]));
    PB_TRY(check_list(op, "ids", ids, y->shape[0], -1, table->shape[0]));
    return PB_FRAME(be->ops->embedding_forward(be, y, table, ids, scale));
}

pb_status pb_embedding_backward(pb_backend *be, pb_tensor *dtable, const pb_tensor *dy,
                                const pb_list *ids, float scale)
{
    static const char op[] = "embedding backward";

    PB_TRY(check_matrix(op, "dy", dy, ANY, ANY));
    PB_TRY(check_matrix(op, "dtable", dtable, ANY, dy->shape[1]));
    PB_TRY(check_list(op, "ids", ids, dy->shape[0], -1, dtable->shape[0]));
    return PB_FRAME(be->ops->embedding_backward(be, dtable, dy, ids, scale));
}

pb_status pb_gather(pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_list *rows)
{
    PB_TRY(check_rows(be, "gather", "y", y, ANY, ANY));
    PB_TRY(check_rows(be, "gather", "x", x, ANY, y->shape[1]));
    PB_TRY(check_list("gather", "rows", rows, y->shape[0], 0, x->shape[0]));
    return PB_FRAME(be->ops->gather(be, y, x, rows));
}

pb_status pb_scatter_add(pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_list *rows)
{
    PB_TRY(check_rows(be, "scatter add", "x", x, ANY, ANY));
    PB_TRY(check_rows(be, "scatter add", "y", y, ANY, x->shape[1]));
    PB_TRY(check_list("scatter add", "rows", rows, x->shape[0], 0, y->shape[0]));
    return PB_FRAME(be->ops->scatter_add(be, y, x, rows));
}

pb_status pb_put_rows(pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_list *rows)
{
    PB_TRY(check_rows(be, "put rows", "x", x, ANY, ANY));
    PB_TRY(check_rows(be, "put rows", "y", y, ANY, x->shape[1]));
    PB_TRY(check_list("put rows", "rows", rows, x->shape[0], 0, y->shape[0]));
    return PB_FRAME(be->ops->put_rows(be, y, x, rows));
}

pb_status pb_rmsnorm_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                             const pb_tensor *weight, const pb_rmsnorm_args *args)
{
    static const char op[] = "rmsnorm forward";

    PB_TRY(check_rows(be, op, "x", x, ANY, ANY));
    PB_TRY(check_rows(be, op, "y", y, x->shape[0], x->shape[1]));
    PB_TRY(check_vector(op, "weight", weight, x->shape[1]));
    return PB_FRAME(be->ops->rmsnorm_forward(be, y, x, weight, args));
}

pb_status pb_rmsnorm_backward(pb_backend *be, pb_tensor *dx, pb_tensor *dweight,
                              const pb_tensor *dy, const pb_tensor *x, const pb_tensor *weight,
                              const pb_rmsnorm_args *args)
{
    static const char op[] = "rmsnorm backward";

    PB_TRY(check_rows(be, op, "x", x, ANY, ANY));
    PB_TRY(check_rows(be, op, "dx", dx, x->shape[0], x->shape[1]));
    PB_TRY(check_rows(be, op, "dy", dy, x->shape[0], x->shape[1]));
    PB_TRY(check_vector(op, "weight", weight, x->shape[1]));
    if (dweight != NULL) {
        PB_TRY(check_vector(op, "dweight", dweight, x->shape[1]));
    }
    if (dx->data == dy->data && pb_tensor_count(dx) > 0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s: dx and dy share memory", op);
    }
    return PB_FRAME(be->ops->rmsnorm_backward(be, dx, dweight, dy, x, weight, args));
}

pb_status pb_rope(pb_backend *be, pb_tensor *x, const pb_tensor *table, const pb_list *positions,
                  int64_t heads, bool inverse)
{
    static const char op[] = "rope";

    PB_TRY(check_rows(be, op, "x", x, ANY, ANY));
    if (heads < 1 || x->shape[1] % (2 * heads) != 0) {
        return PB_FAIL(PB_ERR_SHAPE,
                       "%s: %" PRId64 " columns are not %" PRId64 " heads of even width", op,
                       x->shape[1], heads);
    }
    PB_TRY(check_matrix(op, "table", table, ANY, x->shape[1] / heads));
    PB_TRY(check_list(op, "positions", positions, x->shape[0], 0, table->shape[0]));
    return PB_FRAME(be->ops->rope(be, x, table, positions, heads, inverse));
}

static pb_status check_activation(const char *op, pb_activation act)
{
    if ((int)act < PB_ACTIVATION_SILU || act > PB_ACTIVATION_SIGMOID) {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s: activation %d does not exist", op, (int)act);
    }
    return PB_OK;
}

pb_status pb_gated_forward(pb_backend *be, pb_tensor *y, const pb_tensor *gate, const pb_tensor *up,
                           pb_activation act)
{
    static const char op[] = "gated forward";

    PB_TRY(check_activation(op, act));
    PB_TRY(check_rows_like(be, op, "gate", gate, NULL));
    PB_TRY(check_rows_like(be, op, "up", up, gate));
    PB_TRY(check_rows_like(be, op, "y", y, gate));
    return PB_FRAME(be->ops->gated_forward(be, y, gate, up, act));
}

pb_status pb_gated_backward(pb_backend *be, pb_tensor *dgate, pb_tensor *dup, const pb_tensor *dy,
                            const pb_tensor *gate, const pb_tensor *up, pb_activation act)
{
    static const char op[] = "gated backward";

    PB_TRY(check_activation(op, act));
    PB_TRY(check_rows_like(be, op, "gate", gate, NULL));
    PB_TRY(check_rows_like(be, op, "up", up, gate));
    PB_TRY(check_rows_like(be, op, "dy", dy, gate));
    PB_TRY(check_rows_like(be, op, "dgate", dgate, gate));
    PB_TRY(check_rows_like(be, op, "dup", dup, gate));
    return PB_FRAME(be->ops->gated_backward(be, dgate, dup, dy, gate, up, act));
}

pb_status pb_activation_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x, pb_activation act)
{
    static const char op[] = "activation forward";

    PB_TRY(check_activation(op, act));
    PB_TRY(check_rows_like(be, op, "x", x, NULL));
    PB_TRY(check_rows_like(be, op, "y", y, x));
    return PB_FRAME(be->ops->activation_forward(be, y, x, act));
}

pb_status pb_activation_backward(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                                 const pb_tensor *x, pb_activation act)
{
    static const char op[] = "activation backward";

    PB_TRY(check_activation(op, act));
    PB_TRY(check_rows_like(be, op, "x", x, NULL));
    PB_TRY(check_rows_like(be, op, "dy", dy, x));
    PB_TRY(check_rows_like(be, op, "dx", dx, x));
    return PB_FRAME(be->ops->activation_backward(be, dx, dy, x, act));
}

pb_status pb_column_scale_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                  const pb_tensor *scale)
{
    static const char op[] = "column scale forward";

    PB_TRY(check_rows(be, op, "x", x, ANY, ANY));
    PB_TRY(check_rows(be, op, "y", y, x->shape[0], x->shape[1]));
    PB_TRY(check_vector(op, "scale", scale, x->shape[1]));
    return PB_FRAME(be->ops->column_scale_forward(be, y, x, scale));
}

pb_status pb_column_scale_backward(pb_backend *be, pb_tensor *dx, pb_tensor *dscale,
                                   const pb_tensor *dy, const pb_tensor *x, const pb_tensor *scale)
{
    static const char op[] = "column scale backward";

    PB_TRY(check_rows(be, op, "x", x, ANY, ANY));
    PB_TRY(check_rows(be, op, "dy", dy, x->shape[0], x->shape[1]));
    PB_TRY(check_rows(be, op, "dx", dx, x->shape[0], x->shape[1]));
    PB_TRY(check_vector(op, "scale", scale, x->shape[1]));
    PB_TRY(check_vector(op, "dscale", dscale, x->shape[1]));
    return PB_FRAME(be->ops->column_scale_backward(be, dx, dscale, dy, x, scale));
}

pb_status pb_bias_forward(pb_backend *be, pb_tensor *y, const pb_tensor *bias)
{
    PB_TRY(check_rows(be, "bias forward", "y", y, ANY, ANY));
    PB_TRY(check_vector("bias forward", "bias", bias, y->shape[1]));
    return PB_FRAME(be->ops->bias_forward(be, y, bias));
}

pb_status pb_bias_backward(pb_backend *be, pb_tensor *dbias, const pb_tensor *dy)
{
    PB_TRY(check_rows(be, "bias backward", "dy", dy, ANY, ANY));
    PB_TRY(check_vector("bias backward", "dbias", dbias, dy->shape[1]));
    return PB_FRAME(be->ops->bias_backward(be, dbias, dy));
}

pb_status pb_dropout(pb_backend *be, pb_tensor *y, const pb_tensor *x, double p,
                     const pb_mask *mask)
{
    PB_TRY(check_rows(be, "dropout", "x", x, ANY, ANY));
    PB_TRY(check_rows(be, "dropout", "y", y, x->shape[0], x->shape[1]));
    if (!(p >= 0 && p < 1)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "dropout: p is %g, allowed are 0 to below 1", p);
    }
    return PB_FRAME(be->ops->dropout(be, y, x, p, mask));
}

pb_status pb_cross_entropy(pb_backend *be, pb_tensor *losses, pb_tensor *logits,
                           const pb_list *targets, const pb_tensor *grad_scale)
{
    static const char op[] = "cross entropy";

    PB_TRY(check_matrix(op, "logits", logits, ANY, ANY));
    if (grad_scale != NULL) {
        PB_TRY(check_vector(op, "grad_scale", grad_scale, 1));
    }
    PB_TRY(check_list(op, "targets", targets, logits->shape[0], -1, logits->shape[1]));
    PB_TRY(check_numbers(op, "losses", losses, logits->shape[0]));
    return PB_FRAME(be->ops->cross_entropy(be, losses, logits, targets, grad_scale));
}

pb_status pb_loss_sum(pb_backend *be, pb_tensor *sum, const pb_tensor *losses, double divisor,
                      double factor)
{
    PB_TRY(check_numbers("loss sum", "losses", losses, ANY));
    PB_TRY(check_numbers("loss sum", "sum", sum, 1));
    return PB_FRAME(be->ops->loss_sum(be, sum, losses, divisor, factor));
}

pb_status pb_argmax(pb_backend *be, pb_tensor *indices, pb_tensor *largest, const pb_tensor *logits)
{
    static const char op[] = "argmax";

    PB_TRY(check_matrix(op, "logits", logits, ANY, ANY));
    if (logits->shape[0] == 0) {
        return PB_OK;
    }
    PB_TRY(check_vector(op, "largest", largest, logits->shape[0]));
    if (indices->dtype != PB_DTYPE_I32 || !pb_tensor_same_shape(indices, largest) ||
        indices->data == NULL || logits->shape[1] == 0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s: no columns, or indices that are not I32 [%" PRId64 "]",
                       op, logits->shape[0]);
    }
    return PB_FRAME(be->ops->argmax(be, indices, largest, logits));
}

pb_status pb_sum_squares(pb_backend *be, pb_tensor *out, const pb_tensor *x)
{
    PB_TRY(check_like("sum of squares", "x", x, NULL));
    PB_TRY(check_numbers("sum of squares", "out", out, 1));
    return PB_FRAME(be->ops->sum_squares(be, out, x));
}

pb_status pb_clip(pb_backend *be, pb_tensor *x, const pb_tensor *numbers, double limit)
{
    PB_TRY(check_like("clip", "x", x, NULL));
    PB_TRY(check_numbers("clip", "numbers", numbers, PB_NUMBERS));
    return PB_FRAME(be->ops->clip(be, x, numbers, limit));
}

pb_status pb_adamw(pb_backend *be, const pb_adamw_tensor *tensors, int64_t count,
                   pb_tensor *numbers, const pb_adamw_args *args)
{
    static const char op[] = "adamw";

    if (args == NULL || args->step < 1 || !(args->beta1 >= 0 && args->beta1 < 1) ||
        !(args->beta2 >= 0 && args->beta2 < 1)) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "%s: steps count from 1, beta1 and beta2 are at least 0 and below 1", op);
    }
    PB_TRY(check_numbers(op, "numbers", numbers, PB_NUMBERS));
    for (int64_t i = 0; i < count; i++) {
        const pb_adamw_tensor *t = &tensors[i];
        PB_TRY(check_like(op, "value", &t->value, NULL));
        PB_TRY(check_like(op, "first", &t->first, &t->value));
        PB_TRY(check_like(op, "second", &t->second, &t->value));
        PB_TRY(check_like(op, "grad", &t->grad, &t->value));
    }
    return PB_FRAME(be->ops->adamw(be, tensors, count, numbers, args));
}

pb_status pb_inverse_norms(pb_backend *be, pb_tensor *y, const pb_tensor *squares,
                           const pb_tensor *a, const pb_tensor *b)
{
    static const char op[] = "inverse norms";

    PB_TRY(check_matrix(op, "b", b, ANY, ANY));
    PB_TRY(check_matrix(op, "a", a, b->shape[1], b->shape[0]));
    PB_TRY(check_numbers(op, "squares", squares, b->shape[0]));
    PB_TRY(check_vector(op, "y", y, b->shape[0]));
    return PB_FRAME(be->ops->inverse_norms(be, y, squares, a, b));
}

pb_status pb_identity_distance(pb_backend *be, pb_tensor *norm, pb_tensor *gram, double weight)
{
    static const char op[] = "identity distance";

    PB_TRY(check_matrix(op, "gram", gram, ANY, ANY));
    PB_TRY(check_matrix(op, "gram", gram, gram->shape[1], ANY));
    PB_TRY(check_numbers(op, "norm", norm, 1));
    return PB_FRAME(be->ops->identity_distance(be, norm, gram, weight));
}

pb_status pb_sensitivity(pb_backend *be, pb_tensor *mean, pb_tensor *deviation,
                         const pb_tensor *value, const pb_tensor *grad, double beta1, double beta2)
{
    static const char op[] = "sensitivity";

    int64_t n = pb_tensor_count(mean);
    PB_TRY(check_vector(op, "mean", mean, n));
    PB_TRY(check_vector(op, "deviation", deviation, n));
    PB_TRY(check_vector(op, "value", value, n));
    PB_TRY(check_vector(op, "grad", grad, n));
    return PB_FRAME(be->ops->sensitivity(be, mean, deviation, value, grad, beta1, beta2));
}

pb_status pb_product_means(pb_backend *be, pb_tensor *y, const pb_tensor *a, const pb_tensor *b,
                           bool by_columns)
{
    static const char op[] = "product means";

    PB_TRY(check_matrix(op, "a", a, ANY, ANY));
    PB_TRY(check_matrix(op, "b", b, a->shape[0], a->shape[1]));
    PB_TRY(check_vector(op, "y", y, a->shape[by_columns ? 1 : 0]));
    if (a->shape[by_columns ? 0 : 1] == 0) {
        return PB_FAIL(PB_ERR_SHAPE, "%s: there is no mean of nothing", op);
    }
    return PB_FRAME(be->ops->product_means(be, y, a, b, by_columns));
}

pb_status pb_drop_smallest(pb_backend *be, pb_tensor *kept, const pb_tensor *scores, int64_t count)
{
    static const char op[] = "drop smallest";

    PB_TRY(check_vector(op, "scores", scores, pb_tensor_count(scores)));
    PB_TRY(check_vector(op, "kept", kept, pb_tensor_count(scores)));
    if (count < 1 || count > pb_tensor_count(scores)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s: %" PRId64 " of %" PRId64 " scores", op, count,
                       pb_tensor_count(scores));
    }
    return PB_FRAME(be->ops->drop_smallest(be, kept, scores, count));
}

pb_status pb_keep(pb_backend *be, pb_tensor *x, const pb_tensor *kept)
{
    PB_TRY(check_vector("keep", "x", x, pb_tensor_count(x)));
    PB_TRY(check_vector("keep", "kept", kept, pb_tensor_count(x)));
    return PB_FRAME(be->ops->keep(be, x, kept));
}
