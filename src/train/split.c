// SPDX-License-Identifier: Apache-2.0
/* A step whose passes are split. Every part's gradient is computed from zero and kept in host
 * memory; all are added up in order. So the sums are the same whether one process computes all
 * parts or several share them. */
#include "internal.h"

#include "pb/memory.h"
#include "pb/usage.h"

#include <inttypes.h>
#include <string.h>

struct parts {
    const pb_train_helpers *helpers; /* NULL: none */
    int64_t count;                   /* of a step */
    pb_train_share *shares;          /* [parts] */
    float *grads;                    /* [parts · parameters] of the shares */
    float *values;                   /* [parameters], for helpers; NULL before the first one */
    bool *done;                      /* [parts] */
    int64_t given;                   /* to helpers and not taken back yet */
};

double products_done(pb_backend *be)
{
    return pb_backend_flops(pb_backend_work_get(be));
}

/* The share of a packed batch; `loss`: F64 [1] in backend memory. */
static pb_status compute(pb_network *net, pb_method *method, const pb_batch *batch,
                         double grad_scale, uint64_t pass, pb_tensor *loss, pb_train_share *share)
{
    pb_backend *be      = pb_network_backend(net);
    double before       = products_done(be);
    pb_tensor grads     = pb_tensor_1d(share->grads, PB_DTYPE_F32, method->parameters);
    pb_tensor host_loss = pb_tensor_1d(&share->loss, PB_DTYPE_F64, 1);
    PB_TRY(pb_zero(be, &method->grads));
    PB_TRY(pb_zero(be, loss));
    if (batch->labels > 0) {
        PB_TRY(pb_network_step(net, batch, grad_scale, pass, loss));
    }
    PB_TRY(pb_copy(be, &grads, &method->grads));
    PB_TRY(pb_copy(be, &host_loss, loss));
    share->flops  = products_done(be) - before;
    share->tokens = batch->tokens;
    return PB_OK;
}

/* ---------------------------------------------------------------- in another process */

static pb_status pack(const pb_network *net, const pb_train_data *data, const pb_train_part *part,
                      pb_batch *batch)
{
    pb_batch_options packing = pb_network_batch_options(net, true);
    pb_sample *rows          = NULL;
    PB_TRY(PB_ALLOC(rows, part->count));
    for (int64_t i = 0; i < part->count; i++) {
        rows[i] = data->train[part->rows[i]];
    }
    pb_status status = pb_batch_rebuild(rows, part->count, &packing, batch);
    pb_memory_free(rows);
    return status;
}

pb_status pb_train_help(pb_network *net, pb_method *method, const pb_train_data *data,
                        const pb_train_part *part, const float *values, pb_train_share *share)
{
    pb_backend *be   = pb_network_backend(net);
    pb_tensor theirs = pb_tensor_1d((float *)values, PB_DTYPE_F32, method->parameters);
    pb_batch batch   = {0};
    pb_tensor loss   = {0};
    pb_status status = PB_OK;
    for (int64_t i = 0; i < part->count; i++) {
        if (part->rows[i] < 0 || part->rows[i] >= data->train_count) {
            return PB_FAIL(PB_ERR_ARGUMENT, "training row %" PRId64 " of %" PRId64, part->rows[i],
                           data->train_count);
        }
    }
    PB_TRY_GOTO(status, pb_copy(be, &method->values, &theirs), done);
    PB_TRY_GOTO(status, pb_method_values_changed(method), done);
    PB_TRY_GOTO(status, pack(net, data, part, &batch), done);
    PB_TRY_GOTO(status, pb_backend_vector(be, PB_DTYPE_F64, 1, &loss), done);
    PB_TRY_GOTO(status, compute(net, method, &batch, part->grad_scale, part->pass, &loss, share),
                done);
done:
    pb_batch_clear(&batch);
    pb_backend_free(be, loss.data);
    return status;
}

/* ---------------------------------------------------------------- in the process that trains */

pb_status parts_open(const member *t, const pb_train_helpers *helpers, parts **out)
{
    int64_t n = t->method->parameters;
    parts *s  = NULL;
    pb_status status;
    PB_TRY(PB_ALLOC(s, 1));
    s->helpers = helpers;
    s->count   = t->options->accumulate * t->options->split;
    PB_TRY_GOTO(status, PB_ALLOC(s->shares, s->count), fail);
    PB_TRY_GOTO(status, PB_ALLOC(s->done, s->count), fail);
    PB_TRY_GOTO(status, PB_ALLOC(s->grads, s->count * n), fail);
    for (int64_t i = 0; i < s->count; i++) {
        s->shares[i].grads = s->grads + i * n;
    }
    *out = s;
    return PB_OK;
fail:
    parts_close(s);
    return status;
}

