// SPDX-License-Identifier: Apache-2.0
/* The parts of the report for people, as blocks of a document. */
#pragma once

#include "document.h"
#include "summary.h"

/* All of them, in their order. */
pb_status sections_make(const summary *all, const pb_results *results,
                        const pb_report_options *options, document *out) PB_MUST_USE;

/* Methods and data sets that were not planned for a model have no column or row. */
bool section_has_column(const summary *all, const pb_results *results, int64_t model,
                        int64_t method);
bool section_has_row(const summary *all, const pb_results *results, int64_t model, int64_t dataset);
/* Adds what is shown in place of a missing score. */
pb_status section_add_without(pb_table *table, const summary_score *score) PB_MUST_USE;

/* Begins a table with a column for each planned method, after those of the data set and `second`.
 */
pb_status section_begin(const summary *all, const pb_results *results, int64_t model,
                        const char *second, pb_table *table) PB_MUST_USE;
/* "[51.00, 55.20]". */
pb_status section_add_interval(pb_table *table, double low, double high, bool sign) PB_MUST_USE;

/* Scores and their intervals: data sets × methods. */
pb_status section_scores(const summary *all, const pb_results *results, int64_t model,
                         document *doc) PB_MUST_USE;

/* What the cells ran with, as their records say: each name with its values and how many cells have
 * them. */
pb_status section_machines(const pb_results *results, document *doc) PB_MUST_USE;

/* Remarks: how the energy of each component is known in the cells of a model, measured, modelled or
 * absent, and why. */
pb_status section_energy(const pb_results *results, int64_t model, document *doc) PB_MUST_USE;

/* The page of HTML around the blocks of a document. */
pb_status page_write(const document *doc, const summary *all, const pb_results *results,
                     const pb_report_options *how, pb_string *out) PB_MUST_USE;

/* Paired tests of the methods; nothing when there are fewer than two. */
pb_status section_paired(const summary *all, const pb_results *results, int64_t model,
                         pb_report_pairs pairs, document *doc) PB_MUST_USE;
