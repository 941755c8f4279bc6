// SPDX-License-Identifier: Apache-2.0
/* Methods against each other on the same test rows: every pair of methods of one (model, data set).
 * Rows are read for one data set at a time, so memory does not grow with the sweep.
 *
 * The quantity compared is the mean, over the common seeds, of the value of a row under A minus
 * that under B. Predictions of one row (several answers to one question) are one unit: they are
 * flipped and resampled together. */
#pragma once

#include "pb/results.h"

#include <stdbool.h>

typedef struct paired {
    int64_t a, b;                 /* methods, a before b in the results */
    int64_t rows, seeds;          /* units, and seeds that both methods have */
    double difference, low, high; /* of the means, percent; 95 % bootstrap interval over rows */
    double p, p_holm;             /* two-sided; adjusted over the pairs of the data set */
    const char *test;             /* "mcnemar", "sign_flip_exact", "sign_flip"; "": not compared */
    const char *problem;          /* why not; "" */
} paired;

typedef struct paired_list {
    paired *pairs;
    int64_t count;
} paired_list;

/* Pairs for which both methods have a cell that counts. */
pb_status paired_make(const pb_results *results, int64_t model, int64_t dataset,
                      paired_list *out) PB_MUST_USE;
void paired_clear(paired_list *list);

/* The same from b's side: difference b - a. */
paired paired_swapped(const paired *pair);
