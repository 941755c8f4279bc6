// SPDX-License-Identifier: Apache-2.0
/* The contents of an open data set. */
#pragma once

#include "pb/dataset.h"

/* Keys that are checked when a file is opened, when the configuration may no longer exist. */
typedef enum dataset_key { KEY_TRAIN_FILE, KEY_TEST_FILE, KEY_HEADER, KEY_COUNT } dataset_key;

struct pb_dataset {
    pb_dataset_options options;
    pb_data_options data; /* numbers only: the text is not kept */
    pb_protocol protocol;
    const pb_dataset_builder *ops;
    char *places[KEY_COUNT]; /* "file:line" of the keys, NULL where unknown */
    pb_answer_check *check;  /* NULL: answers are not checked */
    char *instructions[PB_SPLIT_COUNT];
    pb_row_builder *builders[PB_SPLIT_COUNT];
};

/* Limits the number of rows; called before the first are read. */
void rows_limit(pb_rows *rows, int64_t most);

static inline const char *split_name(pb_split split)
{
    return split == PB_SPLIT_TRAIN ? "training" : "testing";
}
