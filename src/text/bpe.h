// SPDX-License-Identifier: Apache-2.0
/* The model of type BPE (Sennrich et al., 2016): a vocabulary and ranked merges of neighbouring
 * tokens. */
#pragma once

#include "json.h"
#include "lexicon.h"
#include "scratch.h"

#include "pb/tokenizer.h"

typedef struct text_merge {
    uint64_t key; /* left id · 2^32 + right id; NO_MERGE: free */
    uint32_t rank;
    int32_t id;
} text_merge;

#define NO_MERGE UINT64_MAX

/* Of a merge's key, for its place in the table. */
static inline uint32_t bpe_hash(uint64_t key)
{
    return (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

typedef struct text_bpe {
    const text_lexicon *vocabulary; /* of the file, borrowed */
    text_lexicon raw;               /* by bytes: the same tokens, byte characters undone */
    const text_lexicon *pieces;     /* where a whole piece is looked up: raw or vocabulary */
    bool *whole;        /* [size] a piece with this token's text becomes this token at once */
    text_merge *merges; /* [merge_mask + 1], open addressing */
    uint32_t merge_mask;
    int32_t byte_ids[256]; /* of a byte's character (by bytes) or of "<0x..>"; -1: none */
    int32_t unk;           /* -1: characters without a token are dropped */
    bool by_bytes, byte_fallback, fuse_unk, ignore_merges;
    bool splits_words; /* no merge joins another character to a following U+2581 */
} text_bpe;

/* U+2581, which stands for a space in SentencePiece's vocabularies. */
#define WORD_START "\xe2\x96\x81"

/* Reads "model" of a tokenizer.json; its vocabulary is already in `vocabulary`. by_bytes: pieces
 * are bytes of a byte-level pre-tokenizer. */
pb_status bpe_parse(const json_t *model, const text_lexicon *vocabulary, bool by_bytes,
                    text_scratch *scratch, text_bpe *out) PB_MUST_USE;
void bpe_clear(text_bpe *bpe);

/* Appends the ids of one word by merging, without the cache of earlier words. */
pb_status bpe_merge(const text_bpe *bpe, text_scratch *scratch, const char *word, size_t length,
                    pb_ids *out) PB_MUST_USE;

/* Appends the ids of all current pieces, none of which is empty. */
pb_status bpe_encode(const text_bpe *bpe, text_scratch *scratch, pb_ids *out) PB_MUST_USE;
