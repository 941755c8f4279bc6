// SPDX-License-Identifier: Apache-2.0
/* The jobs that work in a folder. Each has a file, `jobs/<job>.json`, whose modification time is
 * its heartbeat: a thread touches it, since a single pass of a large model may take minutes.
 *
 * A job is gone when it has removed its file; when its process is no more, if it ran in this
 * machine; else when the heartbeat is too old. Ages are those of the file system, which dates both
 * the heartbeat and the file of the judge: clocks of two machines are never compared. A heartbeat
 * from the future, after a clock jumped, is old once it has been seen unchanged for as long. */
#pragma once

#include "pb/sweep.h"

enum { JOBS_NAME = 160 };

typedef struct jobs jobs;

typedef enum jobs_state {
    JOBS_GONE,
    JOBS_LIVES,
    JOBS_SILENT /* its heartbeat is recent, but has not been seen to change yet */
} jobs_state;

/* Writes the file of this process's job and starts its heartbeat. `seconds`: run.claim_seconds;
 * `cell`: the configuration of the first cell of the plan. */
pb_status jobs_join(const char *directory, int64_t ranks, double seconds, const char *cell,
                    jobs **out) PB_MUST_USE;
/* Removes the file; accepts NULL. */
void jobs_leave(jobs *j);

const char *jobs_name(const jobs *j); /* "node7.4711.1764591234" */
/* Another job removed the file, because it took this one for gone. */
bool jobs_is_evicted(const jobs *j);

jobs_state jobs_look(jobs *j, const char *name);
/* A file of the folder, as old as the heartbeat of a job that is gone. */
bool jobs_is_old(jobs *j, const char *path);

/* The others that are not gone, in the order of their names, to be freed with
 * pb_memory_free_texts. */
pb_status jobs_others(jobs *j, char ***names, size_t *count) PB_MUST_USE;
/* "job node7.4711.1764591234 (host node7, process 4711, Slurm job 77)" */
pb_status jobs_describe(jobs *j, const char *name, pb_string *out) PB_MUST_USE;
/* The first cell's configuration of another job; "" where it is not known. */
pb_status jobs_cell(jobs *j, const char *name, pb_string *out) PB_MUST_USE;
/* Removes the files of all other jobs. */
pb_status jobs_clear(jobs *j) PB_MUST_USE;
/* No other job has come since then. */
bool jobs_are_alone(const jobs *j);

/* The jobs of a folder for `status`, which writes nothing: the clock of this machine counts. */
pb_status jobs_read(const char *directory, pb_job_list *out) PB_MUST_USE;
void jobs_list_clear(pb_job_list *list); /* accepts a zeroed one */
