// SPDX-License-Identifier: Apache-2.0
/* The training loop. A step takes the next rows of each member's epoch, packs them in `accumulate`
 * parts, adds up the gradient of sum / labels of all parts, clips it, and updates every trainable
 * tensor. Validation runs at a fixed interval of steps; the values of the lowest loss, the first of
 * equal ones, are put back at the end.
 *
 * Several networks share the passes of a step, and nothing else: one that has taken its last step
 * or fails leaves, and the others continue. */
#include "internal.h"

#include "pb/clock.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>

static posted_step *step_at(run *r, int64_t number)
{
    return &r->posted[number % PB_SLOTS];
}

/* The end of a member, by its status; PB_OK when the others continue. */
static pb_status end_member(run *r, member *t, pb_status status)
{
    if (status == PB_STOPPED) {
        return PB_FRAME(status); /* it goes on some day */
    }
    t->running = false;
    if (r->alone && status != PB_OK) {
        return PB_FRAME(status);
    }
    if (!r->alone && t->observer->ended != NULL) {
        t->observer->ended(t->observer->context, status);
    }
    pb_error_clear();
    return PB_OK;
}

/* What came of a member's own work: a failure ends it. */
static pb_status settle(run *r, member *t, pb_status status)
{
    return status == PB_OK ? PB_OK : end_member(r, t, status);
}

static bool takes_part(const member *t, int64_t number)
{
    return t->running && t->posted[number % PB_SLOTS].takes_part;
}

/* ---------------------------------------------------------------- passes */

/* The passes of part `part` of a step: the members that have rows with labels there. */
static pb_status collect(run *r, int64_t step, int64_t part, int64_t *count)
{
    *count = 0;
    for (int64_t i = 0; i < r->count; i++) {
        member *t           = &r->members[i];
        member_step *posted = &t->posted[step % PB_SLOTS];
        bool has_labels     = false;
        if (!takes_part(t, step)) {
            continue;
        }
        int64_t first = 0;
        PB_TRY(settle(r, t, member_pack(t, part, &has_labels)));
        if (t->running && member_part_rows(t, part, &first) > 0) {
            posted->step.tokens += t->batch.tokens;
        }
        if (t->running && has_labels) {
            posted->packed += t->batch.forest.rows;
            step_at(r, step)->packed += t->batch.forest.rows;
            r->parts[(*count)++] =
                (pb_gang_part){.net        = t->net,
                               .batch      = &t->batch,
                               .grad_scale = 1.0 / (double)posted->step.label_tokens,
                               .sum        = &t->loss};
        }
    }
    return PB_OK;
}

static pb_status pass(const run *r, int64_t count, uint64_t number)
{
    const pb_gang_part *part = &r->parts[0];
    if (count == 0) {
        return PB_OK;
    }
    if (r->gang != NULL) {
        return pb_gang_step(r->gang, r->parts, count, number);
    }
    return pb_network_step(part->net, part->batch, part->grad_scale, number, part->sum);
}

static int64_t parts_of(const run *r)
{
    return r->members[0].options->accumulate * r->members[0].options->split;
}

static int64_t most_steps(const run *r)
{
    int64_t most = 0;
    for (int64_t i = 0; i < r->count; i++) {
        const member *t = &r->members[i];
        most            = t->running && t->steps > most ? t->steps : most;
    }
    return most;
}

static bool stop_wanted(const run *r)
{
    for (int64_t i = 0; i < r->count; i++) {
        if (r->members[i].running && wants_stop(r->members[i].observer)) {
            return true;
        }
    }
    return false;
}

static pb_status check_stop(const run *r, int64_t step)
{
    return stop_wanted(r) ? PB_FAIL(PB_STOPPED, "stopped before step %" PRId64 " of %" PRId64, step,
                                    most_steps(r))
                          : PB_OK;
}

static pb_status run_passes(run *r, int64_t step)
{
    if (r->members->parts != NULL) {
        return settle(r, r->members, split_step(r->members, step));
    }
    for (int64_t part = 0; part < parts_of(r); part++) {
        int64_t count = 0;
        PB_TRY(check_stop(r, step));
        PB_TRY(collect(r, step, part, &count));
        PB_TRY(pass(r, count, (uint64_t)((step - 1) * parts_of(r) + part)));
    }
    return PB_OK;
}

