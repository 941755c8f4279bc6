// SPDX-License-Identifier: Apache-2.0
/* One network of a run: its rows, its optimiser, its validation and its best values. */
#include "internal.h"

#include "pb/clock.h"
#include "pb/memory.h"
#include "pb/usage.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* What AdamW works on, made once for all steps. */
static pb_status list_tensors(member *t)
{
    pb_method *m = t->method;
    int64_t at   = 0;
    PB_TRY(PB_ALLOC(t->tensors, m->count));
    for (int64_t i = 0; i < m->count; i++) {
        const pb_trainable *p = &m->trainables[i];
        int64_t n             = pb_tensor_count(&p->value);
        bool decays           = p->decay || t->options->decay_all;
        if (p->frozen) {
            continue;
        }
        t->tensors[t->tensor_count++] = (pb_adamw_tensor){
            .value        = pb_tensor_rows(&m->values, at, n),
            .first        = pb_tensor_rows(&t->first, at, n),
            .second       = pb_tensor_rows(&t->second, at, n),
            .grad         = pb_tensor_rows(&m->grads, at, n),
            .weight_decay = decays ? t->options->weight_decay : 0.0,
            .rate         = p->rate,
        };
        at += n;
    }
    return PB_OK;
}

void member_rewind(member *t)
{
    t->epoch = -1;
    t->next  = t->data->train_count;
}

static pb_status open_rows(member *t)
{
    if (t->data->train_count == 0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "there are no rows to train on");
    }
    member_rewind(t);
    int64_t rows = t->options->batch * t->options->accumulate;
    if (t->options->shuffle && rows > t->data->train_count) {
        rows = t->data->train_count; /* a step never goes beyond its epoch */
    }
    PB_TRY(PB_ALLOC(t->rows, rows));
    PB_TRY(PB_ALLOC(t->row_numbers, rows));
    return PB_ALLOC(t->order, t->data->train_count);
}

pb_status member_open(member *t, const pb_train_member *of, const pb_tensor *numbers)
{
    static const pb_train_observer silent = {0};
    int64_t n                             = of->method->parameters;
    *of->result                           = (pb_train_result){.best_loss = NAN, .final_loss = NAN};
    *t          = (member){.net = of->net, .method = of->method, .options = of->options};
    t->backend  = pb_network_backend(of->net);
    t->data     = of->data;
    t->observer = of->observer != NULL ? of->observer : &silent;
    t->result   = of->result;
    t->seed     = of->seed;
    t->steps    = pb_train_steps(of->options, of->data->train_count);
    t->running  = true;
    t->numbers  = *numbers;
    t->loss     = pb_number(numbers, PB_NUMBER_LOSS);
    t->penalty  = pb_number(numbers, PB_NUMBER_PENALTY);
    PB_TRY(pb_zero(t->backend, &t->numbers));
    if (n == 0) {
        return PB_OK;
    }
    PB_TRY(pb_method_check_steps(t->method, NULL, NULL, t->steps));
    PB_TRY(t->method->ops->begin_steps != NULL ? t->method->ops->begin_steps(t->method) : PB_OK);
    PB_TRY(open_rows(t));
    PB_TRY(pb_backend_vector(t->backend, PB_DTYPE_F32, n, &t->first));
    PB_TRY(pb_backend_vector(t->backend, PB_DTYPE_F32, n, &t->second));
    PB_TRY(list_tensors(t));
    PB_TRY(t->options->restore_best ? pb_backend_vector(t->backend, PB_DTYPE_F32, n, &t->best)
                                    : PB_OK);
    return of->resume != NULL ? member_archive(t, of->resume) : PB_OK;
}

pb_status member_archive(member *t, pb_archive *archive)
{
    PB_TRY(pb_archive_bytes(archive, t->result, sizeof *t->result));
    PB_TRY(pb_archive_bytes(archive, &t->concluded, sizeof t->concluded));
    PB_TRY(pb_archive_bytes(archive, &t->judged, sizeof t->judged));
    PB_TRY(pb_archive_bytes(archive, &t->validated, sizeof t->validated));
    PB_TRY(pb_archive_tensor(archive, t->backend, &t->first));
    PB_TRY(pb_archive_tensor(archive, t->backend, &t->second));
    PB_TRY(pb_archive_tensor(archive, t->backend, &t->best));
    return pb_method_archive(t->method, archive);
}

pb_status pb_train_archive(struct pb_train_state *state, pb_archive *archive)
{
    return member_archive(state, archive);
}

int64_t pb_train_state_step(const struct pb_train_state *state)
{
    return state->result->steps;
}

