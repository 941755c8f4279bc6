// SPDX-License-Identifier: Apache-2.0
/* Open addressing with linear probing; the table is at most half full. */
#include "pb/digests.h"
#include "pb/hash.h"
#include "pb/memory.h"

#include <string.h>

enum { FIRST_CAPACITY = 1024 };

static const pb_digest free_slot;

pb_status pb_digest_of(const char *text, size_t length, pb_digest *out)
{
    unsigned char digest[PB_HASH_BYTES];

    PB_TRY(pb_hash_digest(text, length, digest));
    memcpy(out->bytes, digest, sizeof out->bytes);
    if (memcmp(out, &free_slot, sizeof *out) == 0) {
        out->bytes[0] = 1;
    }
    return PB_OK;
}

/* The slot that holds the digest, or the free one where it belongs. */
static pb_digest *find(const pb_digests *set, const pb_digest *digest)
{
    size_t at = 0;

    memcpy(&at, digest->bytes, sizeof at);
    for (;; at++) {
        pb_digest *slot = &set->slots[at & (set->capacity - 1)];
        if (memcmp(slot, digest, sizeof *slot) == 0 ||
            memcmp(slot, &free_slot, sizeof *slot) == 0) {
            return slot;
        }
    }
}

bool pb_digests_has(const pb_digests *set, const pb_digest *digest)
{
    return set->count > 0 && memcmp(find(set, digest), digest, sizeof *digest) == 0;
}

static pb_status grow(pb_digests *set)
{
    pb_digests larger = {.capacity = set->capacity > 0 ? 2 * set->capacity : FIRST_CAPACITY,
                         .count    = set->count};

    PB_TRY(PB_ALLOC(larger.slots, larger.capacity));
    for (size_t i = 0; i < set->capacity; i++) {
        if (memcmp(&set->slots[i], &free_slot, sizeof free_slot) != 0) {
            *find(&larger, &set->slots[i]) = set->slots[i];
        }
    }
    pb_memory_free(set->slots);
    *set = larger;
    return PB_OK;
}

pb_status pb_digests_add(pb_digests *set, const pb_digest *digest, bool *added)
{
    if (2 * (set->count + 1) > set->capacity) {
        PB_TRY(grow(set));
    }
    pb_digest *slot = find(set, digest);
    *added          = memcmp(slot, digest, sizeof *slot) != 0;
    set->count += *added;
    *slot = *digest;
    return PB_OK;
}

void pb_digests_clear(pb_digests *set)
{
    pb_memory_free(set->slots);
    *set = (pb_digests){0};
}
