// SPDX-License-Identifier: Apache-2.0
/* The metrics of registry.def, and what they share. */
#pragma once

#include "pb/metric.h"

#define PB_ENTRY(name, source) extern const pb_metric metric_##name;
#include "registry.def"

enum { METRIC_RESAMPLES = 1000 };

/* What `main` comes from: metric->main_of of the sum of all units' parts. A unit is what a sample
 * of the test set is made of: a row, or all rows that ask the same question. */
struct pb_metric_parts {
    const pb_metric *metric;
    pb_protocol protocol;
    int64_t units, width;
    double *dense;   /* [units, width] what each unit adds to the sums [width]; or, if NULL, */
    int64_t *places; /* [units] the one sum to which it adds 1 */
    double *kept;    /* what else main_of_sample needs, scratch included; NULL: nothing */
};

/* Zeroed memory for the parts; a metric with main_of makes one of the two. */
pb_status metric_make_parts(pb_metric_parts *parts, int64_t units, int64_t width) PB_MUST_USE;
pb_status metric_make_places(pb_metric_parts *parts, int64_t units, int64_t width) PB_MUST_USE;
void metric_parts_clear(pb_metric_parts *parts);
/* `main` of the weighted units (NULL: each once); `sums` [width] is scratch. */
double metric_parts_main(const pb_metric_parts *parts, const double *weights, double *sums);

/* Ends of the interval of `main`, as pb_metric_result describes. Draws depend on the number of
 * units alone. */
pb_status metric_interval(const pb_metric_parts *parts, double main, double *low,
                          double *high) PB_MUST_USE;

/* pb_metric_score that keeps the parts, which the caller clears. */
pb_status metric_score_parts(const char *metric, const pb_metric_input *input,
                             pb_metric_result *out, pb_metric_parts *parts) PB_MUST_USE;

/* result.c */
pb_status metric_add(pb_metric_result *result, const char *name, double value,
                     bool is_count) PB_MUST_USE;
/* PB_ERR_FORMAT: the row has no right answer. */
pb_status metric_no_answer(void) PB_MUST_USE;
/* How many of the flags are set. */
int64_t metric_count(const bool *flags, int64_t rows);
/* Adds how many of the flags of the rows are set. */
pb_status metric_add_flags(pb_metric_result *result, const char *name,
                           const bool *flags) PB_MUST_USE;
/* Makes the share of correct rows the main value. */
void metric_set_share(pb_metric_result *result, const char *name);
/* Says which row a failure is about; gives `status` back. */
pb_status metric_at_row(const pb_metric_input *input, int64_t row, pb_status status);
