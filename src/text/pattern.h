// SPDX-License-Identifier: Apache-2.0
/* A pattern of a component: a literal text or a regular expression. Expressions are written for
 * Oniguruma in tokenizer.json; they are rewritten for PCRE2 where the two differ, and refused where
 * that cannot be done exactly. */
#pragma once

#include "json.h"
#include "words.h"
#include "scratch.h"

typedef struct text_pattern {
    pcre2_code *code; /* NULL for a literal */
    bool jit;
    word_end word; /* the hand-written matcher that replaces the code, NULL when there is none */
    char *literal;
    size_t length; /* of the literal, bytes */
} text_pattern;

/* From {"String": …} or {"Regex": …} under "pattern" of `object`. */
pb_status pattern_parse(const json_t *object, const char *place, text_pattern *out) PB_MUST_USE;
pb_status pattern_regex(const char *regex, size_t length, const char *place,
                        text_pattern *out) PB_MUST_USE;
pb_status pattern_literal(const char *text, size_t length, text_pattern *out) PB_MUST_USE;
void pattern_clear(text_pattern *pattern);

/* True when the pattern may match an empty text. */
bool pattern_may_be_empty(const text_pattern *pattern);

/* Walks over the matches in a text, from left to right. An empty match directly after a match does
 * not count. */
typedef struct matches {
    const text_pattern *pattern;
    text_scratch *scratch;
    const char *text;
    size_t length;
    size_t from;       /* where the next search begins */
    size_t last_end;   /* of the previous match, SIZE_MAX for none */
    size_t begin, end; /* the current match */
} matches;

matches matches_of(const text_pattern *pattern, text_scratch *scratch, const char *text,
                   size_t length);
pb_status matches_next(matches *m, bool *found) PB_MUST_USE;

/* Appends the text with all matches replaced; *changed tells whether there was one (nothing is
 * appended when not). */
pb_status pattern_replace(const text_pattern *pattern, text_scratch *scratch, const char *text,
                          size_t length, const char *content, size_t content_length, pb_string *out,
                          bool *changed) PB_MUST_USE;
