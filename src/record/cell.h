// SPDX-License-Identifier: Apache-2.0
/* A record as the group /cells/<model>/<dataset>/<method>/<seed> of a file; shards and merged
 * files hold it alike. */
#pragma once

#include "hdf.h"

/* "cells/…" with escaped names. */
pb_status cell_path(const pb_record_key *key, pb_string *out) PB_MUST_USE;

/* The unfilled seal; attributes of the root: schema, program, kind ("shard" or "results"),
 * created. */
pb_status cell_root_write(hid_t file, const char *kind) PB_MUST_USE;
/* Refuses files of other programs and of schemas that this program does not know. */
pb_status cell_root_check(hid_t file) PB_MUST_USE;

pb_status cell_write(hid_t file, const pb_record *record) PB_MUST_USE;

/* The group that a record was read from. */
pb_status cell_source(const pb_record *record, pb_string *out) PB_MUST_USE;

/* `out` is initialised by the call; on failure there is nothing to free. Sets source_group. */
pb_status cell_read(hid_t file, const char *group, pb_record_parts parts,
                    pb_record *out) PB_MUST_USE;

/* Calls `visit` with the path of every cell of a file, in the order they were written. */
pb_status cell_each(hid_t file, pb_status (*visit)(void *context, hid_t file, const char *group),
                    void *context) PB_MUST_USE;
