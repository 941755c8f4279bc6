// SPDX-License-Identifier: Apache-2.0
/* A recorded cell, run again from its record alone: the record has its configuration, its seed, the
 * places of its inputs, and their hashes.
 *
 *     PB_TRY(pb_recorded_open(record, &places, &recorded));
 *     PB_TRY_GOTO(status, pb_recorded_setup(record, &setup), …);      then pb_cell_env_open
 *     PB_TRY_GOTO(status, pb_recorded_run(recorded, env, &same, &again), …); */
#pragma once

#include "pb/cell.h"

typedef struct pb_recorded pb_recorded;

/* Folders where the inputs are now; NULL: where they were. Below `data` lie the files of rows,
 * under as much of their recorded paths as is found there. */
typedef struct pb_recorded_places {
    const char *model, *data;
} pb_recorded_places;

/* `record` is complete and outlives the result. Fails where it has no configuration, which it then
 * says why, and where an input is not there. */
pb_status pb_recorded_open(const pb_record *record, const pb_recorded_places *places,
                           pb_recorded **out) PB_MUST_USE;
void pb_recorded_close(pb_recorded *recorded); /* accepts NULL */

/* Backend, threads and type of numbers as recorded; borrowed from the record. */
pb_status pb_recorded_setup(const pb_record *record, pb_cell_setup *out) PB_MUST_USE;

/* Runs the cell. PB_ERR_FORMAT, before anything is computed, where an input has other contents than
 * recorded, or where the record does not fit its own configuration hash. *same: the hash is the
 * recorded one, so that results are equal bit for bit. Cells of a gang run alone; of a search the
 * decisions are those that the record has. */
pb_status pb_recorded_run(pb_recorded *recorded, pb_cell_env *env, bool *same,
                          pb_record *out) PB_MUST_USE;
