// SPDX-License-Identifier: Apache-2.0
/* The Unicode behaviour of Python's str that the protocol is defined by. Texts are valid UTF-8. */
#pragma once

#include "pb/string.h"

#include <stdbool.h>
#include <stdint.h>

/* The character at text (length bytes left) and its bytes. */
int32_t pb_str_next(const char *text, size_t length, size_t *bytes);
bool pb_str_is_space(int32_t c); /* str.isspace */
bool pb_str_is_word(int32_t c);  /* \w of its regular expressions */
int pb_str_digit(int32_t c);     /* 0 … 9 of a decimal digit of any script, else -1 */
/* Narrows the range to what str.strip leaves. */
void pb_str_strip(const char **text, size_t *length);
/* Appends str.lower: full mapping, with the final sigma. */
pb_status pb_str_lower(const char *text, size_t length, pb_string *out) PB_MUST_USE;
