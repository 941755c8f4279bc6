// SPDX-License-Identifier: Apache-2.0
/* Columns of a terminal that a text takes: a letter one, most of East Asia and most pictures two, a
 * mark above a letter none. Bytes that are not UTF-8 take one each. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Bytes of the next character of a text that is not empty; *columns: what it takes. */
size_t pb_width_next(const char *text, int *columns);

/* The columns of a terminated text. */
int64_t pb_width(const char *text);
