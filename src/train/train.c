// SPDX-License-Identifier: Apache-2.0
/* The training loop. A step takes the next rows of the epoch's order, packs them in `accumulate`
 * parts, adds up the gradient of sum / labels of all parts, clips it, and updates every trainable
 * tensor. Validation runs at a fixed interval of steps; the values of the lowest loss, the first of
 * equal ones, are put back at the end. */
#include "pb/train.h"

#include "pb/clock.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* A step whose numbers may not have arrived. */
typedef struct posted_step {
    pb_train_step step;
    double penalty; /* of the method, a part of the loss */
    double begin;   /* seconds on the clock */
    bool received;
} posted_step;

typedef struct trainer {
    pb_network *net;
    pb_backend *backend;
    pb_method *method;
    const pb_train_options *options;
    const pb_train_data *data;
    const pb_train_observer *observer;
    pb_train_result *result;
    uint64_t seed;
    int64_t steps;
    pb_tensor first, second, best; /* [parameters]: Adam's moments, values of the best step */
    pb_tensor numbers;             /* F64 [PB_NUMBERS], backend memory */
    pb_adamw_tensor *tensors;      /* [tensor_count] what is trained */
    int64_t tensor_count;
    posted_step posted[PB_SLOTS]; /* by step % PB_SLOTS */
    int64_t begun, taken;         /* steps */
    double completed;             /* when the last taken step was, seconds on the clock */
    pb_sample *rows;              /* [batch · accumulate] of the step */
    pb_batch batch;               /* a part of it, packed */
    int64_t *order;               /* [train_count] of the epoch */
    int64_t epoch;                /* of `order`; -1 before the first */
    int64_t next;                 /* position in `order` */
    int64_t first_row;            /* of the step, in train */
} trainer;

static pb_status vector_alloc(pb_backend *be, pb_dtype dtype, int64_t n, pb_tensor *out)
{
    void *data = NULL;
    PB_TRY(pb_backend_alloc(be, (size_t)n * pb_dtype_size(dtype), &data));
    *out = pb_tensor_1d(data, dtype, n);
    return PB_OK;
}

/* What AdamW works on, made once for all steps. */
static pb_status list_tensors(trainer *t)
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

/* Before the first row of the first epoch. */
static void rewind_rows(trainer *t)
{
    t->epoch = -1;
    t->next  = t->data->train_count;
}

static pb_status open_trainer(trainer *t)
{
    if (t->method->parameters == 0) {
        return PB_OK;
    }
    if (t->data->train_count == 0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "there are no rows to train on");
    }
    rewind_rows(t);
    int64_t rows = t->options->batch * t->options->accumulate;
    if (t->options->shuffle && rows > t->data->train_count) {
        rows = t->data->train_count; /* a step never goes beyond its epoch */
    }
    PB_TRY(PB_ALLOC(t->rows, rows));
    PB_TRY(PB_ALLOC(t->order, t->data->train_count));
    int64_t n = t->method->parameters;
    PB_TRY(vector_alloc(t->backend, PB_DTYPE_F32, n, &t->first));
    PB_TRY(vector_alloc(t->backend, PB_DTYPE_F32, n, &t->second));
    PB_TRY(list_tensors(t));
    return t->options->restore_best ? vector_alloc(t->backend, PB_DTYPE_F32, n, &t->best) : PB_OK;
}

static void close_trainer(trainer *t)
{
    pb_batch_clear(&t->batch);
    pb_memory_free(t->rows);
    pb_memory_free(t->order);
    pb_memory_free(t->tensors);
    pb_backend_free(t->backend, t->numbers.data);
    pb_backend_free(t->backend, t->first.data);
    pb_backend_free(t->backend, t->second.data);
    pb_backend_free(t->backend, t->best.data);
}

