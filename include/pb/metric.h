// SPDX-License-Identifier: Apache-2.0
/* Metrics: generated texts and references → scores, in both protocols.
 *
 * A metric is one table; `pb_metric_score` post-processes the texts, calls it, and gives the main
 * value, a list of named values, and per row whether the prediction is correct.
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
    int64_t rows;
    char *const *labels; /* [label_count] class names; index 1 is the positive class of two */
    int64_t label_count;
} pb_metric_input;

typedef struct pb_metric_value {
    char name[56];
    double value;  /* shares in 0 … 1; counts where is_count */
    bool is_count; /* a whole number of rows */
} pb_metric_value;

typedef struct pb_metric_result {
    const char *main_name; /* name of the value that enters the tables (times 100 there) */
    double main;           /* NaN only under the paper protocol */
    pb_metric_value
        *values; /* [count], named as PEFT-Bench's and the corrected results name them */
    int64_t count;
    /* Ends of the 95 % percentile interval of `main` from resampled rows; NaN where unknown. */
    double main_low, main_high;
    double *row_values; /* [rows] worth of a row by itself, 1 at best: what paired tests compare */
    bool *correct;      /* [rows] the prediction counts as right */
    bool *invalid;      /* [rows] the prediction is no label or no number */
    char **predictions, **references; /* [rows] post-processed texts */
    int64_t rows;
} pb_metric_result;

typedef struct pb_metric {
    const char *name;
    bool needs_labels;
    bool keeps_case; /* corrected: texts are not lower-cased (code) */
    /* Fails, with what to do, where this build lacks what the metric needs; NULL: it needs nothing.
     */
    pb_status (*available)(void);
    /* Fills main, values (by pb_metric_add), correct, invalid from the post-processed texts that
     * are in `result`; `labels` [input->label_count] are post-processed too. */
    pb_status (*score)(const pb_metric_input *input, char *const *labels, pb_metric_result *result);
    bool fills_row_values; /* `score` does; else a row is worth 1 when correct, 0 when not */
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
/* For metric tables. */
pb_status pb_metric_add(pb_metric_result *result, const char *name, double value,
                        bool is_count) PB_MUST_USE;

/* What is compared: the text behind the last `</think>`, without white space at its ends, in full
 * Unicode lower case unless keep_case. */
pb_status pb_metric_post(pb_protocol protocol, bool keep_case, const char *text,
                         char **out) PB_MUST_USE;
