// SPDX-License-Identifier: Apache-2.0
/* What Python's str and re do with a text, for the protocols that are defined by them. Texts are
 * valid UTF-8. */
#pragma once

#include "pb/string.h"

#include <stdbool.h>
#include <stdint.h>

/* The character at `text` (`length` bytes left) and its number of bytes. */
int32_t pb_str_next(const char *text, size_t length, size_t *bytes);
bool pb_str_is_space(int32_t c); /* str.isspace */
bool pb_str_is_word(int32_t c);  /* a letter, a number or _, as \w of re */
int pb_str_digit(int32_t c);     /* 0 … 9 of a decimal digit of any script, else -1 */
/* Narrows the range to what str.strip leaves. */
void pb_str_strip(const char **text, size_t *length);
/* Appends str.lower: full mapping, with the final sigma. */
pb_status pb_str_lower(const char *text, size_t length, pb_string *out) PB_MUST_USE;
/* Appends str.capitalize: the first character in title case, all others in lower case. */
pb_status pb_str_capitalize(const char *text, size_t length, pb_string *out) PB_MUST_USE;

/* Matches an expression of the module re at byte `at` of a text; *end is where the match ends.
 * Supported are . ^ $ [sets] |, repetitions (greedy, lazy and possessive), groups (plain, named and
 * (?:), lookahead and lookbehind, \d \w \s \D \W \S \A \Z \b \B and escaped characters, as in
 * Python 3.11. PB_ERR_FORMAT: the expression is one that Python refuses, has another "(?", a
 * backslash before another letter or digit or a repetition of more than 65,535, which are not
 * supported here, or takes more than a million steps on the text. */
pb_status pb_re_match_at(const char *regex, const char *text, size_t at, bool *found,
                         size_t *end) PB_MUST_USE;

/* Expressions that are matched again and again: each is compiled once, and all matches together may
 * take 50 million steps. */
typedef struct pb_re_set pb_re_set;

pb_status pb_re_set_create(pb_re_set **out) PB_MUST_USE;
void pb_re_set_destroy(pb_re_set *set); /* accepts NULL */
/* re.fullmatch of `before`, `regex` and `after`, joined; errors, as of pb_re_match_at and when no
 * step is left, show `regex`. */
pb_status pb_re_fullmatch(pb_re_set *set, const char *before, const char *regex, const char *after,
                          const char *text, bool *found) PB_MUST_USE;
