// SPDX-License-Identifier: Apache-2.0
/* Patterns: texts with {column}, {column[0]}, {a|b} (the first that is not empty), each optionally
 * followed by :filter; {{ and }} denote braces. */
#pragma once

#include "columns.h"
#include "filter.h"

typedef struct pb_row_pattern_piece {
    char *literal;               /* NULL for columns */
    const pb_column *columns[2]; /* the second one when the first is null or empty */
    int64_t item;                /* in a list */
    const pb_row_filter *filter; /* NULL: none */
} pb_row_pattern_piece;

typedef struct pb_row_pattern {
    pb_row_pattern_piece *pieces;
    int64_t count;
} pb_row_pattern;

/* `key` names the configuration's key in messages. */
pb_status pb_row_pattern_open(const char *key, const char *text, const pb_columns *columns,
                              pb_row_pattern *out) PB_MUST_USE;
void pb_row_pattern_close(pb_row_pattern *pattern); /* accepts a zeroed one */

/* Appends the text for a checked row. *has_null: a column of it is null. */
pb_status pb_row_pattern_write(const pb_row_pattern *pattern, const pb_columns *columns,
                               const json_t *row, pb_row_text *flags, pb_string *out,
                               bool *has_null) PB_MUST_USE;
