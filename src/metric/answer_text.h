// SPDX-License-Identifier: Apache-2.0
/* Answers as words, the way SQuAD (Rajpurkar et al. 2016) and ReCoRD compare them: lower case,
 * without ASCII punctuation and without the words a, an, the. */
#pragma once

#include "pb/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct answer_text {
    char *words;         /* in their order, one space between */
    char *storage;       /* the same, each ended by NUL */
    const char **sorted; /* [count] in storage, by their bytes */
    int64_t count;
} answer_text;

/* `text` is valid UTF-8. */
pb_status answer_text_make(const char *text, answer_text *out) PB_MUST_USE;
void answer_text_clear(answer_text *a); /* accepts a zeroed one */

bool answer_text_equal(const answer_text *a, const answer_text *b);
/* Harmonic mean of precision and recall over words that are counted as often as both have them; 0
 * where none is shared, two empty texts included. */
double answer_text_f1(const answer_text *prediction, const answer_text *answer);
