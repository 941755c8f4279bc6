// SPDX-License-Identifier: Apache-2.0
/* The seal of a file: one line of text in the dataset /checksum, with the SHA-256 of the whole
 * file. HDF5 trusts damaged lengths and reads beyond its buffers, so the whole file is checked
 * before the library sees it: the line is found in the bytes, without HDF5. */
#pragma once

#include "pb/file.h"
#include "pb/hash.h"
#include "pb/status.h"

#include <hdf5.h>
#include <stdbool.h>

typedef enum seal_state {
    SEAL_WHOLE,
    SEAL_BROKEN, /* empty, cut or changed since it was sealed */
    SEAL_NONE, /* HDF5 without a seal: a merged file of an earlier version, or another program's */
} seal_state;

typedef struct seal {
    seal_state state;
    bool is_shard;           /* says so itself */
    char hash[PB_HASH_TEXT]; /* of a whole file; else "" */
} seal;

/* Writes /checksum with zeros in place of the digits. `kind`: "shard", "results". */
pb_status seal_put(hid_t file, const char *kind) PB_MUST_USE;

/* Fills in the digits of a file in memory after HDF5 has written everything. PB_ERR_FORMAT where
 * the bytes have no /checksum. */
pb_status seal_bytes(char *bytes, size_t size) PB_MUST_USE;

/* The same on disk. Answers a stop. */
pb_status seal_file(const char *path) PB_MUST_USE;

/* Undoes a mark that HDF5 sets while a file is open for writing and that remains when the process
 * is killed. The file is whole all the same if its seal matches. */
void seal_clear_open_mark(char *bytes, size_t size);

/* Such a mark is set. */
bool seal_has_open_mark(const char *bytes, size_t size);

/* `file`: the bytes, in memory or, `mapped`, a mapping, whose pages are given back as they are
 * read.
 */
pb_status seal_check(const pb_mapping *file, bool mapped, seal *out) PB_MUST_USE;