static pb_status next_epoch(trainer *t)
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
static pb_status next_rows(trainer *t, int64_t *count)
{
    int64_t wanted = t->options->batch * t->options->accumulate;
    *count         = 0;
    if (t->next >= t->data->train_count) {
        PB_TRY(next_epoch(t));
    }
    t->first_row = t->order[t->next];
    while (*count < wanted) {
        if (t->next >= t->data->train_count) {
            if (t->options->shuffle) {
                break;
            }
            PB_TRY(next_epoch(t));
        }
        t->rows[(*count)++] = t->data->train[t->order[t->next++]];
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

/* Packs every part of the run once, so that all memory is allocated before the first step and rows
 * without labels are found early. Packing costs next to nothing compared with a pass. */
static pb_status reserve_steps(trainer *t)
{
    pb_batch_options packing = pb_network_batch_options(t->net, true);
    for (int64_t step = 0; step < t->steps; step++) {
        int64_t count = 0;
        PB_TRY(next_rows(t, &count));
        if (count_labels(t->rows, count) == 0) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "none of the %" PRId64
                           " rows of a step has a label token; the first of them is training row "
                           "%" PRId64 " of %" PRId64,
                           count, t->first_row + 1, t->data->train_count);
        }
        for (int64_t first = 0; first < count; first += t->options->batch) {
            int64_t n = count - first < t->options->batch ? count - first : t->options->batch;
            PB_TRY(pb_batch_rebuild(t->rows + first, n, &packing, &t->batch));
            if (t->batch.labels > 0) {
                PB_TRY(pb_network_reserve(t->net, &t->batch));
            }
        }
    }
    rewind_rows(t);
    return PB_OK;
}

/* Adds the gradient of (sum of -log p) / labels over all parts of the step, and that sum to LOSS;
 * and of the method's penalty. */
static pb_status step_gradients(trainer *t, int64_t count, posted_step *posted)
{
    pb_batch_options packing = pb_network_batch_options(t->net, true);
    pb_train_step *step      = &posted->step;
    pb_tensor loss           = pb_number(&t->numbers, PB_NUMBER_LOSS);
    PB_TRY(pb_zero(t->backend, &t->method->grads));
    PB_TRY(pb_zero(t->backend, &loss));
    step->label_tokens = count_labels(t->rows, count);
    for (int64_t first = 0, part = 0; first < count; first += t->options->batch, part++) {
        int64_t n = count - first < t->options->batch ? count - first : t->options->batch;
        PB_TRY(pb_batch_rebuild(t->rows + first, n, &packing, &t->batch));
        step->tokens += t->batch.tokens;
        if (t->batch.labels > 0) {
            uint64_t number = (uint64_t)((step->step - 1) * t->options->accumulate + part);
            PB_TRY(pb_network_step(t->net, &t->batch, 1.0 / (double)step->label_tokens, number,
                                   &loss));
        }
    }
    return pb_method_penalty(t->method, true, &posted->penalty);
}

/* The learning rate is to blame only after a step. */
static pb_status fail_not_finite(const trainer *t, const char *values)
{
    if (t->result->steps == 0) {
        return PB_FAIL(PB_ERR_NUMERIC, "%s before anything was trained: " PB_NOT_FINITE_REMEDY,
                       values);
    }
    return PB_FAIL(PB_ERR_NUMERIC,
                   "after %" PRId64 " step%s: %s: the run diverged; a lower learning rate than %g "
                   "may help",
                   t->result->steps, t->result->steps == 1 ? "" : "s", values,
                   t->options->learning_rate);
}

/* For messages: the sign of a NaN says nothing. */
static double shown(double value)
{
    return isnan(value) ? fabs(value) : value;
}

static bool wants_stop(const pb_train_observer *o)
{
    return o != NULL && o->stop != NULL && o->stop(o->context);
}

/* In batches that are packed into *packed and add to *sum, F64 [1]; `observer` (NULL: none) may
 * stop it between two. */
static pb_status mean_loss(pb_network *net, const pb_sample *rows, int64_t count, int64_t batch,
                           pb_validation_mean mean, const pb_train_observer *observer,
                           pb_batch *packed, pb_tensor *sum, double *loss)
{
    pb_batch_options packing = pb_network_batch_options(net, false);
    pb_backend *be           = pb_network_backend(net);
    double weight            = 0.0;
    double total             = 0.0;
    PB_TRY(pb_zero(be, sum));
    for (int64_t first = 0; first < count; first += batch) {
        int64_t n = count - first < batch ? count - first : batch;
        if (wants_stop(observer)) {
            return PB_FAIL(PB_STOPPED, "stopped before validation row %" PRId64 " of %" PRId64,
                           first + 1, count);
        }
        PB_TRY(pb_batch_rebuild(rows + first, n, &packing, packed));
        if (packed->labels > 0) {
            PB_TRY(pb_network_loss(net, packed, mean == PB_MEAN_ROWS, sum));
            weight += mean == PB_MEAN_ROWS ? (double)n : (double)packed->labels;
        }
    }
    if (weight == 0.0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "none of the %" PRId64 " rows has a label token", count);
    }
    PB_TRY(pb_post(be, 0, sum));
    PB_TRY(pb_take(be, 0, &total));
    *loss = total / weight;
    return PB_OK;
}

