// SPDX-License-Identifier: Apache-2.0
/* The expressions that most tokenizers split by, matched by hand: each of their alternatives begins
 * with a different kind of character, so a text splits into matches without gaps and without
 * search. */
#pragma once

#include <stddef.h>

/* The end of the match that begins at `at` < length. */
typedef size_t (*word_end)(const char *text, size_t length, size_t at);

/* The matcher of exactly this expression, NULL when there is none. */
word_end word_find(const char *regex, size_t length);

/* GPT-2's expression (Radford et al., 2019), which ByteLevel splits by. */
extern const char word_gpt2[];
