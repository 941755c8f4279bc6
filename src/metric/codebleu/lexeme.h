// SPDX-License-Identifier: Apache-2.0
/* One token within a line of Python, as the regular expressions of Python 3.11's tokenize have it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef enum pb_lexeme_kind {
    PB_LEXEME_NONE, /* nothing fits: the tokenizer takes one character as it is */
    PB_LEXEME_END,  /* of the text */
    PB_LEXEME_CONTINUATION,
    PB_LEXEME_LINE_END,
    PB_LEXEME_COMMENT,
    PB_LEXEME_STRING,
    PB_LEXEME_OPEN_STRING, /* goes on in the next line after a backslash */
    PB_LEXEME_LONG_STRING, /* the opening quotes of a triple-quoted one */
    PB_LEXEME_OPENING,     /* bracket */
    PB_LEXEME_CLOSING,
    PB_LEXEME_OTHER, /* number, operator, name */
} pb_lexeme_kind;

/* The token at `at` of the line and the byte after it. */
pb_lexeme_kind pb_lexeme_at(const char *line, size_t length, size_t at, size_t *end);

/* The byte after the end of a string that is open at `at`; 0 when it does not end in this line. */
size_t pb_lexeme_string_end(const char *line, size_t length, size_t at, char quote, bool is_long);