/* ---------------------------------------------------------------- numbers */

/* Waits for the numbers of a step. */
static pb_status receive(run *r, int64_t number)
{
    posted_step *posted = step_at(r, number);
    if (posted->received) {
        return PB_OK;
    }
    PB_TRY(pb_take(r->backend, (int)(number % PB_SLOTS), r->values));
    posted->received = true;
    for (int64_t i = 0; i < r->count; i++) {
        member *t = &r->members[i];
        if (takes_part(t, number)) {
            PB_TRY(settle(r, t, member_receive(t, number, r->values + i * PB_NUMBERS)));
        }
    }
    return PB_OK;
}

/* Reports the oldest step that was posted. A member's share of its time and work is that of its
 * rows. */
static pb_status take_step(run *r)
{
    int64_t number      = r->taken + 1;
    posted_step *posted = step_at(r, number);
    PB_TRY(receive(r, number));
    double now     = pb_clock_seconds();
    double seconds = now - (posted->begin > r->completed ? posted->begin : r->completed);
    r->completed   = now;
    r->taken       = number;
    for (int64_t i = 0; i < r->count; i++) {
        member *t         = &r->members[i];
        member_step *own  = &t->posted[number % PB_SLOTS];
        double share      = r->alone ? 1.0 : (double)own->packed / (double)posted->packed;
        own->step.seconds = share * seconds;
        own->step.flops   = share * posted->flops;
        if (takes_part(t, number)) {
            PB_TRY(settle(r, t, member_report(t, number)));
        }
    }
    return PB_OK;
}

/* Takes steps until at most `late` of them are outstanding. */
static pb_status take_steps(run *r, int64_t late)
{
    while (r->begun - r->taken > late) {
        PB_TRY(take_step(r));
    }
    return PB_OK;
}

/* ---------------------------------------------------------------- steps */

static pb_status show_gradients(run *r, member *t, int64_t number)
{
    if (t->observer->gradients == NULL) {
        return PB_OK;
    }
    PB_TRY(take_steps(r, 0));
    return settle(r, t, t->observer->gradients(t->observer->context, number));
}

static pb_status update_all(run *r, int64_t number)
{
    for (int64_t i = 0; i < r->count; i++) {
        member *t = &r->members[i];
        if (!takes_part(t, number)) {
            continue;
        }
        PB_TRY(settle(r, t, pb_method_penalty(t->method, true, &t->penalty)));
        PB_TRY(show_gradients(r, t, number));
        if (t->running) {
            PB_TRY(settle(r, t, member_update(t, number)));
        }
    }
    return PB_OK;
}

static pb_status change_method(member *t, int64_t number)
{
    PB_TRY(t->method->ops->after_step(t->method, number, t->steps));
    return pb_method_values_changed(t->method);
}

/* The method's own part of an update. */
static pb_status after_step(run *r, int64_t number)
{
    for (int64_t i = 0; i < r->count; i++) {
        member *t = &r->members[i];
        if (takes_part(t, number) && t->method->ops->after_step != NULL) {
            PB_TRY(settle(r, t, change_method(t, number)));
        }
    }
    return PB_OK;
}

static pb_status one_step(run *r, int64_t number)
{
    posted_step *posted = step_at(r, number);
    double before       = products_done(r->backend);
    *posted             = (posted_step){.begin = pb_clock_seconds()};
    for (int64_t i = 0; i < r->count; i++) {
        member *t                               = &r->members[i];
        t->posted[number % PB_SLOTS].takes_part = false;
        if (t->running) {
            PB_TRY(settle(r, t, member_begin_step(t, number)));
        }
    }
    PB_TRY(run_passes(r, number));
    PB_TRY(update_all(r, number));
    PB_TRY(pb_post(r->backend, (int)(number % PB_SLOTS), &r->numbers));
    r->begun = number;
    PB_TRY(after_step(r, number));
    posted->flops =
        products_done(r->backend) - before + r->members->posted[number % PB_SLOTS].elsewhere;
    return take_steps(r, pb_backend_lag(r->backend));
}

