// SPDX-License-Identifier: Apache-2.0
/* Open addressing with linear probing over FNV-1a (Fowler, Noll, Vo); at most half full. */
#include "intern.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

enum { FIRST_CAPACITY = 64 };

static uint64_t hash_of(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    }
    return hash ^ hash >> 29;
}

/* The slot of the text, or the free slot for it. */
static int32_t *find(const interner *texts, const char *text)
{
    for (uint64_t at = hash_of(text);; at++) {
        int32_t *slot = &texts->slots[at & (uint64_t)(texts->capacity - 1)];
        if (*slot == 0 || strcmp(texts->block.data + texts->offsets[*slot - 1], text) == 0) {
            return slot;
        }
    }
}

static pb_status grow(interner *texts)
{
    int32_t *old   = texts->slots;
    int32_t *slots = NULL;
    int64_t more   = texts->capacity > 0 ? 2 * texts->capacity : FIRST_CAPACITY;

    PB_TRY(PB_ALLOC(slots, more));
    texts->slots    = slots;
    texts->capacity = more;
    for (int64_t i = 0; i < texts->count; i++) {
        *find(texts, texts->block.data + texts->offsets[i]) = (int32_t)i + 1;
    }
    pb_memory_free(old);
    return PB_OK;
}

pb_status intern(interner *texts, const char *text, int32_t *number)
{
    if (texts->count >= INT32_MAX - 1) {
        return PB_FAIL(PB_ERR_FORMAT, "more than %" PRId32 " different answers", INT32_MAX - 1);
    }
    if (2 * (texts->count + 1) > texts->capacity) {
        PB_TRY(grow(texts));
    }
    int32_t *slot = find(texts, text);
    if (*slot == 0) {
        PB_TRY(PB_GROW(texts->offsets, texts->count + 1));
        texts->offsets[texts->count] = (int64_t)texts->block.length;
        PB_TRY(pb_string_append(&texts->block, text, strlen(text) + 1));
        *slot = (int32_t)++texts->count;
    }
    *number = *slot - 1;
    return PB_OK;
}

void interner_clear(interner *texts)
{
    pb_string_clear(&texts->block);
    pb_memory_free(texts->offsets);
    pb_memory_free(texts->slots);
    *texts = (interner){0};
}
