// SPDX-License-Identifier: Apache-2.0
/* A set of token rows as a file: a header, then the sections in order, each at a multiple of 64
 * bytes, in the byte order of the machine. It is written beside its name and renamed, so that a
 * reader sees all of it or nothing. */
#pragma once

#include "encoded.h"

/* The set in the file of this key, mapped. PB_ERR_FORMAT when the file is not a complete one of
 * this key and program; `checksum` reads all of it to verify. */
pb_status token_file_open(const char *path, const char *key, bool checksum,
                          pb_encoded_set *out) PB_MUST_USE;

/* Writes the set through `temporary`, an empty file beside `path` that is taken over, also on
 * failure. */
pb_status token_file_write(const char *temporary, const char *path, const char *key,
                           const pb_encoded_set *set) PB_MUST_USE;

/* What determines the form of the file besides its sections, for the key. */
size_t token_file_header_bytes(void);
