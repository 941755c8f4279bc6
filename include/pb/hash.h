// SPDX-License-Identifier: Apache-2.0
/* SHA-256, by OpenSSL's libcrypto (checkpoints of many gigabytes are hashed: its SHA-NI code
 * matters). The only home of openssl headers. */
#pragma once

#include "pb/status.h"

#include <stddef.h>

#define PB_HASH_TEXT 65 /* 64 hex digits and the terminator */

enum { PB_HASH_BYTES = 32, PB_DIGEST_BYTES = 16 };

/* 128 bits of it, by which texts are compared whatever their length. */
typedef struct pb_digest {
    unsigned char bytes[PB_DIGEST_BYTES];
} pb_digest;

typedef struct pb_hash pb_hash;

pb_status pb_hash_create(pb_hash **out) PB_MUST_USE;
void pb_hash_destroy(pb_hash *h); /* accepts NULL */
pb_status pb_hash_update(pb_hash *h, const void *bytes, size_t size) PB_MUST_USE;
/* A text with its terminator, so that adjacent texts cannot run into each other. */
pb_status pb_hash_update_text(pb_hash *h, const char *text) PB_MUST_USE;
pb_status pb_hash_finish(pb_hash *h,
                         char text[PB_HASH_TEXT]) PB_MUST_USE; /* h may then only be destroyed */

pb_status pb_hash_bytes(const void *bytes, size_t size, char text[PB_HASH_TEXT]) PB_MUST_USE;
pb_status pb_digest_of(const void *bytes, size_t size, pb_digest *out) PB_MUST_USE;
pb_status pb_hash_file(const char *path, char text[PB_HASH_TEXT]) PB_MUST_USE;
