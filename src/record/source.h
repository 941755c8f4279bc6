// SPDX-License-Identifier: Apache-2.0
/* A file that records are read from. Its bytes are read once, checked, and passed to HDF5
 * unchanged: nothing can change or fail between check and use, and no lock is needed. */
#pragma once

#include "hdf.h"
#include "seal.h"

typedef struct pb_record_source pb_record_source;

/* PB_ERR_NOT_FOUND, PB_ERR_IO, PB_ERR_MEMORY: the system cannot read the file. PB_ERR_FORMAT: it is
 * damaged or another program's; with `sealed`, which demands a shard with its checksum, it is
 * damaged. PB_ERR_LIBRARY: HDF5 refuses a file whose checksum is right. */
pb_status source_open(const char *path, bool sealed, pb_record_source **out) PB_MUST_USE;

/* A sealed shard that is a part of a file; `label`: what messages call it. */
pb_status source_open_part(const char *path, int64_t at, int64_t size, const char *label,
                           pb_record_source **out) PB_MUST_USE;

void record_source_release(pb_record_source *source); /* accepts NULL */

const char *source_path(const pb_record_source *source); /* or what messages call it */
const char *source_hash(const pb_record_source *source); /* "" without a seal */
bool source_is_sealed(const pb_record_source *source);
hid_t source_file(const pb_record_source *source);

/* Marks a record as read from the source; `keep`: the record holds it open. */
pb_status source_mark(pb_record_source *source, bool keep, pb_record *record) PB_MUST_USE;

/* The source that a record was read from, opened again unless it was kept; fails when the file has
 * been replaced since. The caller releases it. */
pb_status source_of(const pb_record *record, pb_record_source **out) PB_MUST_USE;
