// SPDX-License-Identifier: Apache-2.0
/* Tables for people: columns as wide as their widest cell on a terminal, the first ones to the
 * left, the others to the right, none of them cut. "?" stands for what is not known, "-" for what
 * does not apply. */
#pragma once

#include "pb/string.h"

#include <stdbool.h>
#include <stdint.h>

#define PB_TABLE_UNKNOWN "?"
#define PB_TABLE_NOTHING "-"

enum { PB_TABLE_WIDTH = 120, PB_TABLE_WIDTH_MIN = 20, PB_TABLE_NUMBER = 64 };

typedef struct pb_table {
    char **cells; /* row by row */
    int64_t columns, left, count;
} pb_table;

/* `left` columns are aligned to the left. */
void pb_table_init(pb_table *table, int64_t columns, int64_t left);
void pb_table_clear(pb_table *table); /* accepts a zeroed one */
/* Adds the next cell; a row is full after `columns` of them. Control characters are shown as
 * "\x0a". */
pb_status pb_table_add(pb_table *table, const char *format, ...) PB_MUST_USE PB_PRINTF(2, 3);
/* The cells of a NULL-terminated list. */
pb_status pb_table_add_all(pb_table *table, const char *const *texts) PB_MUST_USE;
/* A number with so many digits behind the point; NaN is not known. */
pb_status pb_table_add_number(pb_table *table, double value, int digits) PB_MUST_USE;
/* Appends the table; the first row is its header. Columns that do not fit into `width` go on below,
 * behind the ones to the left again, and a text that is too long even so goes on in its column; 0:
 * any width. */
pb_status pb_table_print(const pb_table *table, int64_t width, pb_string *out) PB_MUST_USE;

/* "1 cell", "2 cells", into `text`, which is returned. */
const char *pb_table_count(char text[PB_TABLE_NUMBER], int64_t count, const char *noun);
/* A number with so many digits behind the point, never "-0.00"; with `sign`, "+" before what is
 * above zero. Into `text`, which is returned. */
const char *pb_table_number(char text[PB_TABLE_NUMBER], double value, int digits, bool sign);

/* Appends a paragraph in lines of at most `width` (0: one line), broken at blanks, and a line end.
 * It begins behind `indent` columns that are there already; its other lines have as many blanks. */
pb_status pb_table_note(pb_string *out, int64_t width, int64_t indent, const char *format,
                        ...) PB_MUST_USE PB_PRINTF(4, 5);
