// SPDX-License-Identifier: Apache-2.0
/* Synthetic records, and a fresh directory for the files of a test. */
#pragma once

#include "pb/results.h"

/* A full record: every member and list has values, which depend only on the key. */
pb_status sample_record(const char *model, const char *dataset, const char *method, int64_t seed,
                        pb_record *out) PB_MUST_USE;

/* The same without curves, quick to write. */
pb_status sample_small(const char *model, const char *dataset, const char *method, int64_t seed,
                       pb_record *out) PB_MUST_USE;

/* Reads a record with its curves and predictions from the file that a record without was read
 * from. */
pb_status sample_load(const pb_record *record, pb_record *out) PB_MUST_USE;

/* One shard with or without its curves and predictions; damage is PB_ERR_FORMAT. */
pb_status sample_read(const char *path, bool complete, pb_record *out) PB_MUST_USE;

/* Creates a new directory below the system's temporary one; removed with its files at exit. */
const char *sample_directory(void);
