// SPDX-License-Identifier: Apache-2.0
/* The budget of adalora. A budget of rows falls from init_r to target_r per module, by a cube,
 * between the steps tinit and total_step - tfinal; steps count from 0 here. Every delta_t steps the
 * least important rows, over all modules, get E = 0; in the last tfinal steps they stay there. The
 * importance of an element is the product of two moving averages, of |value · gradient| and of its
 * deviation; that of a row is E's plus the means of A's and B's. */
#include "adalora.h"

#include <inttypes.h>
#include <math.h>

int64_t adalora_rank(const pb_method *m, const pb_site *site)
{
    const pb_trainable *a = site_trainable(m, site, A);
    return a != NULL ? a->shape[0] : 0;
}

pb_status adalora_check_steps(pb_method *m, int64_t steps)
{
    const adalora_options *o = m->options;
    int64_t total            = o->total_step > 0 ? o->total_step : steps;
    if (o->tinit < total - o->tfinal) {
        return PB_OK;
    }
    return method_at(m, o->total_step > 0 ? "total_step" : "tinit", -1,
                     PB_FAIL(PB_ERR_CONFIG,
                             "adalora: tinit %" PRId64 " and tfinal %" PRId64
                             " leave none of %" PRId64 " steps to lower the budget in",
                             o->tinit, o->tfinal, total));
}

static int64_t row_count(const pb_method *m)
{
    int64_t rows = 0;
    for (int64_t i = 0; i < m->count; i += TENSORS) {
        rows += m->trainables[i].shape[0];
    }
    return rows;
}

pb_status adalora_begin_steps(pb_method *m)
{
    adalora_state *state = m->state;
    int64_t rows         = row_count(m);
    int64_t floats       = 2 * m->parameters + 2 * rows;
    if (state->averages != NULL) {
        return PB_OK;
    }
    PB_TRY(pb_backend_alloc(m->backend, (size_t)floats * sizeof(float), &state->averages));
    pb_tensor all      = pb_tensor_1d(state->averages, PB_DTYPE_F32, floats);
    state->sensitivity = pb_tensor_rows(&all, 0, m->parameters);
    state->uncertainty = pb_tensor_rows(&all, m->parameters, m->parameters);
    state->scores      = pb_tensor_rows(&all, 2 * m->parameters, rows);
    state->kept        = pb_tensor_rows(&all, 2 * m->parameters + rows, rows);
    return PB_OK;
}

/* Both averages, in floats as HF PEFT has them. */
static pb_status update_importance(pb_method *m)
{
    const adalora_options *o = m->options;
    adalora_state *state     = m->state;
    return pb_sensitivity(m->backend, &state->sensitivity, &state->uncertainty, &m->values,
                          &m->grads, o->beta1, o->beta2);
}

/* The part of an average that belongs to a tensor. */
static pb_tensor average_of(const pb_method *m, const pb_tensor *average, const pb_trainable *t)
{
    pb_tensor part = t->value;
    part.data      = (float *)average->data + ((float *)t->value.data - (float *)m->values.data);
    return part;
}

/* scores [r] += the means of a tensor's importance, over all that belongs to a row. */
static pb_status add_score(pb_method *m, const pb_trainable *t, bool by_columns, pb_tensor *scores)
{
    const adalora_state *state = m->state;
    pb_tensor sensitivity      = average_of(m, &state->sensitivity, t);
    pb_tensor uncertainty      = average_of(m, &state->uncertainty, t);
    return pb_product_means(m->backend, scores, &sensitivity, &uncertainty, by_columns);
}

/* E = 0 in the rows that are left out. */
static pb_status leave_out(pb_method *m)
{
    const adalora_state *state = m->state;
    int64_t row                = 0;
    for (int64_t i = 0; i < m->count; i += TENSORS) {
        pb_tensor e    = method_flat(&m->trainables[i + E].value);
        pb_tensor kept = pb_tensor_rows(&state->kept, row, e.shape[0]);
        PB_TRY(pb_keep(m->backend, &e, &kept));
        row += e.shape[0];
    }
    return PB_OK;
}

/* The budget still has `share` of what it will lose. */
static pb_status allocate(pb_method *m, double share)
{
    const adalora_options *o = m->options;
    adalora_state *state     = m->state;
    int64_t modules          = m->count / TENSORS;
    int64_t rows             = row_count(m);
    int64_t row              = 0;
    double target            = (double)(o->target_r * modules);
    int64_t budget           = (int64_t)(((double)rows - target) * share + target);
    int64_t dropped          = rows - budget;
    if (dropped <= 0) {
        return PB_OK;
    }
    PB_TRY(pb_zero(m->backend, &state->scores));
    for (int64_t i = 0; i < m->count; i += TENSORS) {
        const pb_trainable *t = &m->trainables[i];
        pb_tensor scores      = pb_tensor_rows(&state->scores, row, t[A].shape[0]);
        PB_TRY(add_score(m, &t[A], false, &scores));
        PB_TRY(add_score(m, &t[B], true, &scores));
        PB_TRY(add_score(m, &t[E], false, &scores));
        row += t[A].shape[0];
    }
    PB_TRY(pb_drop_smallest(m->backend, &state->kept, &state->scores, dropped));
    state->cut = true;
    return leave_out(m);
}

pb_status adalora_archive(pb_method *m, pb_archive *archive)
{
    adalora_state *state = m->state;
    bool begun           = state->averages != NULL;
    PB_TRY(pb_archive_bytes(archive, &state->total, sizeof state->total));
    PB_TRY(pb_archive_bytes(archive, &state->cut, sizeof state->cut));
    PB_TRY(pb_archive_bytes(archive, &begun, sizeof begun));
    PB_TRY(begun ? adalora_begin_steps(m) : PB_OK);
    PB_TRY(pb_archive_tensor(archive, m->backend, &state->sensitivity));
    PB_TRY(pb_archive_tensor(archive, m->backend, &state->uncertainty));
    return pb_archive_tensor(archive, m->backend, &state->kept);
}

pb_status adalora_after_step(pb_method *m, int64_t step, int64_t steps)
{
    const adalora_options *o = m->options;
    adalora_state *state     = m->state;
    int64_t at               = step - 1;
    state->total             = o->total_step > 0 ? o->total_step : steps;
    int64_t last             = state->total - o->tfinal; /* the step that fixes the rows */
    double done              = (double)(at - o->tinit) / (double)(last - o->tinit);
    if (at < last) {
        PB_TRY(update_importance(m));
        return at > o->tinit && at % o->delta_t == 0 ? allocate(m, pow(1.0 - done, 3.0)) : PB_OK;
    }
    if (at == last) {
        return allocate(m, 0.0);
    }
    return state->cut ? leave_out(m) : PB_OK;
}