void member_close(member *t)
{
    pb_batch_clear(&t->batch);
    pb_memory_free(t->rows);
    pb_memory_free(t->row_numbers);
    pb_memory_free(t->order);
    pb_memory_free(t->tensors);
    pb_backend_free(t->backend, t->first.data);
    pb_backend_free(t->backend, t->second.data);
    pb_backend_free(t->backend, t->best.data);
}

static pb_status next_epoch(member *t)
{
    int64_t n = t->data->train_count;
    t->epoch++;
    t->next = 0;
    if (t->options->shuffle) {
        return pb_epoch_order(n, t->seed + (uint64_t)t->epoch, t->order);
    }
    for (int64_t i = 0; i < n; i++) {
        t->order[i] = i;
    }
    return PB_OK;
}

/* The rows of the next step, or what is left of the epoch when that is less. Without shuffling,
 * rows are in file order and wrap around. */
static pb_status next_rows(member *t)
{
    int64_t wanted = t->options->batch * t->options->accumulate;
    t->count       = 0;
    if (t->next >= t->data->train_count) {
        PB_TRY(next_epoch(t));
    }
    while (t->count < wanted) {
        if (t->next >= t->data->train_count) {
            if (t->options->shuffle) {
                break;
            }
            PB_TRY(next_epoch(t));
        }
        t->row_numbers[t->count] = t->order[t->next++];
        t->rows[t->count]        = t->data->train[t->row_numbers[t->count]];
        t->count++;
    }
    return PB_OK;
}

static int64_t count_labels(const pb_sample *rows, int64_t count)
{
    int64_t labels = 0;
    for (int64_t i = 0; i < count; i++) {
        for (int64_t k = 1; k < rows[i].length; k++) {
            labels += pb_sample_label(&rows[i], k) != PB_LABEL_NONE;
        }
    }
    return labels;
}

pb_status member_next_rows(member *t)
{
    PB_TRY(next_rows(t));
    if (count_labels(t->rows, t->count) == 0) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "none of the %" PRId64
                       " rows of a step has a label token; the first of them is training row "
                       "%" PRId64 " of %" PRId64,
                       t->count, t->row_numbers[0] + 1, t->data->train_count);
    }
    return PB_OK;
}

/* A pass may be short, and is divided evenly. */
int64_t member_part_rows(const member *t, int64_t part, int64_t *first)
{
    int64_t split = t->options->split;
    int64_t begin = part / split * t->options->batch;
    int64_t end   = begin + t->options->batch;
    begin         = begin < t->count ? begin : t->count;
    end           = end < t->count ? end : t->count;
    *first        = begin + (end - begin) * (part % split) / split;
    return begin + (end - begin) * (part % split + 1) / split - *first;
}

pb_status member_pack(member *t, int64_t part, bool *has_labels)
{
    pb_batch_options packing = pb_network_batch_options(t->net, true);
    int64_t first            = 0;
    int64_t rows             = member_part_rows(t, part, &first);
    *has_labels              = false;
    if (rows == 0) {
        return PB_OK;
    }
    PB_TRY(pb_batch_rebuild(t->rows + first, rows, &packing, &t->batch));
    *has_labels = t->batch.labels > 0;
    return PB_OK;
}

static member_step *step_at(member *t, int64_t number)
{
    return &t->posted[number % PB_SLOTS];
}

pb_status member_begin_step(member *t, int64_t number)
{
    member_step *posted = step_at(t, number);
    *posted             = (member_step){
                    .step       = {.step  = number,
                                   .steps = t->steps,
                                   .lr    = pb_train_lr(t->options, t->steps, number - 1)},
                    .takes_part = true,
    };
    PB_TRY(next_rows(t));
    PB_TRY(pb_zero(t->backend, &t->method->grads));
    PB_TRY(pb_zero(t->backend, &t->loss));
    PB_TRY(pb_zero(t->backend, &t->penalty));
    posted->step.label_tokens = count_labels(t->rows, t->count);
    return PB_OK;
}

/* The learning rate is to blame only after a step, and where the method has no better reason. */
static pb_status fail_not_finite(const member *t, const char *values)
{
    PB_TRY(pb_method_check_values(t->method));
    if (t->result->steps == 0) {
        return PB_FAIL(PB_ERR_NUMERIC, "%s before anything was trained: " PB_NOT_FINITE_REMEDY,
                       values);
    }
    return PB_FAIL(PB_ERR_NUMERIC,
                   "after %" PRId64 " step%s: %s: the run diverged; a learning rate below %g may "
                   "help",
                   t->result->steps, t->result->steps == 1 ? "" : "s", values,
                   t->options->learning_rate);
}

/* For messages: the sign of a NaN says nothing. */
static double shown(double value)
{
    return isnan(value) ? fabs(value) : value;
}

