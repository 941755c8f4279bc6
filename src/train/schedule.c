// SPDX-License-Identifier: Apache-2.0
/* The number of steps and the learning rate of each, as transformers' schedulers compute them. */
#include "pb/train.h"

#include <math.h>

int64_t pb_train_steps(const pb_train_options *options, int64_t train_count)
{
    int64_t rows  = options->batch * options->accumulate;
    int64_t epoch = (train_count + rows - 1) / rows;
    double all    = ceil(options->epochs * (double)epoch);
    int64_t steps = all < 9e15 ? (int64_t)all : INT64_C(9000000000000000);
    return options->max_steps > 0 && options->max_steps < steps ? options->max_steps : steps;
}

double pb_train_lr(const pb_train_options *options, int64_t steps, int64_t step)
{
    double peak   = options->learning_rate;
    double warmup = ceil(options->warmup_ratio * (double)steps);
    double s      = (double)step;
    if (s < warmup) {
        return peak * s / fmax(1.0, warmup);
    }
    double past = (s - warmup) / fmax(1.0, (double)steps - warmup);
    switch ((pb_schedule)options->schedule) {
    case PB_SCHEDULE_COSINE:
        return peak * fmax(0.0, 0.5 * (1.0 + cos(acos(-1.0) * past)));
    case PB_SCHEDULE_LINEAR:
        return peak * fmax(0.0, 1.0 - past);
    case PB_SCHEDULE_CONSTANT:
        break;
    }
    return peak;
}
