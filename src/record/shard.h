// SPDX-License-Identifier: Apache-2.0
/* What files of one cell and packs of many have in common. */
#pragma once

#include "source.h"

#include "pb/results.h"

/* The name of a cell's shard without ".h5". */
pb_status shard_name(const pb_record_key *key, pb_string *out) PB_MUST_USE;
/* The bytes of a shard, sealed; free them with pb_memory_free. `path`: for messages. */
pb_status shard_compose(const pb_record *record, const char *path, void **bytes,
                        size_t *size) PB_MUST_USE;
/* Reads the one cell of a source, which is released. */
pb_status shard_take(pb_record_source *source, pb_record_parts parts, pb_record *out) PB_MUST_USE;
/* Takes a record that was found for a key, or finds it to be another cell's: PB_ERR_FORMAT. */
pb_status shard_check_key(const char *place, const pb_record_key *key,
                          const pb_record *record) PB_MUST_USE;
/* The first free one of "<path>.damaged", "<path>.damaged.2" and so on. */
pb_status shard_damaged_path(const char *path, pb_string *out) PB_MUST_USE;