static pb_status finish(run *r, member *t)
{
    PB_TRY(settle(r, t, member_finish(t)));
    return t->running ? end_member(r, t, PB_OK) : PB_OK;
}

/* Members that have nothing to train on. */
static pb_status finish_empty(run *r)
{
    for (int64_t i = 0; i < r->count; i++) {
        if (r->members[i].running && r->members[i].steps == 0) {
            PB_TRY(finish(r, &r->members[i]));
        }
    }
    return PB_OK;
}

/* Validates where it is time, and ends the members that have taken their last step. */
static pb_status conclude_step(run *r, int64_t number)
{
    for (int64_t i = 0; i < r->count; i++) {
        member *t = &r->members[i];
        if (!t->running) {
            continue;
        }
        if (member_validates_after(t, number)) {
            PB_TRY(take_steps(r, 0));
            if (t->running) {
                PB_TRY(settle(r, t, member_validate(t, number)));
            }
        }
        if (t->running && number == t->steps) {
            PB_TRY(take_steps(r, 0));
        }
        if (t->running && number == t->steps) {
            PB_TRY(finish(r, t));
        }
    }
    return PB_OK;
}

static bool was_judged(const run *r, int64_t number)
{
    for (int64_t i = 0; i < r->count; i++) {
        if (r->members[i].running) {
            return r->members[i].judged == number;
        }
    }
    return true;
}

/* Ends the members that do not go on. */
static pb_status conclude_rung(run *r, int64_t number, int64_t steps)
{
    int64_t rung = r->search != NULL && number < steps ? search_rung(r->search, number, steps) : 0;
    if (rung == 0 || was_judged(r, number)) {
        return PB_OK;
    }
    PB_TRY(take_steps(r, 0));
    for (int64_t i = 0; i < r->count; i++) {
        member *t = &r->members[i];
        if (t->running && !member_validates_after(t, number)) {
            PB_TRY(settle(r, t, member_validate(t, number)));
        }
    }
    search_judge(r->members, r->count, r->search, rung);
    for (int64_t i = 0; i < r->count; i++) {
        member *t = &r->members[i];
        t->judged = number;
        if (t->running && t->result->rung > 0) {
            PB_TRY(end_member(r, t, PB_OK));
        }
    }
    return PB_OK;
}

static bool any_running(const run *r)
{
    for (int64_t i = 0; i < r->count; i++) {
        if (r->members[i].running) {
            return true;
        }
    }
    return false;
}

/* What follows a step; over for those that were saved after it. */
static pb_status conclude(run *r, int64_t number, int64_t most)
{
    PB_TRY(conclude_step(r, number));
    return conclude_rung(r, number, most);
}

static bool save_due(const run *r)
{
    for (int64_t i = 0; i < r->count; i++) {
        const pb_train_observer *o = r->members[i].observer;
        if (r->members[i].running && o->due != NULL && o->due(o->context)) {
            return true;
        }
    }
    return false;
}

/* All that still run, as of the last whole step. */
static pb_status save(run *r)
{
    PB_TRY(take_steps(r, 0));
    for (int64_t i = 0; i < r->count; i++) {
        member *t = &r->members[i];
        if (t->running && t->observer->save != NULL) {
            PB_TRY(t->observer->save(t->observer->context, t));
        }
    }
    return PB_OK;
}

static pb_status loop(run *r)
{
    int64_t most = most_steps(r);
    PB_TRY(r->begun > 0 ? conclude(r, r->begun, most) : PB_OK);
    for (int64_t step = r->begun + 1; step <= most && any_running(r); step++) {
        PB_TRY(one_step(r, step));
        PB_TRY(conclude(r, step, most));
        PB_TRY(any_running(r) && save_due(r) ? save(r) : PB_OK);
    }
    return PB_OK;
}

