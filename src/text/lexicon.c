// SPDX-License-Identifier: Apache-2.0
/* One arena for the texts and one flat table of (hash, id): a lookup touches one cache line of the
 * table and, when the hash agrees, the text. At most half full. */
#include "lexicon.h"
#include "load.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

/* Folds a product of the halves; the constants are odd with evenly spread bits. */
static inline uint64_t mix(uint64_t x)
{
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 29;
}

static inline uint32_t hash_text(const char *p, size_t length)
{
    uint64_t h = length * UINT64_C(0xd6e8feb86659fd93);

    if (length >= 8) {
        const char *last = p + length - 8;
        for (; p < last; p += 8) {
            h = mix(h ^ load64(p));
        }
        h = mix(h ^ load64(last));
    } else if (length >= 4) {
        h = mix(h ^ ((uint64_t)load32(p) << 32 | load32(p + length - 4)));
    } else if (length > 0) {
        uint64_t x = (uint64_t)(uint8_t)p[0] << 16 | (uint64_t)(uint8_t)p[length / 2] << 8 |
                     (uint8_t)p[length - 1];
        h = mix(h ^ x);
    }
    return (uint32_t)(mix(h) >> 32);
}

pb_status lexicon_create(text_lexicon *lexicon, int64_t size, int64_t count, size_t bytes)
{
    pb_status status = PB_OK;
    size_t slots     = 16;

    *lexicon = (text_lexicon){0};
    if (count > INT32_MAX / 4 || bytes > UINT32_MAX / 2) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "a vocabulary of %" PRId64 " tokens with %zu bytes is too large", count,
                       bytes);
    }
    while (slots < 2 * (size_t)count) {
        slots *= 2;
    }
    PB_TRY_GOTO(status, PB_ALLOC(lexicon->items, size), err_clear);
    PB_TRY_GOTO(status, PB_ALLOC(lexicon->slots, slots), err_clear);
    PB_TRY_GOTO(status, PB_ALLOC(lexicon->bytes, bytes + (size_t)count + 1), err_clear);
    for (int64_t id = 0; id < size; id++) {
        lexicon->items[id].offset = NO_LEXEME;
    }
    for (size_t i = 0; i < slots; i++) {
        lexicon->slots[i].id = -1;
    }
    lexicon->room = bytes + (size_t)count + 1;
    lexicon->size = size;
    lexicon->mask = (uint32_t)(slots - 1);
    return PB_OK;

err_clear:
    lexicon_clear(lexicon);
    return status;
}

void lexicon_clear(text_lexicon *lexicon)
{
    pb_memory_free(lexicon->bytes);
    pb_memory_free(lexicon->items);
    pb_memory_free(lexicon->slots);
    *lexicon = (text_lexicon){0};
}

/* The slot that holds the text, or the free slot for it. */
static inline uint32_t locate(const text_lexicon *lexicon, const char *text, size_t length,
                              uint32_t hash)
{
    uint32_t i = hash & lexicon->mask;

    while (lexicon->slots[i].id >= 0) {
        if (lexicon->slots[i].hash == hash) {
            lexeme item = lexicon->items[lexicon->slots[i].id];
            if (item.length == length && memcmp(lexicon->bytes + item.offset, text, length) == 0) {
                break;
            }
        }
        i = (i + 1) & lexicon->mask;
    }
    return i;
}

int32_t lexicon_put(text_lexicon *lexicon, int32_t id, const char *text, size_t length)
{
    uint32_t hash = hash_text(text, length);
    uint32_t slot = locate(lexicon, text, length, hash);

    if (lexicon->slots[slot].id >= 0) {
        return lexicon->slots[slot].id;
    }
    PB_ASSERT(id >= 0 && id < lexicon->size && lexicon->items[id].offset == NO_LEXEME);
    PB_ASSERT(lexicon->used + length + 1 <= lexicon->room);
    memcpy(lexicon->bytes + lexicon->used, text, length);
    lexicon->bytes[lexicon->used + length] = '\0';

    lexicon->items[id]   = (lexeme){(uint32_t)lexicon->used, (uint32_t)length};
    lexicon->slots[slot] = (lexicon_slot){hash, id};
    lexicon->used += length + 1;
    if (length > lexicon->longest) {
        lexicon->longest = (uint32_t)length;
    }
    return id;
}

int32_t lexicon_find(const text_lexicon *lexicon, const char *text, size_t length)
{
    if (lexicon->slots == NULL || length > lexicon->longest) {
        return -1;
    }
    return lexicon->slots[locate(lexicon, text, length, hash_text(text, length))].id;
}

const char *lexicon_text(const text_lexicon *lexicon, int64_t id, size_t *length)
{
    if (id < 0 || id >= lexicon->size || lexicon->items[id].offset == NO_LEXEME) {
        return NULL;
    }
    if (length != NULL) {
        *length = lexicon->items[id].length;
    }
    return lexicon->bytes + lexicon->items[id].offset;
}
