// SPDX-License-Identifier: Apache-2.0
/* Arithmetic of + - * / // % with signs and parentheses. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef enum expression_grammar {
    EXPRESSION_PYTHON,  /* Python's literals: no leading zeros, 1_0, 5e0, 0x10; no line breaks */
    EXPRESSION_DECIMAL, /* digits with an optional point, leading zeros allowed */
} expression_grammar;

/* False when the text is not an expression or has no value (division by zero, nesting above 100).
 */
bool expression_value(expression_grammar grammar, const char *text, size_t length, double *out);
