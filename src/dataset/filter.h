// SPDX-License-Identifier: Apache-2.0
/* Transformations of a column's text in a pattern. A new filter is a function and a line of the
 * table. */
#pragma once

#include "pb/status.h"
#include "pb/string.h"

typedef struct row_filter {
    const char *name;
    /* Appends the transformed text. NULL: the entries of a list, joined with ", ". */
    pb_status (*apply)(const char *text, size_t length, pb_string *out);
} row_filter;

/* Unknown: an error that names the nearest. */
pb_status row_filter_find(const char *name, const row_filter **out) PB_MUST_USE;
