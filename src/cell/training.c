// SPDX-License-Identifier: Apache-2.0
/* The training of a cell: what it gives to the trainer, and what it records of it. */
#include "running.h"

#include "pb/clock.h"
#include "pb/memory.h"

#include <math.h>

/* Of a gang the first that still trains reports the progress. */
static bool leads(const running *r)
{
    const running *first = r->gang;
    while (first < r && first->ended) {
        first++;
    }
    return first == r;
}

static pb_status on_step(void *context, const pb_train_step *step)
{
    running *r = context;
    r->worked  = pb_clock_seconds();
    r->record->flops_train += step->flops;
    PB_TRY(running_sample(r));
    if (leads(r)) {
        running_progress(r, step->step, step->steps, step->loss);
    }
    if (r->observer != NULL && r->observer->step != NULL) {
        PB_TRY(r->observer->step(r->observer->context, r->cell, step));
    }
    return pb_record_add_step(r->record, &(pb_record_step){
                                             .step      = step->step,
                                             .loss      = step->loss,
                                             .lr        = step->lr,
                                             .grad_norm = step->grad_norm,
                                             .tokens    = step->tokens,
                                             .seconds   = step->seconds,
                                         });
}

static void on_validating(void *context)
{
    running *r    = context;
    r->flops_mark = running_flops(r);
    running_energy_of_steps(r);
}

static pb_status on_validation(void *context, int64_t step, double loss, double seconds)
{
    running *r = context;
    (void)seconds;
    r->worked = pb_clock_seconds();
    r->record->flops_validation += running_flops(r) - r->flops_mark;
    running_energy(r, &r->energy_validation);
    if (r->observer != NULL && r->observer->validation != NULL) {
        PB_TRY(r->observer->validation(r->observer->context, r->cell, step, loss));
    }
    return pb_record_add_validation(r->record, step, loss);
}

pb_status running_fail(running *r, pb_status status)
{
    if (status == PB_ERR_MEMORY && r->gang_size > 1 && r->env->search == NULL) {
        r->again = true;
        pb_error_clear();
        return PB_OK;
    }
    r->failed           = true;
    r->env->device_lost = r->env->device_lost || status == PB_ERR_DEVICE;
    PB_TRY(pb_record_fail(r->record, status));
    pb_error_clear();
    return PB_OK;
}

/* The phase of training is over for this member of a gang; the failure is in the error record. */
static void on_ended(void *context, pb_status status)
{
    running *r = context;
    r->ended   = true;
    if (status != PB_OK) {
        r->lost = running_fail(r, status);
        return;
    }
    r->stage = STAGE_TRAINED;
    running_close_checkpoint(r); /* it was read to its end */
    r->lost = running_phase(r, NULL);
    if (r->lost == PB_OK && r->has_file) {
        r->lost = running_save(r, NULL); /* the older one stands at another step than the others' */
    }
}

static bool save_is_due(void *context)
{
    return running_save_due(context);
}

static pb_status on_save(void *context, struct pb_train_state *state)
{
    return running_save(context, state);
}

pb_train_observer running_observer(running *r)
{
    return (pb_train_observer){.context    = r,
                               .step       = on_step,
                               .validating = on_validating,
                               .validation = on_validation,
                               .stop       = running_wants_stop,
                               .due        = save_is_due,
                               .save       = on_save,
                               .ended      = on_ended};
}

pb_train_data running_data(running *r)
{
    if (r->resume == NULL) {
        r->record->flops_train      = 0.0;
        r->record->flops_validation = 0.0;
    }
    return (pb_train_data){
        .train            = r->rows + r->validation_count,
        .train_count      = r->train_count,
        .validation       = r->rows,
        .validation_count = r->validation_count,
    };
}

void running_record_peak(running *r, int64_t bytes, int64_t device_bytes)
{
    r->record->memory_peak_gb = (double)bytes / 1e9;
    if (!pb_backend_is_host(r->env->backend)) {
        r->record->memory_device_peak_gb = (double)device_bytes / 1e9;
    }
}

/* The validation loss of the values that are tested: of the best step, or the last one. */
static double tested_loss(const running *r)
{
    int64_t count = r->record->validation_count;
    bool last     = !r->cell->plan->options.train.restore_best && count > 0;
    return last ? r->record->validation[count - 1].loss : r->trained.best_loss;
}

void running_record_training(running *r)
{
    pb_record *record             = r->record;
    const pb_train_result *result = &r->trained;
    if (r->net == NULL || r->cell->own.tests_only) {
        return; /* it is not trained */
    }
    record->seconds_train      = result->seconds_steps;
    record->seconds_validation = result->seconds_validation;
    record->train_tokens       = result->tokens;
    record->label_tokens       = result->label_tokens;
    record->best_step          = result->best_step;
    record->validation_loss    = tested_loss(r);
    if (result->seconds_steps > 0.0) {
        record->tokens_per_second = (double)result->tokens / result->seconds_steps;
        record->mfu = running_product_share(r, record->flops_train, result->seconds_steps);
    }
    record->mfu_validation =
        running_product_share(r, record->flops_validation, result->seconds_validation);
}
