// SPDX-License-Identifier: Apache-2.0
/* Short runs on the small random network, with a log of everything that the observer receives. */
#pragma once

#include "network_fixture.h"

#include "pb/train.h"

enum { TRAIN_STEPS_MAX = 2048 };

typedef struct train_log {
    pb_train_step steps[TRAIN_STEPS_MAX];
    size_t allocations[TRAIN_STEPS_MAX]; /* of the process, at the end of each step */
    int64_t count;
    int64_t validated[TRAIN_STEPS_MAX]; /* steps */
    double losses[TRAIN_STEPS_MAX];
    int64_t validations;
    int64_t gradients;
    int64_t fail_step, fail_validation, fail_gradients, stop_before; /* 0: never */
    const pb_method *method;
    float *values[TRAIN_STEPS_MAX]; /* of the method, at each validation; NULL without method */
} train_log;

/* The defaults of the table, with `steps` steps of constant rate, no shuffling and no validation
 * but the last. */
pb_train_options train_options(int64_t steps, int64_t batch, double learning_rate);

/* Fills *log, whose settings stay. */
pb_train_observer train_observer(train_log *log);

/* Runs with an observer that fills *log (its settings stay, the rest is reset). */
pb_status train_run(network_fixture *f, const pb_train_options *options, uint64_t seed,
                    const pb_train_data *data, train_log *log, pb_train_result *result) PB_MUST_USE;

void train_log_free(train_log *log);
