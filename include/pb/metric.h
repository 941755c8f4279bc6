// SPDX-License-Identifier: Apache-2.0
/* Metrics: generated texts and references → scores, in both protocols.
 *
 * A metric is one table; `pb_metric_score` post-processes the texts, calls it, and returns the main
 * value with its confidence interval, a list of named values, and for each row whether the
 * prediction is correct and its value by itself.
 *
 *     pb_metric_input input = {.protocol = …, .predictions = …, .references = …, .rows = n, …};
 *     PB_TRY(pb_metric_score("f1", &input, &result)); */
#pragma once

#include "pb/protocol.h"
#include "pb/string.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct pb_metric_input {
    pb_protocol protocol;
    const char *const *predictions; /* [rows] as generated, UTF-8 */
    const char *const *references;  /* [rows] answers */
    /* [rows] all correct answers of a row, each list NULL-terminated; NULL: the reference alone. */
    const char *const *const *alternatives;
    const char *const *ids; /* [rows] rows with equal ids ask the same question; NULL: none do */
    /* Where the rows come from, for messages: a file and [rows] lines; NULL: rows are named by
     * index. */
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
    /* Ends of the percentile interval of `main` (pb/statistics.h) over 1000 samples of the test
     * set. A sample is drawn from its units: rows, or all rows that ask the same question. Samples
     * in which `main` is undefined are left out; NaN with fewer than two units, or when `main` is
     * NaN. */
    double main_low, main_high;
    double *row_values; /* [rows] value of a row by itself, 0 … 1: what paired tests compare */
    bool *correct;      /* [rows] the prediction counts as correct */
    /* [rows] the prediction lacks the form of an answer: depending on the metric it is not a label,
     * a number or an equation, or it is empty. It is not correct, and its row value is 0. */
    bool *invalid;
    char **predictions, **references; /* [rows] post-processed texts */
    int64_t rows;
} pb_metric_result;

/* What `main` is summed from; see src/metric/metrics.h. */
typedef struct pb_metric_parts pb_metric_parts;

typedef struct pb_metric {
    /* required */
    const char *name;
    const char *about; /* what it measures, in one line */
    /* What the protocols do differently, "paper → corrected", or "nothing differs". */
    const char *differences;
    /* Fills main, values, correct, invalid from the post-processed texts that are in `result`;
     * `labels` [input->label_count] are post-processed too, and differ. */
    pb_status (*score)(const pb_metric_input *input, char *const *labels, pb_metric_result *result,
                       pb_metric_parts *parts);

    /* optional */
    /* For the tests over all metrics: [4] references that it can read, where it cannot read "0",
     * "1", "1", "0". The answer is computed from each; the text alone is not a correct prediction.
     */
    const char *const *examples;
    bool needs_labels;
    bool keeps_case;       /* corrected: texts are not lower-cased (code) */
    bool reads_questions;  /* `ids` and `alternatives` of the input change the result */
    bool fills_row_values; /* `score` does; else 1 when correct, 0 when not */
    /* PB_ERR_FORMAT, naming what is missing, when no prediction could match this post-processed
     * answer under the corrected protocol. With this slot, or the next, a row needs an answer. */
    pb_status (*check_reference)(const char *text, char *const *labels, int64_t label_count);
    /* In its place where answers are numbers. */
    pb_status (*read_number)(const char *text, double *out);
    /* Fails, naming the remedy, where this build lacks what the metric needs. */
    pb_status (*available)(void);
    /* `main` of the sums [width] of all units' parts, which `score` makes; NaN when it is
     * undefined. NULL: `main` is the mean of row_values. */
    double (*main_of)(pb_protocol protocol, const double *sums, int64_t width);
    /* `main` of the weighted units (NULL: each once), asked where the sums give NaN. */
    double (*main_of_sample)(const pb_metric_parts *parts, const double *weights);
} pb_metric;

const pb_metric *const *pb_metric_registry(void); /* NULL-terminated */
/* Unknown: an error that names the nearest. */
pb_status pb_metric_find(const char *name, const pb_metric **out) PB_MUST_USE;
/* The same, and PB_ERR_CONFIG with what to do when this build lacks what the metric needs. */
pb_status pb_metric_require(const char *name, const pb_metric **out) PB_MUST_USE;
/* The parser of code with its versions, or "absent". */
const char *pb_metric_parser(void);

/* Whether predictions can be scored against this reference (NULL: the row has none) under the
 * corrected protocol: PB_ERR_FORMAT names what is missing. */
pb_status pb_metric_check_reference(const char *metric, char *const *labels, int64_t label_count,
                                    const char *reference) PB_MUST_USE;

pb_status pb_metric_score(const char *metric, const pb_metric_input *input,
                          pb_metric_result *out) PB_MUST_USE;
void pb_metric_result_clear(pb_metric_result *result); /* accepts a zeroed one */

/* What is compared: the text after the last `</think>`, without white space at its ends, in full
 * Unicode lower case unless keep_case. */
pb_status pb_metric_post(pb_protocol protocol, bool keep_case, const char *text,
                         char **out) PB_MUST_USE;
