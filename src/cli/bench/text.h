// SPDX-License-Identifier: Apache-2.0
/* Synthetic text for the benchmarks: the same everywhere for the same seed, with words, punctuation
 * and scripts as in real texts. */
#pragma once

#include "pb/random.h"
#include "pb/string.h"

#include <stdbool.h>
#include <stdint.h>

/* A text under construction; the caller clears `text`. */
typedef struct made_text {
    pb_string text;
    pb_random stream;
    uint64_t draw; /* numbers drawn so far */
} made_text;

made_text made_text_begin(int64_t seed);
uint64_t made_below(made_text *m, uint64_t n); /* 0 … n - 1 */
/* The number of a word, roughly by Zipf's law, and the word of a number. */
uint64_t made_draw_word(made_text *m);
pb_status made_word(made_text *m, uint64_t number, bool capital) PB_MUST_USE;
/* Append a sentence; a few words of another script. */
pb_status made_prose(made_text *m) PB_MUST_USE;
pb_status made_script(made_text *m) PB_MUST_USE;
