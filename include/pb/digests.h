// SPDX-License-Identifier: Apache-2.0
/* Sets of texts, identified by 128 bits of their SHA-256: 32 to 64 bytes per text, whatever its
 * length. Training and test texts are compared this way. */
#pragma once

#include "pb/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PB_DIGEST_BYTES = 16 };

typedef struct pb_digest {
    unsigned char bytes[PB_DIGEST_BYTES];
} pb_digest;

/* Zero-initialised is empty. */
typedef struct pb_digests {
    pb_digest *slots; /* [capacity], a power of two; all bits zero: free */
    size_t capacity, count;
} pb_digests;

pb_status pb_digest_of(const char *text, size_t length, pb_digest *out) PB_MUST_USE;
bool pb_digests_has(const pb_digests *set, const pb_digest *digest);
/* *added is false when the set already has it. */
pb_status pb_digests_add(pb_digests *set, const pb_digest *digest, bool *added) PB_MUST_USE;
void pb_digests_clear(pb_digests *set); /* accepts a zeroed one */
