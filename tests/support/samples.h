// SPDX-License-Identifier: Apache-2.0
/* All samples of a split at once, for tests; the program never holds them. */
#pragma once

#include "pb/dataset.h"
#include "pb/hash.h"

typedef struct test_samples {
    pb_example *items; /* [count], owned with their texts */
    int64_t count;
    pb_row_counts counts;
    char sha[PB_HASH_TEXT];
} test_samples;

/* Fails as pb_rows_open and pb_rows_next do; then *out is empty. */
pb_status test_samples_read(const pb_dataset *ds, pb_split split, int threads, test_samples *out);
void test_samples_clear(test_samples *samples); /* accepts a zeroed one */
