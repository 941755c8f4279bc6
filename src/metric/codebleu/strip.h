// SPDX-License-Identifier: Apache-2.0
/* Python code without comments and docstrings, as the tokenizer of Python 3.11 and a rebuilding
 * from its tokens leave it: spaces instead of the white space between tokens, no blank lines. */
#pragma once

#include "pb/string.h"

#include <stdbool.h>

/* Puts the stripped text into *out, which is empty before. Where that tokenizer fails (an open
 * bracket or long string at the end, a dedent to no outer level), *failed is true and the text is
 * unchanged. */
pb_status code_strip(const char *text, size_t length, pb_string *out, bool *failed) PB_MUST_USE;
