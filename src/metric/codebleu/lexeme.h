// SPDX-License-Identifier: Apache-2.0
/* One token within a line of Python, as the regular expressions of Python 3.11's tokenize have it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef enum lexeme_kind {
    LEXEME_NONE, /* nothing fits: the tokenizer takes one character as it is */
    LEXEME_END,  /* of the text */
    LEXEME_CONTINUATION,
    LEXEME_LINE_END,
    LEXEME_COMMENT,
    LEXEME_STRING,
    LEXEME_OPEN_STRING, /* continues in the next line after a backslash */
    LEXEME_LONG_STRING, /* the opening quotes of a triple-quoted one */
    LEXEME_OPENING,     /* bracket */
    LEXEME_CLOSING,
    LEXEME_OTHER, /* number, operator, name */
} lexeme_kind;

/* The token at `at` of the line and the byte after it. */
lexeme_kind lexeme_at(const char *line, size_t length, size_t at, size_t *end);

/* The byte after the end of a string that is open at `at`; 0 when it does not end in this line. */
size_t lexeme_string_end(const char *line, size_t length, size_t at, char quote, bool is_long);
