// SPDX-License-Identifier: Apache-2.0
/* The working memory of one call: buffers, spans and the state of the regular-expression matcher. A
 * tokenizer keeps a pool of these, so that it stays immutable and calls do not allocate once
 * warm. */
#pragma once

#include "pb/status.h"
#include "pb/string.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A part of a text: a piece to be tokenised, or an added token that was found. */
typedef struct text_span {
    size_t begin, end; /* bytes */
    int32_t id;        /* of the added token, -1 for text */
    bool first;        /* begins where the text given by the caller begins */
} text_span;

typedef struct text_spans {
    text_span *items;
    size_t count, capacity;
} text_spans;

pb_status spans_grow(text_spans *spans) PB_MUST_USE; /* room for at least one more */

static inline PB_MUST_USE pb_status spans_push(text_spans *spans, text_span span)
{
    if (spans->count == spans->capacity) {
        PB_TRY(spans_grow(spans));
    }
    spans->items[spans->count++] = span;
    return PB_OK;
}

/* A symbol of a word being merged, in a doubly linked list. */
typedef struct symbol {
    int32_t id; /* -1: merged into the one before it */
    int32_t previous, next;
} symbol;

/* A possible merge: the smallest key first. */
typedef struct candidate {
    uint64_t key; /* rank · 2^32 + position of the left symbol */
    int32_t id;   /* of the merged token */
} candidate;

/* A word that was tokenised before, in one cache line. */
enum { WORD_BYTES = 24, WORD_IDS = 9 };

typedef struct text_word {
    uint64_t key[3]; /* its bytes */
    int32_t ids[WORD_IDS];
    uint8_t length; /* bytes, 0: free */
    uint8_t count;  /* of ids */
} text_word;

enum { SCRATCH_BUFFERS = 3, SCRATCH_OUTSIDE = -1 };

typedef struct text_scratch {
    struct text_scratch *next; /* in the pool */

    const char *text; /* the current text; steps replace it */
    size_t length;
    int holder; /* the buffer that holds it, or SCRATCH_OUTSIDE */
    int pinned; /* a buffer that is still needed, or SCRATCH_OUTSIDE */
    pb_string buffers[SCRATCH_BUFFERS];

    text_spans spans, other;    /* pieces of the current text, and the list under construction */
    text_spans raw, normalised; /* added tokens and the parts between them */

    symbol *symbols;
    candidate *candidates; /* a heap */
    size_t symbol_room;    /* of symbols; candidates have three times that */
    text_word *words;      /* [2^(64 - word_shift)] by hash */
    int word_shift;

    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
} text_scratch;

/* `tokens`: size of the vocabulary, which is also the number of cached words, within bounds. */
pb_status scratch_create(int64_t tokens, text_scratch **out) PB_MUST_USE;
void scratch_destroy(text_scratch *w); /* accepts NULL */

/* Makes a borrowed text the current text. */
void scratch_set(text_scratch *w, const char *text, size_t length);

/* An empty buffer that is neither pinned nor holds the current text. */
pb_string *scratch_spare(text_scratch *w);

/* Makes the content of a buffer from scratch_spare the current text. */
void scratch_adopt(text_scratch *w, const pb_string *buffer);

/* Makes the list in `other` the list of pieces. */
void scratch_swap_spans(text_scratch *w);
