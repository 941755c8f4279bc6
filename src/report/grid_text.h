// SPDX-License-Identifier: Apache-2.0
/* A table of texts for people: columns as wide as their widest cell, the first ones to the left,
 * the others to the right. */
#pragma once

#include "pb/string.h"

#include <stdint.h>

typedef struct grid_text {
    char **cells; /* row by row */
    int64_t columns, left, count;
} grid_text;

/* `left` columns are aligned to the left. */
void grid_text_init(grid_text *table, int64_t columns, int64_t left);
void grid_text_clear(grid_text *table);
/* Adds the next cell; a row is full after `columns` of them. */
pb_status grid_text_add(grid_text *table, const char *format, ...) PB_MUST_USE PB_PRINTF(2, 3);
/* Appends the table; the first row is its header. Columns that do not fit into `width` characters
 * go on below, behind the ones to the left again; 0: any width. */
pb_status grid_text_print(const grid_text *table, int64_t width, pb_string *out) PB_MUST_USE;
