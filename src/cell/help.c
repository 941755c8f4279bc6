// SPDX-License-Identifier: Apache-2.0
/* Helping with a cell: the process that runs it, its leader, sends parts of its steps to others
 * that have no cell of their own, in letters, and each is answered. The leader is never left
 * without an answer, and never leaves a step with answers outstanding; so the end of the cell needs
 * no letter. */
#include "running.h"

#include "pb/clock.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

/* From the leader; the numbers of the rows and the values [parameters] follow. */
typedef struct question {
    int64_t index;
    uint64_t pass;
    double grad_scale;
    int64_t rows;
} question;

/* To the leader; where `done`, the gradients [parameters] follow. */
typedef struct answer {
    int64_t index, done;
    double loss, flops;
    int64_t tokens;
} answer;

int64_t pb_cell_parts(const pb_cell *cell)
{
    const cell_plan *plan = cell->plan;
    bool trains           = plan->status == PB_OK && plan->prediction.trainable_params > 0;
    return trains ? plan->options.train.split : 1;
}

/* ---------------------------------------------------------------- the leader */

static int64_t count_helpers(void *context)
{
    running *r = context;
    int rank   = -1;
    while ((rank = r->observer->joined(r->observer->context)) >= 0) {
        r->helper_ranks[r->helper_count++] = rank;
    }
    return r->helper_count;
}

static pb_status give(void *context, int64_t helper, int64_t index, const pb_train_part *part,
                      const float *values)
{
    running *r          = context;
    const question head = {
        .index = index, .pass = part->pass, .grad_scale = part->grad_scale, .rows = part->count};
    const size_t rows   = (size_t)part->count * sizeof *part->rows;
    unsigned char *both = NULL;
    PB_TRY(PB_ALLOC(both, sizeof head + rows));
    memcpy(both, &head, sizeof head);
    memcpy(both + sizeof head, part->rows, rows);
    const pb_comm_letter letter = {.head      = both,
                                   .head_size = sizeof head + rows,
                                   .body      = values,
                                   .body_size = (size_t)r->method->parameters * sizeof *values};
    pb_status status            = pb_comm_post(r->env->comm, r->helper_ranks[helper], &letter);
    pb_memory_free(both);
    return status;
}

static void forget(running *r, int rank)
{
    for (int64_t i = 0; i < r->helper_count; i++) {
        if (r->helper_ranks[i] == rank) {
            r->helper_ranks[i] = r->helper_ranks[--r->helper_count];
            return;
        }
    }
}

static pb_status read_answer(running *r, const unsigned char *bytes, size_t size, int rank,
                             pb_train_share *shares, int64_t *index, bool *done)
{
    size_t grads = (size_t)r->method->parameters * sizeof *shares->grads;
    int64_t most = r->options->train.split * r->options->train.accumulate;
    answer head  = {.index = -1};
    if (size >= sizeof head) {
        memcpy(&head, bytes, sizeof head);
    }
    if (head.index < 0 || head.index >= most || size != sizeof head + (head.done ? grads : 0)) {
        return PB_FAIL(PB_ERR_COMM, "rank %d sent a letter of %zu bytes, which is no answer", rank,
                       size);
    }
    *index = head.index;
    *done  = head.done != 0;
    if (!*done) {
        forget(r, rank);
        return PB_OK;
    }
    pb_train_share *share = &shares[head.index];
    share->loss           = head.loss;
    share->flops          = head.flops;
    share->tokens         = head.tokens;
    memcpy(share->grads, bytes + sizeof head, grads);
    return PB_OK;
}

/* Asking for a stop serves the messages between the processes. */
static pb_status take(void *context, pb_train_share *shares, int64_t *index, bool *done)
{
    running *r     = context;
    pb_pause pause = {0};
    void *bytes    = NULL;
    size_t size    = 0;
    int rank       = -1;
    PB_TRY(pb_comm_fetch(r->env->comm, &bytes, &size, &rank));
    while (bytes == NULL) {
        (void)running_wants_stop(r);
        pb_clock_pause(&pause);
        PB_TRY(pb_comm_fetch(r->env->comm, &bytes, &size, &rank));
    }
    pb_status status = read_answer(r, bytes, size, rank, shares, index, done);
    pb_memory_free(bytes);
    return status;
}

pb_status running_helpers(running *r, const pb_train_helpers **out)
{
    *out = NULL;
    if (r->env->comm == NULL || r->observer == NULL || r->observer->joined == NULL) {
        return PB_OK;
    }
    PB_TRY(r->helper_ranks == NULL ? PB_ALLOC(r->helper_ranks, pb_comm_size(r->env->comm)) : PB_OK);
    r->helpers =
        (pb_train_helpers){.context = r, .count = count_helpers, .give = give, .take = take};
    *out = &r->helpers;
    return PB_OK;
}

