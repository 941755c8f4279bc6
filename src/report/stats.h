// SPDX-License-Identifier: Apache-2.0
/* Tests and intervals on plain numbers: nothing here knows about cells. Random draws depend only on
 * the index of the number, so the same values give the same answer everywhere. */
#pragma once

#include "pb/random.h"
#include "pb/status.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    STATS_SEED      = 0,   /* of all random draws */
    STATS_RESAMPLES = 2000 /* bootstrap samples of a paired difference */
};

/* Mean and sample standard deviation (n - 1) of the values that are not NaN. */
typedef struct stats_mean {
    double mean, std; /* NaN without values; std NaN below two */
    int64_t n;
} stats_mean;

stats_mean stats_mean_of(const double *values, int64_t count);

/* The t with P(|T| <= t) = PB_STATISTICS_LEVEL for Student's T; df >= 1. */
double stats_t(int64_t df);

/* Exact two-sided p of McNemar's test, above 0: numbers of rows that only A, and only B, answers
 * correctly. */
double stats_mcnemar(int64_t only_a, int64_t only_b);

/* Σ weights x, [count] each. */
double stats_weighted_sum(const double *weights, const double *x, int64_t count);

/* Σ x over the places where a word is below its limit, [count] each. */
double stats_sum_below(const uint32_t *words, const uint32_t *limits, const double *x,
                       int64_t count);

/* Holm's step-down adjustment; NaN values are not tests and stay NaN. */
pb_status stats_holm(const double *p, int64_t count, double *adjusted) PB_MUST_USE;
