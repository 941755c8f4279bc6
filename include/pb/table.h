// SPDX-License-Identifier: Apache-2.0
/* Tables for people: columns as wide as their widest cell on a terminal, the first ones
 * left-aligned, the others right-aligned, none of them cut. "?" means unknown, "-" not
 * applicable. */
#pragma once

#include "pb/string.h"

#include <stdbool.h>
#include <stdint.h>

#define PB_TABLE_UNKNOWN "?"
#define PB_TABLE_NOTHING "-"

enum { PB_TABLE_WIDTH = 120, PB_TABLE_WIDTH_MIN = 20, PB_TABLE_NUMBER = 64 };

/* How terminals are asked for colour. */
#define PB_TABLE_BOLD  "\033[1m"
#define PB_TABLE_RED   "\033[31m"
#define PB_TABLE_RESET "\033[0m"

typedef enum pb_table_mark { PB_TABLE_PLAIN, PB_TABLE_BEST, PB_TABLE_BAD } pb_table_mark;

typedef struct pb_table {
    char **cells; /* [count] row by row */
    char *marks;  /* [count] pb_table_mark */
    int64_t columns, left, count;
} pb_table;

/* The first `left` columns are left-aligned. */
void pb_table_init(pb_table *table, int64_t columns, int64_t left);
/* The same with a first row, a NULL-terminated list. */
pb_status pb_table_begin(pb_table *table, const char *const *header, int64_t left) PB_MUST_USE;
void pb_table_clear(pb_table *table); /* accepts a zeroed one */
/* Adds the next cell; a row is full after `columns` of them. Control characters are shown as
 * "\x0a". */
pb_status pb_table_add(pb_table *table, const char *format, ...) PB_MUST_USE PB_PRINTF(2, 3);
/* Marks the cell that was added last. */
void pb_table_mark_last(pb_table *table, pb_table_mark mark);
/* A number with this many decimals; NaN is shown as unknown. */
pb_status pb_table_add_number(pb_table *table, double value, int digits) PB_MUST_USE;
/* Appends the table; the first row is its header. Columns that do not fit into `width` continue
 * below, after the left ones again; a text that is still too long is wrapped within its column; 0:
 * any width. With `colour`, marked cells and the header stand out on a terminal. */
pb_status pb_table_print(const pb_table *table, int64_t width, bool colour,
                         pb_string *out) PB_MUST_USE;

/* "1 cell", "2 cells", written to `text`, which is returned. */
const char *pb_table_count(char text[PB_TABLE_NUMBER], int64_t count, const char *noun);
/* A number with this many decimals, never "-0.00"; with `sign`, a "+" before numbers above zero.
 * Written to `text`, which is returned. */
const char *pb_table_number(char text[PB_TABLE_NUMBER], double value, int digits, bool sign);

/* Appends a paragraph in lines of at most `width` (0: one line), broken at blanks, and a line end.
 * Its first line starts after `indent` columns that are already there; the others are indented by
 * as many blanks. */
pb_status pb_table_note(pb_string *out, int64_t width, int64_t indent, const char *format,
                        ...) PB_MUST_USE PB_PRINTF(4, 5);