/* Waits for the numbers of a step. */
static pb_status receive(trainer *t, posted_step *posted)
{
    pb_train_step *step = &posted->step;
    double numbers[PB_NUMBERS];
    PB_TRY(pb_take(t->backend, (int)(step->step % PB_SLOTS), numbers));
    posted->received = true;
    step->loss       = numbers[PB_NUMBER_LOSS] / (double)step->label_tokens + posted->penalty;
    step->grad_norm  = sqrt(numbers[PB_NUMBER_SQUARES]);
    if (numbers[PB_NUMBER_BAD] != 0 || !isfinite(step->loss)) {
        char values[80];
        snprintf(values, sizeof values, "loss %g, norm of the gradient %g", shown(step->loss),
                 shown(step->grad_norm));
        return fail_not_finite(t, values);
    }
    return PB_OK;
}

/* Reports the oldest step that was posted. */
static pb_status take_step(trainer *t)
{
    posted_step *posted = &t->posted[(t->taken + 1) % PB_SLOTS];
    pb_train_step *step = &posted->step;
    if (!posted->received) {
        PB_TRY(receive(t, posted));
    }
    double now            = pb_clock_seconds();
    step->seconds         = now - (posted->begin > t->completed ? posted->begin : t->completed);
    t->completed          = now;
    t->taken              = step->step;
    t->result->steps      = step->step;
    t->result->final_loss = step->loss;
    t->result->tokens += step->tokens;
    t->result->label_tokens += step->label_tokens;
    t->result->seconds_steps += step->seconds;
    return t->observer->step != NULL ? t->observer->step(t->observer->context, step) : PB_OK;
}

/* Takes steps until at most `late` of them are outstanding. */
static pb_status take_steps(trainer *t, int64_t late)
{
    while (t->begun - t->taken > late) {
        PB_TRY(take_step(t));
    }
    return PB_OK;
}

static pb_status update(trainer *t, const posted_step *posted)
{
    pb_method *m       = t->method;
    pb_tensor squares  = pb_number(&t->numbers, PB_NUMBER_SQUARES);
    pb_adamw_args args = {
        .lr    = posted->step.lr,
        .beta1 = t->options->beta1,
        .beta2 = t->options->beta2,
        .eps   = t->options->eps,
        .clip  = t->options->clip,
        .step  = posted->step.step,
    };
    PB_TRY(pb_sum_squares(t->backend, &squares, &m->grads));
    if (!isfinite(posted->penalty)) {
        return PB_OK; /* reported when the step is taken */
    }
    if (m->ops->after_step != NULL) { /* it sees the gradients as they are used */
        PB_TRY(pb_clip(t->backend, &m->grads, &t->numbers, args.clip));
        args.clip = 0.0;
    }
    PB_TRY(pb_adamw(t->backend, t->tensors, t->tensor_count, &t->numbers, &args));
    return pb_method_values_changed(m);
}

