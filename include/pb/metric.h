// SPDX-License-Identifier: Apache-2.0
/* Metrics: generated texts and references → scores, in both protocols.
 *
 * A metric is one table; `pb_metric_score` post-processes the texts, calls it, and gives the main
 * value with its confidence interval, a list of named values, and per row whether the prediction is
 * correct and what it is worth.
 *
 *     pb_metric_input input = {.protocol = …, .predictions = …, .references = …, .rows = n, …};
 *     PB_TRY(pb_metric_score("f1", &input, &result));
 */
#pragma once

#include "pb/protocol.h"
#include "pb/string.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct pb_metric_input {
    pb_protocol protocol;
    const char *const *predictions; /* [rows] as generated, UTF-8 */
    const char *const *references;  /* [rows] answers */
    /* [rows] all right answers of a row, each list ended by NULL; NULL: the reference alone. */
    const char *const *const *alternatives;
    const char *const *ids; /* [rows] rows with equal ids ask the same; NULL: none do */
    /* Where rows stand, for messages: a file and [rows] lines; NULL: rows are named by index. */
    const char *file;
    const int64_t *lines;
    int64_t rows;
    char *const *labels; /* [label_count] class names; index 1 is the positive class of two */
    int64_t label_count;
} pb_metric_input;

typedef struct pb_metric_value {
    char name[112];
    double value;  /* shares in 0 … 1 but for output_chars_mean; counts where is_count */
    bool is_count; /* a whole number of rows */
} pb_metric_value;

typedef struct pb_metric_result {
    const char *main_name; /* name of the value that enters the tables (times 100 there) */
    double main;           /* NaN only under the paper protocol */
    /* [count] named as PEFT-Bench's and the corrected results name them. Every metric has
     * `invalid_share`, and `output_chars_mean`: mean code points of a post-processed prediction. */
    pb_metric_value *values;
    int64_t count;
    /* Ends of the 95 % interval of `main`, see pb_metric_interval; NaN where unknown. */
    double main_low, main_high;
    double *row_values; /* [rows] worth of a row by itself, 0 … 1: what paired tests compare */
    bool *correct;      /* [rows] the prediction counts as right */
    bool *invalid;      /* [rows] the prediction is no label or no number */
    char **predictions, **references; /* [rows] post-processed texts */
    int64_t rows;
    /* Where `main` comes from: main_of(protocol, sum of all units' parts). A unit is what a sample
     * of the test set is made of: a row, or all rows that ask the same. */
    const struct pb_metric *metric;
    pb_protocol protocol;
    double *parts; /* [units, width] */
    int64_t units, width;
} pb_metric_result;

typedef struct pb_metric {
    const char *name;
    /* required: fills main, values (by pb_metric_add), correct, invalid from the post-processed
     * texts that are in `result`; `labels` [input->label_count] are post-processed too, and differ.
     */
    pb_status (*score)(const pb_metric_input *input, char *const *labels, pb_metric_result *result);

    /* optional */
    bool needs_labels;
    bool keeps_case;       /* corrected: texts are not lower-cased (code) */
    bool reads_questions;  /* `ids` and `alternatives` of the input change the result */
    bool fills_row_values; /* `score` does; else a row is worth 1 when correct, 0 when not */
    /* Fails, with what to do, where this build lacks what the metric needs. */
    pb_status (*available)(void);
    /* `main` of the sums [width] of additive parts, which `score` puts into the room that
     * pb_metric_make_parts makes; NaN when it is undefined. NULL: `main` is the mean of row_values.
     */
    double (*main_of)(pb_protocol protocol, const double *sums, int64_t width);
} pb_metric;

const pb_metric *const *pb_metric_registry(void);  /* NULL-terminated */
const pb_metric *pb_metric_find(const char *name); /* NULL when there is none */
/* PB_ERR_CONFIG with the nearest name when there is no metric of this one, and with what to do when
 * this build lacks what it needs. */
pb_status pb_metric_check(const char *name) PB_MUST_USE;
/* The parser of code with its versions, or "absent". */
const char *pb_metric_parser(void);

pb_status pb_metric_score(const char *metric, const pb_metric_input *input,
                          pb_metric_result *out) PB_MUST_USE;
void pb_metric_result_clear(pb_metric_result *result); /* accepts a zeroed one */
/* The value of that name, NaN when there is none. */
double pb_metric_value_of(const pb_metric_result *result, const char *name);

/* The share of resampled `main` values that lie in the interval, and how many there are. */
#define PB_METRIC_LEVEL     0.95
#define PB_METRIC_RESAMPLES 1000

/* Ends of the percentile interval of `main` (b NULL), or of main of a minus main of b, which were
 * made from the same test rows by the same metric: each resample draws as many units as there are,
 * with replacement, the same ones of a and b. Draws depend on the number of units alone. Resamples
 * in which the value is undefined are left out; both ends are NaN with fewer than two units, or
 * when the value is undefined for all rows. */
pb_status pb_metric_interval(const pb_metric_result *a, const pb_metric_result *b, double *low,
                             double *high) PB_MUST_USE;

/* For metric tables. */
pb_status pb_metric_add(pb_metric_result *result, const char *name, double value,
                        bool is_count) PB_MUST_USE;
/* Says which row a failure is about; gives `status` back. */
pb_status pb_metric_at_row(const pb_metric_input *input, int64_t row, pb_status status);
/* Room for the parts, zeroed. */
pb_status pb_metric_make_parts(pb_metric_result *result, int64_t units, int64_t width) PB_MUST_USE;

/* What is compared: the text behind the last `</think>`, without white space at its ends, in full
 * Unicode lower case unless keep_case. */
pb_status pb_metric_post(pb_protocol protocol, bool keep_case, const char *text,
                         char **out) PB_MUST_USE;
