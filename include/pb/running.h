// SPDX-License-Identifier: Apache-2.0
/* What a run is doing now, for those who look at its directory: one small file per process,
 * `running/<rank>.json`, that is written now and then and removed at the end. */
#pragma once

#include "pb/file.h"
#include "pb/status.h"

#include <stdint.h>

typedef struct pb_running {
    const char *host; /* texts are the writer's; those that were read belong to the list */
    int64_t process, rank;
    const char *model, *dataset, *method;
    int64_t seed;
    const char *phase;   /* "setup", "train", "test" */
    int64_t step, steps; /* of the phase, 0 of 0: nothing is counted */
    double loss;         /* of the step; NaN: none */
    double seconds_left; /* of the cell when this was written; NaN: unknown */
    double begun;        /* unix seconds: the cell */
    double written;      /* unix seconds: the file */
} pb_running;

/* Empties the folder of the files, making it when it is missing. Only for the holder of the lock.
 */
pb_status pb_running_clear_folder(const char *directory) PB_MUST_USE;

/* Replaces the file of the rank, atomically. */
pb_status pb_running_write(const char *directory, const pb_running *running) PB_MUST_USE;
void pb_running_remove(const char *directory, int64_t rank);

typedef struct pb_running_list {
    pb_running *items; /* [count] by rank */
    int64_t count;
} pb_running_list;

/* Of the run that works in the directory; none when there is no such run, whatever a killed one has
 * left. Where there are no locks, processes of this host are looked up, and files of other hosts
 * count for an hour. Writes nothing. */
pb_status pb_running_read(const char *directory, pb_running_list *out) PB_MUST_USE;
void pb_running_list_clear(pb_running_list *list); /* accepts a zeroed one */
