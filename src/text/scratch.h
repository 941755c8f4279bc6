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
typedef struct pb_span {
    size_t begin, end; /* bytes */
    int32_t id;        /* of the added token, -1 for text */
    bool first;        /* begins where the text given by the caller begins */
} pb_span;

typedef struct pb_spans {
    pb_span *items;
    size_t count, capacity;
} pb_spans;

pb_status pb_spans_grow(pb_spans *spans) PB_MUST_USE; /* room for at least one more */

static inline PB_MUST_USE pb_status pb_spans_push(pb_spans *spans, pb_span span)
{
    if (spans->count == spans->capacity) {
        PB_TRY(pb_spans_grow(spans));
    }
    spans->items[spans->count++] = span;
    return PB_OK;
}

/* A symbol of a word being merged, in a doubly linked list. */
typedef struct pb_symbol {
    int32_t id; /* -1: merged into the one before it */
    int32_t previous, next;
} pb_symbol;

/* A possible merge: the smallest key first. */
typedef struct pb_candidate {
    uint64_t key; /* rank · 2^32 + position of the left symbol */
    int32_t id;   /* of the merged token */
} pb_candidate;

/* A word that was tokenised before, in one cache line. */
enum { PB_WORD_BYTES = 24, PB_WORD_IDS = 9 };

typedef struct pb_word {
    uint64_t key[3]; /* its bytes */
    int32_t ids[PB_WORD_IDS];
    uint8_t length; /* bytes, 0: free */
    uint8_t count;  /* of ids */
} pb_word;

enum { PB_SCRATCH_BUFFERS = 3, PB_SCRATCH_OUTSIDE = -1 };

typedef struct pb_scratch {
    struct pb_scratch *next; /* in the pool */

    const char *text; /* the current text; steps replace it */
    size_t length;
    int holder; /* the buffer that holds it, or PB_SCRATCH_OUTSIDE */
    int pinned; /* a buffer that is still needed, or PB_SCRATCH_OUTSIDE */
    pb_string buffers[PB_SCRATCH_BUFFERS];

    pb_spans spans, other;    /* pieces of the current text, and the list under construction */
    pb_spans raw, normalised; /* added tokens and the parts between them */

    pb_symbol *symbols;
    pb_candidate *candidates; /* a heap */
    size_t symbol_room;       /* of symbols; candidates have three times that */
    pb_word *words;           /* [2^(64 - word_shift)] by hash */
    int word_shift;

    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
} pb_scratch;

/* `tokens`: size of the vocabulary, which is also the number of cached words, within bounds. */
pb_status pb_scratch_create(int64_t tokens, pb_scratch **out) PB_MUST_USE;
void pb_scratch_destroy(pb_scratch *w); /* accepts NULL */

/* Makes a borrowed text the current text. */
void pb_scratch_set(pb_scratch *w, const char *text, size_t length);

/* An empty buffer that is neither pinned nor holds the current text. */
pb_string *pb_scratch_spare(pb_scratch *w);

/* Makes the content of a buffer from pb_scratch_spare the current text. */
void pb_scratch_adopt(pb_scratch *w, const pb_string *buffer);

/* Makes the list in `other` the list of pieces. */
void pb_scratch_swap_spans(pb_scratch *w);
