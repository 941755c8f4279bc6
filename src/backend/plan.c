// SPDX-License-Identifier: Apache-2.0
/* Attention plans: the forest and the wanted rows are checked, and the query-key pairs counted,
 * once for all layers of a kind. */
#include "check.h"

#include <inttypes.h>

static pb_status check_segment(const pb_forest *forest, int64_t i, int64_t row)
{
    const pb_segment *s = &forest->segments[i];

    if (s->rows < 0 || s->rows > s->length || s->key < 0 || s->key > forest->keys - s->length) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "attention plan: segment %" PRId64 " has %" PRId64 " rows and keys %" PRId64
                       " … %" PRId64 " of %" PRId64,
                       i, s->rows, s->key, s->key + s->length - 1, forest->keys);
    }
    if (s->rows > 0 && s->row != row) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "attention plan: segment %" PRId64 " starts at row %" PRId64
                       ", the one before ends at %" PRId64,
                       i, s->row, row);
    }
    if (s->parent < -1 || s->parent >= i) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "attention plan: segment %" PRId64 " has parent %" PRId32
                       ", which is not before it",
                       i, s->parent);
    }
    return PB_OK;
}

static pb_status check_forest(const pb_attention_args *args)
{
    const pb_forest *forest = args->forest;
    int64_t row             = 0;

    if (forest == NULL || (forest->segments == NULL && forest->count > 0)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "attention plan: the forest is missing");
    }
    for (int64_t i = 0; i < forest->count; i++) {
        PB_TRY(check_segment(forest, i, row));
        row += forest->segments[i].rows;
    }
    if (row != forest->rows) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "attention plan: segments have %" PRId64 " rows, the forest says %" PRId64,
                       row, forest->rows);
    }
    if (args->only_rows == NULL) {
        return PB_OK;
    }
    PB_TRY(check_indices("only_rows", args->only_rows, args->only_count, 0, forest->rows));
    for (int64_t i = 1; i < args->only_count; i++) {
        if (args->only_rows[i] <= args->only_rows[i - 1]) {
            return PB_FAIL(PB_ERR_ARGUMENT,
                           "attention plan: only_rows[%" PRId64 "] is not above its predecessor",
                           i);
        }
    }
    return PB_OK;
}

/* Gradients of keys are added up per segment: two segments with a key in common would race. */
static pb_status check_disjoint(const pb_forest *forest)
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
                               "attention plan: segments %" PRId64 " and %" PRId64
                               " have keys in common",
                               j, i);
            }
        }
    }
    return PB_OK;
}

static pb_status check_heads(const pb_attention_args *args)
{
    if (args == NULL || args->kv_heads < 1 || args->heads < 1 || args->head_dim < 1 ||
        args->heads % args->kv_heads != 0 || args->window < 0) {
        return PB_FAIL(
            PB_ERR_ARGUMENT,
            "attention plan: heads must be a multiple of kv_heads, head_dim at least 1, window at "
            "least 0");
    }
    PB_TRY(check_forest(args));
    return args->backward ? check_disjoint(args->forest) : PB_OK;
}

/* Visible query-key pairs of one head. */
static double visible_pairs(const pb_attention_args *args)
{
    const pb_forest *forest = args->forest;
    int64_t count           = query_count(args);
    int64_t slot            = 0;
    double pairs            = 0;

    for (int64_t i = 0; i < forest->count; i++) {
        const pb_segment *s = &forest->segments[i];
        for (; slot < count && query_row(args, slot) < s->row + s->rows && s->rows > 0; slot++) {
            int64_t index = query_row(args, slot) - s->row + s->length - s->rows;
            for (int32_t j = (int32_t)i; j >= 0; j = forest->segments[j].parent) {
                key_span span = key_span_of(forest, j, (int32_t)i);
                int64_t first;
                int64_t end;
                key_span_visible(&span, index, s->position + index, args->window, &first, &end);
                pairs += (double)(end - first);
            }
        }
    }
    return pairs;
}

pb_status pb_page_plan(pb_backend *be, const pb_attention_args *args, pb_attention_plan *out)
{
    PB_TRY(check_heads(args));
    if (be->plans == PB_PAGE_PLANS) {
        return PB_FAIL(PB_ERR_ARGUMENT, "attention plan: a page has room for %d plans",
                       PB_PAGE_PLANS);
    }
    pb_attention_plan plan = {.args = *args, .queries = query_count(args), .index = be->plans};
    plan.pairs             = visible_pairs(args);
    PB_TRY(be->ops->page_plan(be, plan.index, &plan));
    be->pairs[plan.index] = plan.pairs;
    be->rates[plan.index] = 0.0;
    be->plans++;
    *out = plan;
    return PB_OK;
}