/* ---------------------------------------------------------------- a helper */

/* A cell that is set up to help, and the letter it works on. */
typedef struct helper {
    running r;
    pb_record record;
    pb_train_data data;
    const pb_cell_call *call;
    float *grads; /* [parameters] */
    bool failed;  /* it computes no more */
} helper;

static pb_status set_up(helper *h)
{
    PB_TRY(running_start(&h->r));
    PB_TRY(running_set_up(&h->r));
    PB_TRY(PB_ALLOC(h->grads, h->r.method->parameters));
    h->data = (pb_train_data){.train       = h->r.rows + h->r.validation_count,
                              .train_count = h->r.train_count};
    return PB_OK;
}

static pb_status compute(helper *h, const question *head, const unsigned char *rest,
                         pb_train_share *share)
{
    pb_train_part part = {.pass = head->pass, .grad_scale = head->grad_scale, .count = head->rows};
    int64_t *rows      = NULL;
    float *values      = NULL;
    size_t bytes       = (size_t)head->rows * sizeof *rows;
    size_t count       = (size_t)h->r.method->parameters;
    pb_status status;
    PB_TRY_GOTO(status, PB_ALLOC(rows, head->rows), done);
    PB_TRY_GOTO(status, PB_ALLOC(values, count), done);
    memcpy(rows, rest, bytes);
    memcpy(values, rest + bytes, count * sizeof *values);
    part.rows = rows;
    PB_TRY_GOTO(status, pb_train_help(h->r.net, h->r.method, &h->data, &part, values, share), done);
done:
    pb_memory_free(rows);
    pb_memory_free(values);
    return status;
}

/* A failure here is no failure of the cell: its leader computes the part. */
static void try_to_compute(helper *h, const question *head, const unsigned char *rest, answer *out)
{
    pb_train_share share = {.grads = h->grads};
    if (h->failed || h->call->stop(h->call->context)) {
        return;
    }
    if (compute(h, head, rest, &share) != PB_OK) {
        pb_log_warn("cell %s/%s/%s/%" PRId64 ": no more help from this process: %s",
                    h->r.cell->name.model, h->r.cell->name.dataset, h->r.cell->name.method,
                    h->r.cell->name.seed, pb_error_message());
        pb_error_clear();
        h->failed = true;
        return;
    }
    out->done   = true;
    out->loss   = share.loss;
    out->flops  = share.flops;
    out->tokens = share.tokens;
}

static pb_status reply(helper *h, const unsigned char *bytes, size_t size, int from)
{
    size_t values = (size_t)h->r.method->parameters * sizeof(float);
    question head = {.rows = -1};
    answer out    = {0};
    if (size >= sizeof head) {
        memcpy(&head, bytes, sizeof head);
    }
    if (from != h->call->leader || head.rows < 0 ||
        size != sizeof head + (size_t)head.rows * sizeof(int64_t) + values) {
        return PB_FAIL(PB_ERR_COMM,
                       "rank %d sent a letter of %zu bytes, which is no part of a step", from,
                       size);
    }
    out.index = head.index;
    try_to_compute(h, &head, bytes + sizeof head, &out);
    return pb_comm_post(h->r.env->comm, from,
                        &(pb_comm_letter){.head      = &out,
                                          .head_size = sizeof out,
                                          .body      = h->grads,
                                          .body_size = out.done ? values : 0});
}

static pb_status serve(helper *h)
{
    pb_pause pause = {0};
    PB_TRY(h->call->ready(h->call->context));
    pb_log_debug("cell %s/%s/%s/%" PRId64 ": this process helps rank %d", h->r.cell->name.model,
                 h->r.cell->name.dataset, h->r.cell->name.method, h->r.cell->name.seed,
                 h->call->leader);
    while (!h->call->over(h->call->context)) {
        void *bytes = NULL;
        size_t size = 0;
        int from    = -1;
        PB_TRY(pb_comm_fetch(h->r.env->comm, &bytes, &size, &from));
        if (bytes == NULL) {
            pb_clock_pause(&pause);
            continue;
        }
        pb_status status = reply(h, bytes, size, from);
        pb_memory_free(bytes);
        PB_TRY(status);
        pause = (pb_pause){0};
    }
    return PB_OK;
}

pb_status pb_cell_help(pb_cell_env *env, const pb_cell *cell, const pb_cell_call *call)
{
    helper h = {.r    = {.env = env, .cell = cell, .options = &cell->plan->options, .gang_size = 1},
                .call = call};
    pb_status status;
    h.r.gang   = &h.r;
    h.r.record = &h.record;
    pb_record_init(&h.record);
    PB_TRY_GOTO(status, set_up(&h), done);
    PB_TRY_GOTO(status, serve(&h), done);
done:
    pb_memory_free(h.grads);
    running_tear_down(&h.r);
    pb_record_clear(&h.record);
    return status;
}
