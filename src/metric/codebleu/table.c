// SPDX-License-Identifier: Apache-2.0
/* Open addressing with linear steps, at most half full. */
#include "table.h"

#include "pb/memory.h"

#include <string.h>

enum { FIRST_SLOTS = 64, ALIGNMENT = 8 };

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

static pb_status make_slots(code_table *t)
{
    int32_t *slots = NULL;
    size_t count   = t->slot_count == 0 ? FIRST_SLOTS : 2 * t->slot_count;

    PB_TRY(PB_ALLOC(slots, count));
    for (int32_t i = 0; i < t->count; i++) {
        size_t at = t->entries[i].hash & (count - 1);
        while (slots[at] != 0) {
            at = (at + 1) & (count - 1);
        }
        slots[at] = i + 1;
    }
    pb_memory_free(t->slots);
    t->slots      = slots;
    t->slot_count = count;
    return PB_OK;
}

static pb_status append(code_table *t, const void *bytes, size_t length, uint64_t hash)
{
    size_t start = (t->used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

    if (t->count == INT32_MAX) {
        return PB_FAIL(PB_ERR_MEMORY, "more than %d different items of one text", INT32_MAX);
    }
    PB_TRY(PB_GROW(t->entries, (size_t)t->count + 1));
    PB_TRY(PB_GROW(t->bytes, start + length + 1));
    if (length > 0) {
        memcpy(t->bytes + start, bytes, length);
    }
    t->used                = start + length;
    t->entries[t->count++] = (code_entry){hash, start, length};
    return PB_OK;
}

pb_status code_table_add(code_table *t, const void *bytes, size_t length, int32_t *number)
{
    uint64_t hash = hash_of(bytes, length);

    if (2 * ((size_t)t->count + 1) > t->slot_count) {
        PB_TRY(make_slots(t));
    }
    size_t at = hash & (t->slot_count - 1);
    for (; t->slots[at] != 0; at = (at + 1) & (t->slot_count - 1)) {
        const code_entry *e = &t->entries[t->slots[at] - 1];
        if (e->hash == hash && e->length == length &&
            (length == 0 || memcmp(t->bytes + e->start, bytes, length) == 0)) {
            *number = t->slots[at] - 1;
            return PB_OK;
        }
    }
    PB_TRY(append(t, bytes, length, hash));
    t->slots[at] = t->count;
    *number      = t->count - 1;
    return PB_OK;
}

const void *code_table_bytes(const code_table *t, int32_t number, size_t *length)
{
    *length = t->entries[number].length;
    return t->bytes + t->entries[number].start;
}

pb_status code_table_add_list(code_table *t, const int32_t *list, int64_t count, int32_t *number)
{
    return code_table_add(t, list, (size_t)count * sizeof *list, number);
}

const int32_t *code_table_list(const code_table *t, int32_t number, int64_t *count)
{
    size_t length     = 0;
    const void *bytes = code_table_bytes(t, number, &length);

    *count = (int64_t)(length / sizeof(int32_t));
    return bytes;
}

void code_table_clear(code_table *t)
{
    pb_memory_free(t->entries);
    pb_memory_free(t->slots);
    pb_memory_free(t->bytes);
    *t = (code_table){0};
}
