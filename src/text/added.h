// SPDX-License-Identifier: Apache-2.0
/* Added tokens: texts that are one token wherever they occur, found before (or, when `normalized`
 * is set, after) the text is normalised. */
#pragma once

#include "json.h"
#include "lexicon.h"
#include "step.h"
#include "scratch.h"

typedef struct added_token {
    int32_t id;
    bool single_word; /* only between characters that are not word characters */
    bool left, right; /* absorbs the white space on that side */
    bool normalized, special;
    char *normal; /* its normalised text where that differs; it is decoded as this */
    size_t normal_length;
} added_token;

/* A tree of bytes, first child and next sibling. */
typedef struct trie_node {
    int32_t child, sibling; /* -1: none */
    int32_t token;          /* index of the token that ends here, -1: none */
    uint8_t byte;
} trie_node;

typedef struct text_trie {
    trie_node *nodes;
    size_t count;
    int32_t roots[256]; /* node of a first byte, -1: none */
} text_trie;

typedef struct text_added {
    added_token *tokens; /* [count] */
    size_t count;
    text_lexicon texts; /* by id */
    text_trie raw;      /* of those found in the text as given */
    text_trie after;    /* of those found in the normalised text */
} text_added;

/* The highest id and the bytes of all texts of "added_tokens" of the root, checked one by one. */
pb_status added_measure(const json_t *root, int64_t *highest, int64_t *count,
                        size_t *bytes) PB_MUST_USE;

/* Reads them. `size`: ids are below it. `vocabulary` is the model's; a token that it has too must
 * have the same id in both. */
pb_status added_parse(const json_t *root, int64_t size, const text_lexicon *vocabulary,
                      const text_steps *normalizer, text_scratch *scratch,
                      text_added *out) PB_MUST_USE;
void added_clear(text_added *added);

/* The added token of an id, NULL when it is none. */
const added_token *added_of(const text_added *added, int64_t id);

/* Appends the parts of a text to `out`: added tokens of the trie, and the parts between them.
 * Special tokens that reach into [plain_begin, plain_end) are not recognised. `first`: the text
 * begins where the caller's does. */
typedef struct text_plain {
    size_t begin, end;
} text_plain;

pb_status added_find(const text_added *added, const text_trie *trie, const char *text,
                     size_t length, text_plain plain, text_spans *out) PB_MUST_USE;