/* A step that was stopped in its passes has changed no value. */
static pb_status loop_and_save(run *r)
{
    char message[160];
    pb_status status = loop(r);
    if (status != PB_STOPPED) {
        return PB_FRAME(status);
    }
    (void)snprintf(message, sizeof message, "%s", pb_error_message());
    PB_TRY(save(r));
    return PB_FAIL(PB_STOPPED, "%s", message);
}

/* ---------------------------------------------------------------- the run */

static pb_status reserve_pass(const run *r, int64_t count)
{
    if (count == 0) {
        return PB_OK;
    }
    return r->gang != NULL ? pb_gang_reserve(r->gang, r->parts, count)
                           : pb_network_reserve(r->parts[0].net, r->parts[0].batch);
}

/* Packs every part of the run once, so that all memory is allocated before the first step and rows
 * without labels are found early. Packing costs next to nothing compared with a pass. */
static pb_status reserve_steps(run *r)
{
    int64_t most = most_steps(r);
    for (int64_t step = 1; step <= most; step++) {
        for (int64_t i = 0; i < r->count; i++) {
            member *t           = &r->members[i];
            member_step *posted = &t->posted[step % PB_SLOTS];
            *posted             = (member_step){.takes_part = step <= t->steps};
            if (takes_part(t, step)) {
                PB_TRY(settle(r, t, member_next_rows(t)));
            }
        }
        for (int64_t part = 0; part < parts_of(r); part++) {
            int64_t count = 0;
            PB_TRY(collect(r, step, part, &count));
            PB_TRY(reserve_pass(r, count));
        }
    }
    for (int64_t i = 0; i < r->count; i++) {
        member_rewind(&r->members[i]);
    }
    return PB_OK;
}

/* Posts of a gang's numbers are larger than a backend expects: it makes room at the first ones. */
static pb_status reserve_posts(const run *r)
{
    for (int slot = 0; slot < PB_SLOTS && !r->alone; slot++) {
        PB_TRY(pb_post(r->backend, slot, &r->numbers));
        PB_TRY(pb_take(r->backend, slot, r->values));
    }
    return PB_OK;
}

/* Members without trainable tensors are only validated. */
static pb_status validate_untrained(run *r)
{
    for (int64_t i = 0; i < r->count; i++) {
        member *t = &r->members[i];
        if (t->running && t->method->parameters == 0) {
            PB_TRY(settle(r, t, member_validate(t, 0)));
            if (t->running) {
                PB_TRY(end_member(r, t, PB_OK));
            }
        }
    }
    return PB_OK;
}

static pb_status open_member(run *r, const pb_train_member *of, int64_t index)
{
    member *t         = &r->members[index];
    pb_tensor numbers = pb_tensor_rows(&r->numbers, index * PB_NUMBERS, PB_NUMBERS);
    PB_TRY(member_open(t, of, &numbers));
    return of->options->split > 1 && of->method->parameters > 0
               ? parts_open(t, of->helpers, &t->parts)
               : PB_OK;
}

static pb_status open_members(run *r, const pb_train_member *members)
{
    for (int64_t i = 0; i < r->count; i++) {
        PB_TRY(settle(r, &r->members[i], open_member(r, &members[i], i)));
    }
    return PB_OK;
}

/* The rows of the steps that were saved are passed over. */
static pb_status go_to(run *r)
{
    for (int64_t i = 0; i < r->count; i++) {
        member *t = &r->members[i];
        for (int64_t step = 1; t->running && step <= t->result->steps; step++) {
            PB_TRY(settle(r, t, member_next_rows(t)));
            r->begun = r->taken = t->result->steps;
        }
    }
    return PB_OK;
}

pb_status run_all(run *r, const pb_train_member *members)
{
    PB_TRY(pb_backend_vector(r->backend, PB_DTYPE_F64, r->count * PB_NUMBERS, &r->numbers));
    PB_TRY(open_members(r, members));
    PB_TRY(r->search != NULL ? search_check(r->members, r->count) : PB_OK);
    PB_TRY(validate_untrained(r));
    PB_TRY(finish_empty(r));
    PB_TRY(reserve_steps(r));
    PB_TRY(reserve_posts(r));
    PB_TRY(go_to(r));
    return loop_and_save(r);
}
