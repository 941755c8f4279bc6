// SPDX-License-Identifier: Apache-2.0
/* The checked front of attention: shapes, the forest itself, the wanted rows; and the number of
 * query-key pairs, which is what attention costs. */
#include "check.h"

#include "pb/clock.h"

#include <inttypes.h>

static pb_status check_segment(const char *op, const pb_forest *forest, int64_t i, int64_t row)
{
    const pb_segment *s = &forest->segments[i];

    if (s->rows < 0 || s->rows > s->length || s->key < 0 || s->key > forest->keys - s->length) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "%s: segment %" PRId64 " has %" PRId64 " rows and keys %" PRId64
                       " … %" PRId64 " of %" PRId64,
                       op, i, s->rows, s->key, s->key + s->length - 1, forest->keys);
    }
    if (s->rows > 0 && s->row != row) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "%s: segment %" PRId64 " starts at row %" PRId64
                       ", the one before ends at %" PRId64,
                       op, i, s->row, row);
    }
    if (s->parent < -1 || s->parent >= i) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "%s: segment %" PRId64 " has parent %" PRId32 ", which is not before it", op,
                       i, s->parent);
    }
    return PB_OK;
}

static pb_status check_forest(const char *op, const pb_attention_args *args)
{
    const pb_forest *forest = args->forest;
    int64_t row             = 0;

    if (forest == NULL || (forest->segments == NULL && forest->count > 0)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s: the forest is missing", op);
    }
    for (int64_t i = 0; i < forest->count; i++) {
        PB_TRY(check_segment(op, forest, i, row));
        row += forest->segments[i].rows;
    }
    if (row != forest->rows) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "%s: segments have %" PRId64 " rows, the forest says %" PRId64, op, row,
                       forest->rows);
    }
    if (args->only_rows == NULL) {
        return PB_OK;
    }
    PB_TRY(check_indices(op, "only_rows", args->only_rows, args->only_count, 0, forest->rows));
    for (int64_t i = 1; i < args->only_count; i++) {
        if (args->only_rows[i] <= args->only_rows[i - 1]) {
            return PB_FAIL(PB_ERR_ARGUMENT,
                           "%s: only_rows[%" PRId64 "] is not above the one before", op, i);
        }
    }
    return PB_OK;
}

/* Gradients by keys are added up per segment: two segments with a key in common would race. */
static pb_status check_disjoint(const char *op, const pb_forest *forest)
{
    const pb_segment *s = forest->segments;
    bool ascending      = true;

    for (int64_t i = 1; i < forest->count; i++) {
        ascending = ascending && s[i].key >= s[i - 1].key + s[i - 1].length;
    }
    for (int64_t i = 0; i < forest->count && !ascending; i++) {
        for (int64_t j = 0; j < i; j++) {
            if (s[i].key < s[j].key + s[j].length && s[j].key < s[i].key + s[i].length) {
                return PB_FAIL(PB_ERR_ARGUMENT,
                               "%s: segments %" PRId64 " and %" PRId64 " have keys in common", op,
                               j, i);
            }
        }
    }
    return PB_OK;
}

static pb_status check_heads(const char *op, const pb_attention_args *args)
{
    if (args == NULL || args->kv_heads < 1 || args->heads < 1 || args->head_dim < 1 ||
        args->heads % args->kv_heads != 0 || args->window < 0) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "%s: heads must be a multiple of kv_heads, head_dim at least 1, window at "
                       "least 0",
                       op);
    }
    return check_forest(op, args);
}

static pb_status check_args(const char *op, const pb_tensor *q, const pb_tensor *keys,
                            const pb_tensor *values, const pb_attention_args *args)
{
    PB_TRY(check_heads(op, args));
    PB_TRY(check_matrix(op, "q", q, pb_query_count(args), args->heads * args->head_dim));
    PB_TRY(check_matrix(op, "keys", keys, PB_ANY, args->kv_heads * args->head_dim));
    PB_TRY(check_matrix(op, "values", values, keys->shape[0], keys->shape[1]));
    if (keys->shape[0] < args->forest->keys) {
        return PB_FAIL(PB_ERR_SHAPE, "%s: the forest uses %" PRId64 " keys, the store has %" PRId64,
                       op, args->forest->keys, keys->shape[0]);
    }
    return PB_OK;
}

