// SPDX-License-Identifier: Apache-2.0
/* Texts numbered by id, and an open-addressing hash table from text to id. Gaps are allowed. */
#pragma once

#include "pb/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct lexeme {
    uint32_t offset; /* into bytes; NO_LEXEME: this id has no text */
    uint32_t length;
} lexeme;

#define NO_LEXEME UINT32_MAX

typedef struct lexicon_slot {
    uint32_t hash;
    int32_t id; /* -1: free */
} lexicon_slot;

typedef struct text_lexicon {
    char *bytes; /* the texts, each terminated */
    size_t used, room;
    lexeme *items; /* [size] */
    int64_t size;
    lexicon_slot *slots; /* [mask + 1] */
    uint32_t mask;
    uint32_t longest; /* bytes */
} text_lexicon;

/* Room for ids 0 … size - 1, of which `count` have texts of `bytes` bytes together. */
pb_status lexicon_create(text_lexicon *lexicon, int64_t size, int64_t count,
                         size_t bytes) PB_MUST_USE;
void lexicon_clear(text_lexicon *lexicon);

/* Sets the text of an id. Returns the id that already has this text (nothing is changed then), else
 * the id itself. The id must be free and within the reserved range. */
int32_t lexicon_put(text_lexicon *lexicon, int32_t id, const char *text, size_t length);

/* The id of a text, -1 when there is none. */
int32_t lexicon_find(const text_lexicon *lexicon, const char *text, size_t length);

/* The text of an id, NULL when it has none; `length` may be NULL. */
const char *lexicon_text(const text_lexicon *lexicon, int64_t id, size_t *length);
