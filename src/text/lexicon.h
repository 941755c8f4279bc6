// SPDX-License-Identifier: Apache-2.0
/* Texts numbered by id, and an open-addressing hash table from text to id. Gaps are allowed. */
#pragma once

#include "pb/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct pb_lexeme {
    uint32_t offset; /* into bytes; PB_NO_LEXEME: this id has no text */
    uint32_t length;
} pb_lexeme;

#define PB_NO_LEXEME UINT32_MAX

typedef struct pb_lexicon_slot {
    uint32_t hash;
    int32_t id; /* -1: free */
} pb_lexicon_slot;

typedef struct pb_lexicon {
    char *bytes; /* the texts, each terminated */
    size_t used, room;
    pb_lexeme *items; /* [size] */
    int64_t size;
    pb_lexicon_slot *slots; /* [mask + 1] */
    uint32_t mask;
    uint32_t longest; /* bytes */
} pb_lexicon;

/* Room for ids 0 … size - 1, of which `count` have texts of `bytes` bytes together. */
pb_status pb_lexicon_create(pb_lexicon *lexicon, int64_t size, int64_t count,
                            size_t bytes) PB_MUST_USE;
void pb_lexicon_clear(pb_lexicon *lexicon);

/* Sets the text of an id. Returns the id that already has this text (nothing is changed then), else
 * the id itself. The id must be free and within the reserved range. */
int32_t pb_lexicon_put(pb_lexicon *lexicon, int32_t id, const char *text, size_t length);

/* The id of a text, -1 when there is none. */
int32_t pb_lexicon_find(const pb_lexicon *lexicon, const char *text, size_t length);

/* The text of an id, NULL when it has none; `length` may be NULL. */
const char *pb_lexicon_text(const pb_lexicon *lexicon, int64_t id, size_t *length);