/* Visible query-key pairs of one head. */
static double visible_pairs(const pb_attention_args *args)
{
    const pb_forest *forest = args->forest;
    int64_t count           = pb_query_count(args);
    int64_t slot            = 0;
    double pairs            = 0;

    for (int64_t i = 0; i < forest->count; i++) {
        const pb_segment *s = &forest->segments[i];
        for (; slot < count && pb_query_row(args, slot) < s->row + s->rows && s->rows > 0; slot++) {
            int64_t index = pb_query_row(args, slot) - s->row + s->length - s->rows;
            for (int32_t j = (int32_t)i; j >= 0; j = forest->segments[j].parent) {
                text_span span = pb_span_of(forest, j, (int32_t)i);
                int64_t first;
                int64_t end;
                pb_span_visible(&span, index, s->position + index, args->window, &first, &end);
                pairs += (double)(end - first);
            }
        }
    }
    return pairs;
}

/* `products`: multiply-accumulates per pair and dimension, 2 forward and 5 backward. */
static void count_work(pb_backend *be, const pb_attention_args *args, int products, double start)
{
    be->work.attention_flops +=
        2.0 * products * visible_pairs(args) * (double)(args->heads * args->head_dim);
    if (be->timing) {
        be->work.attention_seconds += pb_clock_seconds() - start;
    }
}

pb_status pb_backend_reserve(pb_backend *be, const pb_reserve_args *args)
{
    PB_TRY(check_heads("reserve", args->attention));
    PB_TRY(be->ops->reserve(be, args));
    return PB_OK;
}

pb_status pb_attention_forward(pb_backend *be, pb_tensor *out, pb_tensor *lse, const pb_tensor *q,
                               const pb_tensor *keys, const pb_tensor *values,
                               const pb_attention_args *args)
{
    static const char op[] = "attention forward";

    PB_TRY(check_args(op, q, keys, values, args));
    PB_TRY(check_matrix(op, "out", out, q->shape[0], q->shape[1]));
    PB_TRY(check_matrix(op, "lse", lse, q->shape[0], args->heads));
    if (q->shape[0] == 0) {
        return PB_OK;
    }
    double start = be->timing ? pb_clock_seconds() : 0;
    PB_TRY(be->ops->attention_forward(be, out, lse, q, keys, values, args));
    count_work(be, args, 2, start);
    return PB_OK;
}

pb_status pb_attention_backward(pb_backend *be, pb_tensor *dq, pb_tensor *dkeys, pb_tensor *dvalues,
                                const pb_tensor *dout, const pb_tensor *out, const pb_tensor *lse,
                                const pb_tensor *q, const pb_tensor *keys, const pb_tensor *values,
                                const pb_attention_args *args)
{
    static const char op[] = "attention backward";

    PB_TRY(check_args(op, q, keys, values, args));
    PB_TRY(check_disjoint(op, args->forest));
    PB_TRY(check_matrix(op, "dq", dq, q->shape[0], q->shape[1]));
    PB_TRY(check_matrix(op, "out", out, q->shape[0], q->shape[1]));
    PB_TRY(check_matrix(op, "dout", dout, q->shape[0], q->shape[1]));
    PB_TRY(check_matrix(op, "lse", lse, q->shape[0], args->heads));
    PB_TRY(check_matrix(op, "dkeys", dkeys, keys->shape[0], keys->shape[1]));
    PB_TRY(check_matrix(op, "dvalues", dvalues, keys->shape[0], keys->shape[1]));
    if (q->shape[0] == 0) {
        return PB_OK;
    }
    double start = be->timing ? pb_clock_seconds() : 0;
    PB_TRY(
        be->ops->attention_backward(be, dq, dkeys, dvalues, dout, out, lse, q, keys, values, args));
    count_work(be, args, 5, start);
    return PB_OK;
}
