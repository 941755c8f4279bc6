// SPDX-License-Identifier: Apache-2.0
/* Numbers in texts, by the patterns of the protocol. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Python's float() of the whole text: white space around it, digits of any script, `_` between
 * digits, inf and nan. */
bool number_python(const char *text, size_t length, double *out);

typedef enum number_form {
    NUMBER_EXPONENT, /* [+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)? */
    NUMBER_PLAIN,    /* [+-]?(\d+(\.\d*)?|\.\d+) */
    NUMBER_STRICT,   /* [+-]?(\d+(\.\d+)?|\.\d+) */
} number_form;

/* The whole text has the form (ASCII digits). */
bool number_whole(number_form form, const char *text, size_t length, double *out);

/* The first [-+]?(\d[\d,]*(\.\d+)?|\.\d+) in the text, or the last non-overlapping one; commas
 * removed. */
bool number_search(const char *text, bool last, double *out);
