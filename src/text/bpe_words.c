// SPDX-License-Identifier: Apache-2.0
/* Pieces into words, and words into ids by memory: texts repeat their words, so each call caches
 * the ids of recent words in a table of fixed size. A displaced word is merged again, with the same
 * result. */
#include "bpe.h"
#include "load.h"

#include "pb/memory.h"

#include <string.h>

/* The bytes of a word, 1 to WORD_BYTES, in three numbers. Loads overlap: together with the
 * length, the numbers identify the word. */
static inline void pack(const char *p, size_t length, uint64_t key[3])
{
    key[0] = 0;
    key[1] = 0;
    key[2] = 0;
    if (length >= 8) {
        key[0] = load64(p);
        key[1] = length > 16 ? load64(p + 8) : 0;
        key[2] = load64(p + length - 8);
    } else if (length >= 4) {
        key[0] = (uint64_t)load32(p) << 32 | load32(p + length - 4);
    } else {
        key[0] = (uint64_t)(uint8_t)p[0] << 16 | (uint64_t)(uint8_t)p[length / 2] << 8 |
                 (uint8_t)p[length - 1];
    }
}

static inline uint64_t hash_of(const uint64_t key[3], size_t length)
{
    uint64_t h = key[0] * UINT64_C(0x9e3779b97f4a7c15);

    h ^= h >> 32;
    h = (h + key[1]) * UINT64_C(0xd6e8feb86659fd93);
    h ^= h >> 32;
    h = (h + key[2] + length) * UINT64_C(0x9e3779b97f4a7c15);
    return h;
}

/* A word in flight: its slot in the table is prefetched some words ahead, since the table is larger
 * than the inner caches. */
typedef struct coming {
    const char *text;
    size_t length;
    uint64_t key[3];
    text_word *word; /* NULL: too long to be kept */
} coming;

enum { AHEAD = 8 };

static inline coming announce(text_scratch *scratch, text_span span)
{
    coming c = {.text = scratch->text + span.begin, .length = span.end - span.begin};

    if (c.length - 1 < WORD_BYTES) {
        pack(c.text, c.length, c.key);
        c.word = &scratch->words[hash_of(c.key, c.length) >> scratch->word_shift];
        __builtin_prefetch(c.word);
    }
    return c;
}

static pb_status learn(const text_bpe *bpe, text_scratch *scratch, const coming *c, pb_ids *out)
{
    int64_t before = out->count;

    PB_TRY(bpe_merge(bpe, scratch, c->text, c->length, out));
    int64_t count = out->count - before;
    if (c->word != NULL && count <= WORD_IDS) {
        memcpy(c->word->key, c->key, sizeof c->key);
        memcpy(c->word->ids, out->items + before, (size_t)count * sizeof *out->items);
        c->word->length = (uint8_t)c->length;
        c->word->count  = (uint8_t)count;
    }
    return PB_OK;
}

static inline pb_status encode_word(const text_bpe *bpe, text_scratch *scratch, const coming *c,
                                    pb_ids *out)
{
    const text_word *word = c->word;

    if (word == NULL || word->length != c->length || word->key[0] != c->key[0] ||
        word->key[1] != c->key[1] || word->key[2] != c->key[2]) {
        return learn(bpe, scratch, c, out);
    }
    if (out->capacity - out->count < WORD_IDS) {
        PB_TRY(pb_ids_reserve(out, WORD_IDS));
    }
    memcpy(out->items + out->count, word->ids, sizeof word->ids);
    out->count += word->count;
    return PB_OK;
}

/* Where the next word begins, at a U+2581 after another character, or the end. */
static size_t next_word(const char *text, size_t length, size_t at)
{
    size_t run = 0; /* a word may begin with several */

    while (length - at - run >= 3 && memcmp(text + at + run, WORD_START, 3) == 0) {
        run += 3;
    }
    for (at += run; at < length; at++) {
        const char *lead = memchr(text + at, WORD_START[0], length - at);
        if (lead == NULL || length - (size_t)(lead - text) < 3) {
            return length;
        }
        at = (size_t)(lead - text);
        if (memcmp(lead, WORD_START, 3) == 0) {
            return at;
        }
    }
    return length;
}

static pb_status split_words(text_scratch *scratch)
{
    for (size_t i = 0; i < scratch->spans.count; i++) {
        text_span span   = scratch->spans.items[i];
        const char *text = scratch->text + span.begin;
        size_t length    = span.end - span.begin;
        for (size_t at = 0, end = 0; at < length; at = end) {
            end = next_word(text, length, at);
            PB_TRY(spans_push(&scratch->other, (text_span){span.begin + at, span.begin + end, -1,
                                                           span.first && at == 0}));
        }
    }
    scratch_swap_spans(scratch);
    return PB_OK;
}

pb_status bpe_encode(const text_bpe *bpe, text_scratch *scratch, pb_ids *out)
{
    coming ring[AHEAD];

    if (bpe->splits_words) {
        PB_TRY(split_words(scratch));
    }
    size_t count = scratch->spans.count;
    for (size_t i = 0; i < count + AHEAD; i++) {
        coming *c = &ring[i % AHEAD];
        if (i >= AHEAD) { /* the one prefetched a round ago */
            PB_TRY(encode_word(bpe, scratch, c, out));
        }
        if (i < count) {
            *c = announce(scratch, scratch->spans.items[i]);
        }
    }
    return PB_OK;
}
