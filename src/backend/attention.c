// SPDX-License-Identifier: Apache-2.0
/* The checked front of attention, whose cost is the number of visible query-key pairs. */
#include "check.h"

#include "pb/clock.h"

#include <inttypes.h>

static pb_status check_args(const pb_backend *be, const char *op, const pb_tensor *q,
                            const pb_tensor *keys, const pb_tensor *values,
                            const pb_attention_plan *plan)
{
    const pb_attention_args *args = &plan->args;

    if (plan->parts == NULL) {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s: the plan was never made", op);
    }
    PB_TRY(check_rows(be, op, "q", q, plan->queries, args->heads * args->head_dim));
    PB_TRY(check_rows(be, op, "keys", keys, ANY, args->kv_heads * args->head_dim));
    PB_TRY(check_rows(be, op, "values", values, keys->shape[0], keys->shape[1]));
    if (keys->shape[0] < args->forest->keys) {
        return PB_FAIL(PB_ERR_SHAPE, "%s: the forest uses %" PRId64 " keys, the store has %" PRId64,
                       op, args->forest->keys, keys->shape[0]);
    }
    return PB_OK;
}

/* `products`: multiply-accumulates per pair and dimension, 2 forward and 5 backward. */
static void count_work(pb_backend *be, const pb_attention_plan *plan, int products, double start)
{
    double rate = 2.0 * products * (double)(plan->args.heads * plan->args.head_dim);
    be->rates[plan->index] += rate;
    be->work.attention_flops += rate * plan->pairs;
    if (host_times(be)) {
        be->work.attention_seconds += pb_clock_seconds() - start;
    }
}

pb_status pb_attention_forward(pb_backend *be, pb_tensor *out, pb_tensor *lse, const pb_tensor *q,
                               const pb_tensor *keys, const pb_tensor *values,
                               const pb_attention_plan *plan)
{
    static const char op[] = "attention forward";

    PB_TRY(check_args(be, op, q, keys, values, plan));
    PB_TRY(check_rows(be, op, "out", out, q->shape[0], q->shape[1]));
    PB_TRY(check_matrix(op, "lse", lse, q->shape[0], plan->args.heads));
    if (q->shape[0] == 0) {
        return PB_OK;
    }
    double start = host_times(be) ? pb_clock_seconds() : 0;
    PB_TRY(be->ops->attention_forward(be, out, lse, q, keys, values, plan));
    count_work(be, plan, 2, start);
    return PB_OK;
}

pb_status pb_attention_backward(pb_backend *be, pb_tensor *dq, pb_tensor *dkeys, pb_tensor *dvalues,
                                const pb_tensor *dout, const pb_tensor *out, const pb_tensor *lse,
                                const pb_tensor *q, const pb_tensor *keys, const pb_tensor *values,
                                const pb_attention_plan *plan)
{
    static const char op[] = "attention backward";

    PB_TRY(check_args(be, op, q, keys, values, plan));
    if (!plan->args.backward) {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s: the plan is for a forward pass alone", op);
    }
    PB_TRY(check_rows(be, op, "dq", dq, q->shape[0], q->shape[1]));
    PB_TRY(check_rows(be, op, "out", out, q->shape[0], q->shape[1]));
    PB_TRY(check_rows(be, op, "dout", dout, q->shape[0], q->shape[1]));
    PB_TRY(check_matrix(op, "lse", lse, q->shape[0], plan->args.heads));
    PB_TRY(check_rows(be, op, "dkeys", dkeys, keys->shape[0], keys->shape[1]));
    PB_TRY(check_rows(be, op, "dvalues", dvalues, keys->shape[0], keys->shape[1]));
    double start = host_times(be) ? pb_clock_seconds() : 0;
    PB_TRY(
        be->ops->attention_backward(be, dq, dkeys, dvalues, dout, out, lse, q, keys, values, plan));
    count_work(be, plan, 5, start);
    return PB_OK;
}