void parts_close(parts *s)
{
    if (s != NULL) {
        pb_memory_free(s->shares);
        pb_memory_free(s->done);
        pb_memory_free(s->grads);
        pb_memory_free(s->values);
        pb_memory_free(s);
    }
}

static uint64_t pass_of(const parts *s, int64_t number, int64_t part)
{
    return (uint64_t)((number - 1) * s->count + part);
}

static double grad_scale(const member *t, int64_t number)
{
    return 1.0 / (double)t->posted[number % PB_SLOTS].step.label_tokens;
}

static pb_status compute_here(member *t, int64_t number, int64_t part)
{
    parts *s        = t->parts;
    bool has_labels = false;
    if (wants_stop(t->observer)) {
        return PB_FAIL(PB_STOPPED, "stopped before step %" PRId64 " of %" PRId64, number, t->steps);
    }
    PB_TRY(member_pack(t, part, &has_labels));
    PB_TRY(compute(t->net, t->method, &t->batch, grad_scale(t, number), pass_of(s, number, part),
                   &t->loss, &s->shares[part]));
    s->shares[part].flops = 0.0; /* the backend here counts it */
    s->done[part]         = true;
    return PB_OK;
}

/* Parts without rows, as the last step of an epoch may have them, add nothing. */
static void begin(member *t)
{
    parts *s = t->parts;
    for (int64_t part = 0; part < s->count; part++) {
        int64_t first;
        s->shares[part] = (pb_train_share){.grads = s->shares[part].grads};
        s->done[part]   = member_part_rows(t, part, &first) == 0;
        if (s->done[part]) {
            memset(s->shares[part].grads, 0, (size_t)t->method->parameters * sizeof(float));
        }
    }
}

/* Deals the parts out in turn, the first to this process. */
static pb_status give(member *t, int64_t number)
{
    parts *s        = t->parts;
    int64_t helpers = s->helpers != NULL ? s->helpers->count(s->helpers->context) : 0;
    int64_t n       = t->method->parameters;
    int64_t next    = 0;
    if (helpers == 0) {
        return PB_OK;
    }
    PB_TRY(s->values == NULL ? PB_ALLOC(s->values, n) : PB_OK);
    pb_tensor values = pb_tensor_1d(s->values, PB_DTYPE_F32, n);
    PB_TRY(pb_copy(t->backend, &values, &t->method->values));
    for (int64_t part = 0; part < s->count; part++) {
        pb_train_part piece = {.pass       = pass_of(s, number, part),
                               .grad_scale = grad_scale(t, number)};
        int64_t first;
        piece.count = member_part_rows(t, part, &first);
        piece.rows  = t->row_numbers + first;
        if (s->done[part] || next++ % (helpers + 1) == 0) {
            continue;
        }
        PB_TRY(s->helpers->give(s->helpers->context, (next - 1) % (helpers + 1) - 1, part, &piece,
                                s->values));
        s->done[part] = true;
        s->given++;
    }
    return PB_OK;
}

/* Takes all parts back; those that helpers could not compute are left. */
static pb_status take(parts *s)
{
    while (s->given > 0) {
        int64_t part = -1;
        bool done    = false;
        PB_TRY(s->helpers->take(s->helpers->context, s->shares, &part, &done));
        s->given--;
        s->done[part] = done;
    }
    return PB_OK;
}

static pb_status compute_rest(member *t, int64_t number)
{
    for (int64_t part = 0; part < t->parts->count; part++) {
        PB_TRY(t->parts->done[part] ? PB_OK : compute_here(t, number, part));
    }
    return PB_OK;
}

/* Nothing may be on its way to a helper when this ends. */
static pb_status compute_all(member *t, int64_t number)
{
    pb_status status = give(t, number);
    if (status == PB_OK) {
        status = compute_rest(t, number);
    }
    PB_TRY(take(t->parts));
    PB_TRY(status);
    return compute_rest(t, number);
}

static void add(float *restrict sum, const float *restrict more, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        sum[i] += more[i];
    }
}

pb_status split_step(member *t, int64_t number)
{
    parts *s            = t->parts;
    int64_t n           = t->method->parameters;
    member_step *posted = &t->posted[number % PB_SLOTS];
    double loss         = 0.0;
    begin(t);
    PB_TRY(compute_all(t, number));
    for (int64_t part = 0; part < s->count; part++) {
        const pb_train_share *share = &s->shares[part];
        loss += share->loss;
        posted->elsewhere += share->flops;
        posted->step.tokens += share->tokens;
        if (part > 0) {
            add(s->grads, share->grads, n);
        }
    }
    pb_tensor grads     = pb_tensor_1d(s->grads, PB_DTYPE_F32, n);
    pb_tensor host_loss = pb_tensor_1d(&loss, PB_DTYPE_F64, 1);
    PB_TRY(pb_copy(t->backend, &t->method->grads, &grads));
    return pb_copy(t->backend, &t->loss, &host_loss);
}
