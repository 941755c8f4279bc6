// SPDX-License-Identifier: Apache-2.0
/* The terminal columns of a text: one for a letter, two for most East Asian characters and emoji,
 * none for a combining mark. Bytes that are not UTF-8 take one each. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Bytes of the next character of a non-empty text; *columns: its width. */
size_t pb_width_next(const char *text, int *columns);

/* The columns of a terminated text. */
int64_t pb_width(const char *text);
