// SPDX-License-Identifier: Apache-2.0
/* Predictions of a baseline, from the answers of the training part. */
#include "running.h"

#include "pb/memory.h"

pb_status cell_test_baseline(cell_test *t)
{
    running *r                   = t->r;
    const pb_config_list *labels = pb_dataset_labels(r->data.dataset);
    const char **train           = NULL;
    pb_answers answers           = {.train_count = r->train_count};

    PB_TRY(running_test_progress(t->r, 0));
    PB_TRY(PB_ALLOC(train, r->train_count));
    for (int64_t i = 0; i < r->train_count; i++) {
        train[i] = pb_encoded_answer(&r->data.train_set, r->order[r->validation_count + i], 0);
    }
    answers.train       = train;
    answers.labels      = labels->items;
    answers.label_count = labels->count;
    pb_status status = r->options->method->baseline->answer((uint64_t)r->cell->name.seed, &answers,
                                                            t->rows, t->predictions);
    pb_memory_free(train);
    return status;
}
