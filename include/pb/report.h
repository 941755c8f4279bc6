// SPDX-License-Identifier: Apache-2.0
/* Tables from results: scores with their spread over seeds and intervals, costs, PSCP with its
 * terms, paired tests of methods, and what is missing or failed. Nothing is left out silently: a
 * mean over some of its data sets says so. */
#pragma once

#include "pb/pscp.h"
#include "pb/results.h"
#include "pb/string.h"

/* Which pairs of methods the text shows; CSV and JSON have all pairs, unless this is none. */
typedef enum pb_report_pairs {
    PB_REPORT_PAIRS_BEST = 0, /* the best method of a data set against every other one */
    PB_REPORT_PAIRS_ALL,
    PB_REPORT_PAIRS_NONE /* no tests are made, no predictions are read */
} pb_report_pairs;

/* What variants of a method are compared by: the mean over seeds of validation_loss, or of the
 * score on the test rows, whose best value is too good. */
typedef enum pb_report_best { PB_REPORT_BEST_VALIDATION, PB_REPORT_BEST_SCORE } pb_report_best;

/* A variant that was chosen; indices are those of the results afterwards. */
typedef struct pb_report_choice {
    int64_t model, dataset, method;
    const char *variant;    /* its whole name, borrowed from the choices */
    double value;           /* what it was chosen by; NaN when none of the variants has one */
    int64_t seeds, planned; /* seeds with a value, of */
    int64_t variants;       /* that were planned */
} pb_report_choice;

typedef struct pb_report_choices {
    pb_report_best by;
    pb_report_choice *items;
    int64_t count;
    int64_t left_out, left_out_failed; /* cells of variants that were not chosen */
    char **names;                      /* of the methods before */
    int64_t names_count;
} pb_report_choices;

/* Keeps one variant of each method for every model and data set: the one with values of most seeds,
 * of these the best, of these the first. The methods of the results are then those without
 * settings. On failure the results are unchanged; PB_ERR_ARGUMENT when cells are done and none of
 * a method's variants has a value. */
pb_status pb_report_choose(pb_results *results, pb_report_best by,
                           pb_report_choices *out) PB_MUST_USE;
void pb_report_choices_clear(pb_report_choices *choices); /* accepts a zeroed one */

typedef struct pb_report_options {
    pb_pscp_params pscp; /* pb_pscp_defaults() */
    pb_report_pairs pairs;
    int64_t width;    /* columns of the text; wider tables continue below; 0: PB_TABLE_WIDTH */
    bool colour;      /* of the text, for a terminal: the best of a row, what failed */
    bool betas;       /* in the tables also PSCP under other exponents; always in HTML */
    const char *path; /* of the results, named in the JSON; NULL: not named */
    const pb_report_choices *choices; /* that made the results, to be shown; NULL: none */
} pb_report_options;

/* Each appends. The options may be NULL for the defaults. */
pb_status pb_report_text(const pb_results *results, const pb_report_options *options,
                         pb_string *out) PB_MUST_USE;
/* The same tables for a page of Markdown, and for a paper: LaTeX with the rules of booktabs. */
pb_status pb_report_markdown(const pb_results *results, const pb_report_options *options,
                             pb_string *out) PB_MUST_USE;
pb_status pb_report_latex(const pb_results *results, const pb_report_options *options,
                          pb_string *out) PB_MUST_USE;
/* One page of HTML that needs no other file: the tables, their figures as SVG, learning curves and
 * traces of memory, and the data as in pb_report_json. */
pb_status pb_report_html(const pb_results *results, const pb_report_options *options,
                         pb_string *out) PB_MUST_USE;
/* The figures of that page as files of a folder, which is made: for each a script of gnuplot with
 * its data, an SVG and a PDF; all.gp draws them all. *count: figures. PB_ERR_NOT_FOUND without
 * gnuplot, after the scripts are written. */
pb_status pb_report_plots(const pb_results *results, const pb_report_options *options,
                          const char *directory, int64_t *count) PB_MUST_USE;
/* One long table: table, model, dataset, method, versus, quantity, unit, value, std, low, high, n,
 * of, note; then model_base, dataset_base, method_base and a column per setting that varies. */
pb_status pb_report_csv(const pb_results *results, const pb_report_options *options,
                        pb_string *out) PB_MUST_USE;
/* A line per cell, also failed and missing ones: model, dataset, method, seed, state, metric, every
 * number of the record, cause; then the columns of variants. */
pb_status pb_report_csv_cells(const pb_results *results, const pb_report_options *options,
                              pb_string *out) PB_MUST_USE;
/* One object: sweep, cells, scores, costs, pscp, paired, failed, invalid, missing. */
pb_status pb_report_json(const pb_results *results, const pb_report_options *options,
                         pb_string *out) PB_MUST_USE;

typedef enum pb_report_form {
    PB_REPORT_FORM_TEXT,
    PB_REPORT_FORM_MARKDOWN,
    PB_REPORT_FORM_LATEX
} pb_report_form;

/* Largest differences that count as alike, relative to the larger value: 2 allows any. */
typedef struct pb_report_tolerances {
    double results; /* scores, validation losses, training losses of all steps */
    double costs;   /* seconds of training and testing, peak memory */
} pb_report_tolerances;

/* Two sweeps: machines, versions and settings that differ, cells that only one has, and how far the
 * numbers of the others are apart. *alike: both have the same cells in the same states, and no
 * number is beyond its tolerance. */
pb_status pb_report_compare(const pb_results *a, const pb_results *b,
                            const pb_report_tolerances *tolerances,
                            const pb_report_options *options, pb_report_form form, bool *alike,
                            pb_string *out) PB_MUST_USE;

/* The PSCP of rows that were read from a table: the constants, `width`, `colour` and `betas` of the
 * options count. Appends; an input that has no PSCP is PB_ERR_NUMERIC with its method. */
pb_status pb_report_rows(const pb_pscp_row *rows, int64_t count, const pb_report_options *options,
                         pb_report_form form, pb_string *out) PB_MUST_USE;

/* The PSCP of every model and method, as stored in the merged file. */
pb_status pb_report_pscp(const pb_results *results, const pb_report_options *options,
                         pb_results_pscp *out) PB_MUST_USE;
void pb_report_pscp_clear(pb_results_pscp *pscp); /* accepts a zeroed one */
