// SPDX-License-Identifier: Apache-2.0
/* What a run is doing, for readers of its folder: one small file per process,
 * `running/<job>.<rank>.json`, written from time to time and removed at the end. The files are
 * hints: a failure to write them is reported once, and the run does not need them. */
#pragma once

#include "pb/sweep.h"

/* Creates their folder if it is missing, and removes the files of all jobs. */
pb_status running_clear_folder(const char *directory) PB_MUST_USE;

/* Replaces the file of the rank, atomically. */
pb_status running_write(const char *directory, const pb_running *running) PB_MUST_USE;
void running_remove(const char *directory, const char *job, int64_t rank);

/* The processes of these jobs; what a killed one left behind is left out. Writes nothing. */
pb_status running_read(const char *directory, const pb_job_list *jobs,
                       pb_running_list *out) PB_MUST_USE;
void running_list_clear(pb_running_list *list); /* accepts a zeroed one */

/* Keeps the file of one process. */
typedef struct running_teller {
    const char *directory, *job; /* of the results; borrowed */
    int64_t rank;
    bool silent; /* the files cannot be written */
} running_teller;

/* Removes the files that killed runs left behind, unless other jobs work in the directory. */
void running_begin(running_teller *teller, bool shared);
/* NULL: this process no longer runs a cell. */
void running_tell(running_teller *teller, const pb_grid_state *state);
