// SPDX-License-Identifier: Apache-2.0
/* Patterns: texts with {column}, {column[0]}, {a|b} (the first that is not empty), each optionally
 * followed by :filter; {{ and }} denote braces. */
#pragma once

#include "columns.h"
#include "filter.h"

typedef struct row_pattern_piece {
    char *literal;                    /* NULL for columns */
    const dataset_column *columns[2]; /* the second one when the first is null or empty */
    int64_t item;                     /* in a list */
    const row_filter *filter;         /* NULL: none */
} row_pattern_piece;

typedef struct row_pattern {
    row_pattern_piece *pieces;
    int64_t count;
} row_pattern;

/* `key` names the configuration's key in messages. */
pb_status row_pattern_open(const char *key, const char *text, const dataset_columns *columns,
                           row_pattern *out) PB_MUST_USE;
void row_pattern_close(row_pattern *pattern); /* accepts a zeroed one */

/* Appends the text for a checked row. *has_null: a column of it is null. */
pb_status row_pattern_write(const row_pattern *pattern, const dataset_columns *columns,
                            const json_t *row, pb_row_text *flags, pb_string *out,
                            bool *has_null) PB_MUST_USE;
