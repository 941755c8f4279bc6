// SPDX-License-Identifier: Apache-2.0
/* The growing list of ids. */
#include "pb/memory.h"
#include "pb/tokenizer.h"

#include <inttypes.h>
#include <string.h>

enum { FIRST_CAPACITY = 32, LARGE = 1 << 18 };

void pb_ids_clear(pb_ids *ids)
{
    pb_memory_free(ids->items);
    *ids = (pb_ids){0};
}

pb_status pb_ids_reserve(pb_ids *ids, int64_t more)
{
    if (more <= ids->capacity - ids->count) {
        return PB_OK;
    }
    if (more > INT64_MAX / 16 - ids->count) {
        return PB_FAIL(PB_ERR_MEMORY, "ids: out of memory for %" PRId64 " more", more);
    }
    int64_t step     = ids->capacity / 64 > LARGE ? ids->capacity / 64 : LARGE;
    int64_t capacity = ids->capacity + (ids->capacity < LARGE ? ids->capacity / 2 : step);
    if (capacity < ids->count + more) {
        capacity = ids->count + more;
    }
    if (capacity < FIRST_CAPACITY) {
        capacity = FIRST_CAPACITY;
    }
    int32_t *items = pb_memory_resize(ids->items, (size_t)capacity, sizeof *items);
    if (items == NULL) {
        return PB_ERR_MEMORY;
    }
    ids->items    = items;
    ids->capacity = capacity;
    return PB_OK;
}

pb_status pb_ids_append(pb_ids *ids, int32_t id)
{
    PB_TRY(pb_ids_reserve(ids, 1));
    ids->items[ids->count++] = id;
    return PB_OK;
}

pb_status pb_ids_extend(pb_ids *ids, const int32_t *items, int64_t count)
{
    PB_TRY(pb_ids_reserve(ids, count));
    if (count > 0) {
        memcpy(ids->items + ids->count, items, (size_t)count * sizeof *items);
        ids->count += count;
    }
    return PB_OK;
}
