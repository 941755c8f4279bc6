// SPDX-License-Identifier: Apache-2.0
/* See train_fixture.h. */
#include "train_fixture.h"

#include "pb/memory.h"

#include <stdlib.h>
#include <string.h>

pb_train_options train_options(int64_t steps, int64_t batch, double learning_rate)
{
    pb_train_options options;
    assert_ok(pb_config_defaults(pb_train_fields, &options));
    options.max_steps      = steps;
    options.epochs         = 1e6;
    options.batch          = batch;
    options.learning_rate  = learning_rate;
    options.schedule       = PB_SCHEDULE_CONSTANT;
    options.warmup_ratio   = 0.0;
    options.evaluate_share = 0.0;
    options.shuffle        = false;
    return options;
}

static pb_status on_step(void *context, const pb_train_step *step)
{
    train_log *log = context;
    assert_true(log->count < TRAIN_STEPS_MAX);
    log->allocations[log->count] = pb_memory_allocations();
    log->steps[log->count++]     = *step;
    if (log->fail_step == step->step) {
        return PB_FAIL(PB_ERR_IO, "the step is not wanted");
    }
    return PB_OK;
}

static pb_status on_validation(void *context, int64_t step, double loss, double seconds)
{
    train_log *log = context;
    int64_t n      = log->validations++;
    assert_true(n < TRAIN_STEPS_MAX && seconds >= 0.0);
    log->validated[n] = step;
    log->losses[n]    = loss;
    if (log->method != NULL) {
        log->values[n] = host_values(log->method->backend, &log->method->values);
    }
    if (log->fail_validation == step && step > 0) {
        return PB_FAIL(PB_ERR_IO, "the validation is not wanted");
    }
    return PB_OK;
}

static pb_status on_gradients(void *context, int64_t step)
{
    train_log *log = context;
    log->gradients++;
    if (log->fail_gradients == step) {
        return PB_FAIL(PB_ERR_IO, "the gradients are not wanted");
    }
    return PB_OK;
}

static bool on_stop(void *context)
{
    const train_log *log = context;
    return log->stop_before > 0 && log->count + 1 == log->stop_before;
}

pb_train_observer train_observer(train_log *log)
{
    return (pb_train_observer){
        .context    = log,
        .step       = on_step,
        .validation = on_validation,
        .gradients  = on_gradients,
        .stop       = on_stop,
    };
}

pb_status train_run(network_fixture *f, const pb_train_options *options, uint64_t seed,
                    const pb_train_data *data, train_log *log, pb_train_result *result)
{
    pb_train_observer observer = train_observer(log);
    log->count                 = 0;
    log->validations           = 0;
    log->gradients             = 0;
    return pb_train_run(f->net, f->method, options, seed, data, &observer, result);
}

void train_log_free(train_log *log)
{
    for (int64_t i = 0; i < log->validations; i++) {
        free(log->values[i]);
        log->values[i] = NULL;
    }
}
