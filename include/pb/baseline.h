// SPDX-License-Identifier: Apache-2.0
/* Baselines: methods that answer from the training answers alone, so that a table shows how much a
 * score is worth. */
#pragma once

#include "pb/status.h"

#include <stdbool.h>
#include <stdint.h>

/* The input of a baseline: answers of the training part, and the classes, if any. */
typedef struct pb_answers {
    const char *const *train; /* [train_count], at least one */
    int64_t train_count;
    char *const *labels; /* [label_count] */
    int64_t label_count;
} pb_answers;

typedef struct pb_baseline {
    /* texts [count]: the answers to the test rows, each by pb_memory_text. They are NULL on entry;
     * texts made before a failure belong to the caller. */
    pb_status (*answer)(uint64_t seed, const pb_answers *answers, int64_t count, char **texts);
    int labels;   /* number of classes the data set must have; 0: any, or none */
    bool numbers; /* its answers must be single numbers, as the metric pearsonr reads them */
} pb_baseline;
