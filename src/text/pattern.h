// SPDX-License-Identifier: Apache-2.0
/* A pattern of a component: a literal text or a regular expression. Expressions are written for
 * Oniguruma in tokenizer.json; they are rewritten for PCRE2 where the two differ, and refused where
 * that cannot be done exactly. */
#pragma once

#include "json.h"
#include "words.h"
#include "scratch.h"

typedef struct pb_pattern {
    pcre2_code *code; /* NULL for a literal */
    bool jit;
    pb_word_end word; /* the hand-written matcher that replaces the code, NULL when there is none */
    char *literal;
    size_t length; /* of the literal, bytes */
} pb_pattern;

/* From {"String": …} or {"Regex": …} under "pattern" of `object`. */
pb_status pb_pattern_parse(const json_t *object, const char *place, pb_pattern *out) PB_MUST_USE;
pb_status pb_pattern_regex(const char *regex, size_t length, const char *place,
                           pb_pattern *out) PB_MUST_USE;
pb_status pb_pattern_literal(const char *text, size_t length, pb_pattern *out) PB_MUST_USE;
void pb_pattern_clear(pb_pattern *pattern);

/* True when the pattern may match an empty text. */
bool pb_pattern_may_be_empty(const pb_pattern *pattern);

/* Walks over the matches in a text, from left to right. An empty match directly after a match does
 * not count. */
typedef struct pb_matches {
    const pb_pattern *pattern;
    pb_scratch *scratch;
    const char *text;
    size_t length;
    size_t from;       /* where the next search begins */
    size_t last_end;   /* of the previous match, SIZE_MAX for none */
    size_t begin, end; /* the current match */
} pb_matches;

pb_matches pb_matches_of(const pb_pattern *pattern, pb_scratch *scratch, const char *text,
                         size_t length);
pb_status pb_matches_next(pb_matches *m, bool *found) PB_MUST_USE;

/* Appends the text with all matches replaced; *changed tells whether there was one (nothing is
 * appended when not). */
pb_status pb_pattern_replace(const pb_pattern *pattern, pb_scratch *scratch, const char *text,
                             size_t length, const char *content, size_t content_length,
                             pb_string *out, bool *changed) PB_MUST_USE;
