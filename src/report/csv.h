// SPDX-License-Identifier: Apache-2.0
/* Comma-separated values as in RFC 4180: quoted fields, doubled quotes, line ends LF or CRLF, an
 * optional byte order mark. */
#pragma once

#include "pb/string.h"

#include <stdint.h>

typedef struct csv_row {
    char **fields; /* terminated texts */
    int64_t count;
    int64_t line; /* where it begins, from 1 */
} csv_row;

typedef struct csv_table {
    csv_row *rows; /* the first is the header; every row has as many fields */
    int64_t count;
} csv_table;

/* `name` appears in messages. Empty lines are skipped. On failure *out is unchanged. */
pb_status csv_parse(const char *name, const char *text, size_t length, csv_table *out) PB_MUST_USE;
void csv_clear(csv_table *table);

/* The index of a column of the header, -1 when there is none. */
int64_t csv_column(const csv_table *table, const char *name);

/* Appends a text as a field: quoted where necessary; control characters and bytes that are not
 * UTF-8 as "\x0a"; preceded by an apostrophe where a spreadsheet would take it for a formula. */
pb_status csv_put(pb_string *out, const char *field) PB_MUST_USE;