pb_status member_receive(member *t, int64_t number, const double *numbers)
{
    pb_train_step *step = &step_at(t, number)->step;
    step->loss = numbers[PB_NUMBER_LOSS] / (double)step->label_tokens + numbers[PB_NUMBER_PENALTY];
    step->grad_norm = sqrt(numbers[PB_NUMBER_SQUARES]);
    if (numbers[PB_NUMBER_BAD] != 0 || !isfinite(step->loss)) {
        char values[80];
        snprintf(values, sizeof values, "loss %g, norm of the gradient %g", shown(step->loss),
                 shown(step->grad_norm));
        return fail_not_finite(t, values);
    }
    return PB_OK;
}

pb_status member_report(member *t, int64_t number)
{
    const pb_train_step *step = &step_at(t, number)->step;
    t->result->steps          = step->step;
    t->result->final_loss     = step->loss;
    t->result->tokens += step->tokens;
    t->result->label_tokens += step->label_tokens;
    t->result->seconds_steps += step->seconds;
    return t->observer->step != NULL ? t->observer->step(t->observer->context, step) : PB_OK;
}

pb_status member_update(member *t, int64_t number)
{
    const member_step *posted = step_at(t, number);
    pb_method *m              = t->method;
    pb_tensor squares         = pb_number(&t->numbers, PB_NUMBER_SQUARES);
    pb_adamw_args args        = {
               .lr    = posted->step.lr,
               .beta1 = t->options->beta1,
               .beta2 = t->options->beta2,
               .eps   = t->options->eps,
               .clip  = t->options->clip,
               .step  = posted->step.step,
    };
    pb_backend_part(t->backend, PB_PART_OPTIMIZER);
    PB_TRY(pb_sum_squares(t->backend, &squares, &m->grads));
    if (m->ops->after_step != NULL) { /* it sees the gradients as they are used */
        PB_TRY(pb_clip(t->backend, &m->grads, &t->numbers, args.clip));
        args.clip = 0.0;
    }
    PB_TRY(pb_adamw(t->backend, t->tensors, t->tensor_count, &t->numbers, &args));
    PB_TRY(pb_method_values_changed(m));
    pb_backend_part(t->backend, PB_PART_OTHER);
    return PB_OK;
}

bool member_validates_after(const member *t, int64_t number)
{
    int64_t every = (int64_t)ceil(t->options->evaluate_share * (double)t->steps);
    return (every > 0 && number % every == 0) || (number == t->steps && t->options->evaluate_last);
}

static pb_status add_penalty(member *t, double *loss)
{
    double penalty = 0.0;
    if (t->method->ops->penalty == NULL) {
        return PB_OK;
    }
    PB_TRY(pb_zero(t->backend, &t->penalty));
    PB_TRY(pb_method_penalty(t->method, false, &t->penalty));
    PB_TRY(pb_post(t->backend, 0, &t->penalty));
    PB_TRY(pb_take(t->backend, 0, &penalty));
    *loss += penalty;
    return PB_OK;
}

pb_status member_validate(member *t, int64_t step)
{
    if (t->data->validation_count == 0 || (step > 0 && t->concluded == step)) {
        return PB_OK;
    }
    if (t->observer->validating != NULL) {
        t->observer->validating(t->observer->context);
    }
    double begin = pb_clock_seconds();
    double loss  = 0.0;
    PB_TRY(mean_loss(t->net, t->data->validation, t->data->validation_count, t->options->batch,
                     (pb_validation_mean)t->options->validation_mean, t->observer, &t->batch,
                     &t->loss, &loss));
    PB_TRY(add_penalty(t, &loss));
    t->validated   = loss;
    t->concluded   = step;
    double seconds = pb_clock_seconds() - begin;
    t->result->seconds_validation += seconds;
    if (t->observer->validation != NULL) {
        PB_TRY(t->observer->validation(t->observer->context, step, loss, seconds));
    }
    if (!isfinite(loss)) {
        char values[40];
        snprintf(values, sizeof values, "validation loss %g", shown(loss));
        return fail_not_finite(t, values);
    }
    if (t->result->best_step == 0 || loss < t->result->best_loss) {
        t->result->best_step = step;
        t->result->best_loss = loss;
        if (!pb_tensor_is_none(&t->best)) {
            PB_TRY(pb_copy(t->backend, &t->best, &t->method->values));
        }
    }
    return PB_OK;
}

pb_status member_finish(member *t)
{
    if (t->result->best_step == 0 || pb_tensor_is_none(&t->best)) {
        return pb_method_check_values(t->method);
    }
    PB_TRY(pb_copy(t->backend, &t->method->values, &t->best));
    return pb_method_values_changed(t->method);
}
