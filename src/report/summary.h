// SPDX-License-Identifier: Apache-2.0
/* Statistics over the cells of results. A cell counts when it is done and valid; every statistic
 * says how many of the planned cells it is based on. */
#pragma once

#include "stats.h"

#include "pb/report.h"

#include <stdbool.h>

typedef struct summary_range {
    double low, high; /* NaN where unknown */
} summary_range;

/* A (model, data set, method). */
typedef struct summary_score {
    stats_mean score; /* over seeds, percent */
    /* 95 % intervals, percent. rows: mean of the ends over seeds. seeds: Student's t. whole: for
     * other rows and other seeds; of a single seed, for other rows. */
    summary_range rows, seeds, whole;
    int64_t planned, done, failed, invalid, missing;
    const char *metric;     /* "" when no cell is done */
    double truncated_share; /* share of rows that were cut to fit: mean over seeds; NaN: unknown */
} summary_score;

/* Fills the intervals of a score from the ends of its cells, NaN where a cell does not count. */
void summary_intervals(const double *lows, const double *highs, int64_t count,
                       summary_score *score);

/* Energy of the device, the processors' packages, their memory, the node: in all of a cell, in
 * training, validation, test. */
enum { SUMMARY_COMPONENTS = 4, SUMMARY_PARTS = 4 };

/* A (model, method): means over its cells, and PSCP. */
typedef struct summary_cost {
    stats_mean params, flops_t, memory_gb, seconds_train, tokens_per_second;
    stats_mean system_gb;
    stats_mean memory_mean_gb, memory_p99_gb, adapter_bytes, mfu, mfu_validation, mfu_test;
    stats_mean energy_j[SUMMARY_COMPONENTS][SUMMARY_PARTS];
    double score; /* P: mean over data sets of the mean over seeds */
    int64_t datasets, datasets_planned;
    bool has_pscp;
    pb_pscp_result pscp;
    double pscp_std; /* over the seeds that have every data set of this method */
    int64_t pscp_seeds;
    char problem[160]; /* why there is no PSCP, or "" */
} summary_cost;

typedef struct summary {
    summary_score *scores; /* [models][datasets][methods] */
    summary_cost *costs;   /* [models][methods] */
    int64_t cells, done, failed, invalid, missing;
    pb_pscp_params params;
} summary;

pb_status summary_make(const pb_results *results, const pb_report_options *options,
                       summary *out) PB_MUST_USE;
void summary_clear(summary *s);

pb_pscp_inputs summary_pscp_inputs(const summary_cost *cost);

/* The method with the highest mean score on the data set, the first among equals; -1 when there is
 * none. */
int64_t summary_best(const summary *s, const pb_results *results, int64_t model, int64_t dataset);

const summary_score *summary_score_at(const summary *s, const pb_results *results, int64_t model,
                                      int64_t dataset, int64_t method);
const summary_cost *summary_cost_at(const summary *s, const pb_results *results, int64_t model,
                                    int64_t method);
