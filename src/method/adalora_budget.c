// SPDX-License-Identifier: Apache-2.0
/* The budget of adalora. A budget of rows falls from init_r to target_r per module, by a cube,
 * between the steps tinit and total_step - tfinal; steps count from 0 here. Every delta_t steps the
 * least important rows, over all modules, get E = 0; in the last tfinal steps they stay there. The
 * importance of an element is the product of two moving averages, of |value · gradient| and of its
 * deviation; that of a row is E's plus the means of A's and B's. */
#include "adalora.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* All memory of the schedule, so that later steps allocate nothing. */
static pb_status provide(pb_method *m, bool averages)
{
    adalora_state *state = m->state;
    if (state->out == NULL) {
        PB_TRY(PB_ALLOC(state->out, row_count(m)));
    }
    if (averages && state->sensitivity == NULL) {
        PB_TRY(PB_ALLOC(state->room, 2 * m->parameters));
        PB_TRY(PB_ALLOC(state->uncertainty, m->parameters));
        PB_TRY(PB_ALLOC(state->sensitivity, m->parameters));
    }
    return PB_OK;
}

/* Both averages, in floats as HF PEFT has them. */
static pb_status update_importance(pb_method *m)
{
    const adalora_options *o = m->options;
    adalora_state *state     = m->state;
    int64_t n                = m->parameters;
    float b1 = (float)o->beta1, rest1 = (float)(1.0 - o->beta1);
    float b2 = (float)o->beta2, rest2 = (float)(1.0 - o->beta2);
    PB_TRY(provide(m, true));
    float *values       = state->room;
    float *grads        = state->room + n;
    pb_tensor to_values = pb_tensor_1d(values, PB_DTYPE_F32, n);
    pb_tensor to_grads  = pb_tensor_1d(grads, PB_DTYPE_F32, n);
    PB_TRY(pb_copy(m->backend, &to_values, &m->values));
    PB_TRY(pb_copy(m->backend, &to_grads, &m->grads));
    for (int64_t i = 0; i < n; i++) {
        float now             = fabsf(values[i] * grads[i]);
        state->sensitivity[i] = b1 * state->sensitivity[i] + rest1 * now;
        state->uncertainty[i] =
            b2 * state->uncertainty[i] + rest2 * fabsf(now - state->sensitivity[i]);
    }
    return PB_OK;
}

/* Elements of the three tensors from `first` on, in the order of the parameters. scores [r]. */
static void score(const adalora_state *state, const pb_trainable *t, int64_t first, float *scores)
{
    int64_t r = t[A].shape[0], in = t[A].shape[1], out = t[B].shape[0];
    for (int64_t k = 0; k < r; k++) {
        double a = 0.0, b = 0.0;
        for (int64_t i = 0; i < in; i++) {
            int64_t at = first + k * in + i;
            a += (double)(state->sensitivity[at] * state->uncertainty[at]);
        }
        for (int64_t i = 0; i < out; i++) {
            int64_t at = first + r * in + i * r + k;
            b += (double)(state->sensitivity[at] * state->uncertainty[at]);
        }
        int64_t e = first + r * (in + out) + k;
        scores[k] = state->sensitivity[e] * state->uncertainty[e] +
                    ((float)(a / (double)in) + (float)(b / (double)out));
    }
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* E = 0 where `scores` [rows of all modules] is at most `limit`, which is remembered; scores NULL:
 * where it was. */
static pb_status leave_out(pb_method *m, const float *scores, float limit)
{
    adalora_state *state = m->state;
    int64_t row          = 0;
    for (int64_t s = 0; s < pb_model_site_count(m->model); s++) {
        const pb_site *site = pb_model_site_at(m->model, s);
        int64_t r           = adalora_rank(m, site);
        if (r == 0) {
            continue;
        }
        pb_trainable *e = site_trainable(m, site, E);
        pb_tensor host  = pb_tensor_2d(state->host, PB_DTYPE_F32, r, 1);
        PB_TRY(pb_copy(m->backend, &host, &e->value));
        for (int64_t k = 0; k < r; k++, row++) {
            if (scores != NULL) {
                state->out[row] = scores[row] <= limit;
            }
            state->host[k] = state->out[row] ? 0.0f : state->host[k];
        }
        PB_TRY(pb_copy(m->backend, &e->value, &host));
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
    int64_t row = 0, first = 0;
    double target   = (double)(o->target_r * modules);
    int64_t budget  = (int64_t)(((double)rows - target) * share + target);
    int64_t dropped = rows - budget;
    if (dropped <= 0) {
        return PB_OK;
    }
    float *scores = state->room; /* a row has several parameters */
    float *sorted = state->room + rows;
    for (int64_t i = 0; i < modules; i++) {
        const pb_trainable *t = &m->trainables[i * TENSORS];
        score(state, t, first, scores + row);
        row += t[A].shape[0];
        first += t[A].shape[0] * (t[A].shape[1] + t[B].shape[0] + 1);
    }
    memcpy(sorted, scores, (size_t)rows * sizeof *sorted);
    qsort(sorted, (size_t)rows, sizeof *sorted, by_value);
    state->cut = true;
    return leave_out(m, scores, sorted[dropped - 1]);
}

pb_status adalora_archive(pb_method *m, pb_archive *archive)
{
    adalora_state *state = m->state;
    size_t bytes         = (size_t)m->parameters * sizeof(float);
    bool begun           = state->out != NULL;
    bool averages        = state->sensitivity != NULL;
    PB_TRY(pb_archive_bytes(archive, &begun, sizeof begun));
    if (!begun) {
        return PB_OK;
    }
    PB_TRY(pb_archive_bytes(archive, &averages, sizeof averages));
    PB_TRY(pb_archive_bytes(archive, &state->total, sizeof state->total));
    PB_TRY(pb_archive_bytes(archive, &state->cut, sizeof state->cut));
    if (pb_archive_reads(archive)) {
        PB_TRY(provide(m, averages));
    }
    PB_TRY(pb_archive_bytes(archive, state->out, (size_t)row_count(m) * sizeof *state->out));
    if (averages) {
        PB_TRY(pb_archive_bytes(archive, state->sensitivity, bytes));
        PB_TRY(pb_archive_bytes(archive, state->uncertainty, bytes));
    }
    return PB_OK;
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
    if (at > last) {
        return state->cut ? leave_out(m, NULL, 0.0f) : PB_OK;
    }
    PB_TRY(allocate(m, 0.0));
    pb_memory_free(state->sensitivity);
    pb_memory_free(state->uncertainty);
    pb_memory_free(state->room);
    state->sensitivity = state->uncertainty = state->room = NULL;
    return PB_OK;
}
