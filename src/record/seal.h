// SPDX-License-Identifier: Apache-2.0
/* The seal of a file: one line of text in the dataset /checksum, with the SHA-256 of the whole
 * file. HDF5 takes damaged lengths at their word and reads beyond its buffers, so a file is checked
 * as a whole before the library sees it: the line is found in the bytes, without HDF5. */
#pragma once

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

/* Writes /checksum with zeros in the place of the digits. `kind`: "shard", "results". */
pb_status seal_put(hid_t file, const char *kind) PB_MUST_USE;

/* Fills in the digits, after HDF5 has written everything: of a file in memory. PB_ERR_FORMAT where
 * the bytes have no /checksum. */
pb_status seal_bytes(char *bytes, size_t size) PB_MUST_USE;

/* The same on disk. Answers a stop. */
pb_status seal_file(const char *path) PB_MUST_USE;

/* Takes back what HDF5 writes into a file while it is open for writing: a mark that stays behind
 * when whoever opened it is killed. The file is whole all the same, if its seal says so. */
void seal_clear_open_mark(char *bytes, size_t size);

pb_status seal_check(const char *bytes, size_t size, seal *out) PB_MUST_USE;
