// SPDX-License-Identifier: Apache-2.0
/* Open addressing with linear steps, at most half full. */
#include "pb/interned.h"

#include "pb/memory.h"

#include <string.h>

enum { FIRST_SLOTS = 64 };

/* Eight bytes at a time, each mixed in by a multiplication and a shift. */
static uint64_t hash_of(const char *bytes, size_t length)
{
    uint64_t hash = 0x9E3779B97F4A7C15u ^ length;

    while (length > 0) {
        uint64_t word = 0;
        size_t part   = length < sizeof word ? length : sizeof word;
        memcpy(&word, bytes, part);
        hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
        bytes += part;
        length -= part;
    }
    hash *= 0xD6E8FEB86659FD93u;
    return hash ^ hash >> 32;
}

/* The slot of these bytes, or the free slot for them. */
static int32_t *find(const pb_interned *t, const void *bytes, size_t length)
{
    for (uint64_t at = hash_of(bytes, length);; at++) {
        int32_t *slot = &t->slots[at & (t->slot_count - 1)];
        size_t stored = 0;
        if (*slot == 0) {
            return slot;
        }
        const void *own = pb_interned_bytes(t, *slot - 1, &stored);
        if (stored == length && (length == 0 || memcmp(own, bytes, length) == 0)) {
            return slot;
        }
    }
}

static pb_status make_slots(pb_interned *t)
{
    pb_interned larger = *t;

    larger.slot_count = t->slot_count == 0 ? FIRST_SLOTS : 2 * t->slot_count;
    PB_TRY(PB_ALLOC(larger.slots, larger.slot_count));
    for (int32_t i = 0; i < t->count; i++) {
        size_t length                 = 0;
        const void *bytes             = pb_interned_bytes(t, i, &length);
        *find(&larger, bytes, length) = i + 1;
    }
    pb_memory_free(t->slots);
    *t = larger;
    return PB_OK;
}

pb_status pb_interned_add(pb_interned *t, const void *bytes, size_t length, int32_t *number)
{
    if (t->count == INT32_MAX) {
        return PB_FAIL(PB_ERR_MEMORY, "more than %d different texts", INT32_MAX);
    }
    if (2 * ((size_t)t->count + 1) > t->slot_count) {
        PB_TRY(make_slots(t));
    }
    int32_t *slot = find(t, bytes, length);
    if (*slot == 0) {
        PB_TRY(PB_GROW(t->starts, (size_t)t->count + 2));
        size_t start = (size_t)t->starts[t->count];
        PB_TRY(PB_GROW(t->bytes, start + length + 1));
        if (length > 0) {
            memcpy(t->bytes + start, bytes, length);
        }
        *slot               = ++t->count;
        t->starts[t->count] = (int64_t)(start + length);
    }
    *number = *slot - 1;
    return PB_OK;
}

int32_t pb_interned_find(const pb_interned *t, const void *bytes, size_t length)
{
    return t->count > 0 ? *find(t, bytes, length) - 1 : -1;
}

const void *pb_interned_bytes(const pb_interned *t, int32_t number, size_t *length)
{
    *length = (size_t)(t->starts[number + 1] - t->starts[number]);
    return t->bytes + t->starts[number];
}

pb_status pb_interned_add_list(pb_interned *t, const int32_t *list, int64_t count, int32_t *number)
{
    return pb_interned_add(t, list, (size_t)count * sizeof *list, number);
}

const int32_t *pb_interned_list(const pb_interned *t, int32_t number, int64_t *count)
{
    size_t length     = 0;
    const void *bytes = pb_interned_bytes(t, number, &length);

    *count = (int64_t)(length / sizeof(int32_t));
    return bytes;
}

void pb_interned_clear(pb_interned *t)
{
    pb_memory_free(t->bytes);
    pb_memory_free(t->starts);
    pb_memory_free(t->slots);
    *t = (pb_interned){0};
}
