// SPDX-License-Identifier: Apache-2.0
/* Parts of the report for people. Each appends the part of one model, followed by an empty line. */
#pragma once

#include "summary.h"

#include "pb/table.h"

/* Methods and data sets that were not planned for a model have no column or row. */
bool part_has_column(const summary *all, const pb_results *results, int64_t model, int64_t method);
bool part_has_row(const summary *all, const pb_results *results, int64_t model, int64_t dataset);
/* What is shown in place of a missing score. */
const char *part_without_score(const summary_score *score);

/* Begins a table with a column for each planned method, after those of the data set and `second`.
 */
pb_status part_begin(const summary *all, const pb_results *results, int64_t model,
                     const char *second, pb_table *table) PB_MUST_USE;
/* "[51.00, 55.20]". */
pb_status part_add_interval(pb_table *table, double low, double high, bool sign) PB_MUST_USE;

/* Scores and their intervals: data sets × methods. */
pb_status part_scores(const summary *all, const pb_results *results, int64_t model, int64_t width,
                      pb_string *out) PB_MUST_USE;

/* Paired tests of the methods; nothing when there are fewer than two. */
pb_status part_paired(const summary *all, const pb_results *results, int64_t model,
                      const pb_report_options *options, pb_string *out) PB_MUST_USE;