static pb_status validate(trainer *t, int64_t step)
{
    PB_TRY(take_steps(t, 0));
    if (t->data->validation_count == 0) {
        return PB_OK;
    }
    double begin   = pb_clock_seconds();
    double loss    = 0.0;
    double penalty = 0.0;
    pb_tensor sum  = pb_number(&t->numbers, PB_NUMBER_LOSS);
    PB_TRY(mean_loss(t->net, t->data->validation, t->data->validation_count, t->options->batch,
                     (pb_validation_mean)t->options->validation_mean, t->observer, &t->batch, &sum,
                     &loss));
    PB_TRY(pb_method_penalty(t->method, false, &penalty));
    loss += penalty;
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

/* The method's own part of an update: what it changes, it changes after a step that was good. */
static pb_status after_step(trainer *t, posted_step *posted)
{
    pb_method *m = t->method;
    if (m->ops->after_step == NULL) {
        return PB_OK;
    }
    PB_TRY(take_steps(t, 1));
    PB_TRY(receive(t, posted));
    PB_TRY(m->ops->after_step(m, posted->step.step, posted->step.steps));
    return pb_method_values_changed(m);
}

static pb_status one_step(trainer *t, int64_t number)
{
    int slot            = (int)(number % PB_SLOTS);
    posted_step *posted = &t->posted[slot];
    int64_t count       = 0;
    *posted             = (posted_step){
                    .step  = {.step  = number,
                              .steps = t->steps,
                              .lr    = pb_train_lr(t->options, t->steps, number - 1)},
                    .begin = pb_clock_seconds(),
    };
    PB_TRY(next_rows(t, &count));
    PB_TRY(step_gradients(t, count, posted));
    if (t->observer->gradients != NULL) {
        PB_TRY(take_steps(t, 0));
        PB_TRY(t->observer->gradients(t->observer->context, number));
    }
    PB_TRY(update(t, posted));
    PB_TRY(pb_post(t->backend, slot, &t->numbers));
    t->begun = number;
    PB_TRY(after_step(t, posted));
    return take_steps(t, pb_backend_lag(t->backend));
}

static pb_status loop(trainer *t)
{
    int64_t every = (int64_t)ceil(t->options->evaluate_share * (double)t->steps);
    for (int64_t step = 1; step <= t->steps; step++) {
        if (wants_stop(t->observer)) {
            PB_TRY(take_steps(t, 0));
            return PB_FAIL(PB_STOPPED, "stopped before step %" PRId64 " of %" PRId64, step,
                           t->steps);
        }
        PB_TRY(one_step(t, step));
        bool multiple = every > 0 && step % every == 0;
        if (multiple || (step == t->steps && t->options->evaluate_last)) {
            PB_TRY(validate(t, step));
        }
    }
    PB_TRY(take_steps(t, 0));
    if (t->result->best_step > 0 && !pb_tensor_is_none(&t->best)) {
        PB_TRY(pb_copy(t->backend, &t->method->values, &t->best));
        PB_TRY(pb_method_values_changed(t->method));
    }
    return PB_OK;
}

static pb_status run(trainer *t)
{
    if (t->method->parameters == 0) {
        return validate(t, 0);
    }
    PB_TRY(reserve_steps(t));
    return loop(t);
}

pb_status pb_train_run(pb_network *net, pb_method *method, const pb_train_options *options,
                       uint64_t seed, const pb_train_data *data, const pb_train_observer *observer,
                       pb_train_result *result)
{
    static const pb_train_observer silent = {0};
    *result                               = (pb_train_result){.best_loss = NAN, .final_loss = NAN};
    trainer t                             = {
                                    .net      = net,
                                    .backend  = pb_network_backend(net),
                                    .method   = method,
                                    .options  = options,
                                    .data     = data,
                                    .observer = observer != NULL ? observer : &silent,
                                    .result   = result,
                                    .seed     = seed,
                                    .steps    = pb_train_steps(options, data->train_count),
    };
    pb_status status;
    PB_TRY_GOTO(status, vector_alloc(t.backend, PB_DTYPE_F64, PB_NUMBERS, &t.numbers), done);
    PB_TRY_GOTO(status, open_trainer(&t), done);
    PB_TRY_GOTO(status, run(&t), done);
done:
    close_trainer(&t);
    return status;
}

pb_status pb_train_loss(pb_network *net, const pb_sample *rows, int64_t count, int64_t batch,
                        pb_validation_mean mean, double *loss)
{
    pb_batch packed = {0};
    pb_tensor sum   = {0};
    pb_status status;
    PB_TRY_GOTO(status, vector_alloc(pb_network_backend(net), PB_DTYPE_F64, 1, &sum), done);
    PB_TRY_GOTO(status, mean_loss(net, rows, count, batch, mean, NULL, &packed, &sum, loss), done);
done:
    pb_batch_clear(&packed);
    pb_backend_free(pb_network_backend(net), sum.data);
    return status;
}
