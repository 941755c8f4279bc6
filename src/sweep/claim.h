// SPDX-License-Identifier: Apache-2.0
/* A claim: a file with the name of the job that has it. One of several jobs creates it, and one of
 * several takes it over from a job that is gone. */
#pragma once

#include "jobs.h"

/* *mine: the claim at `path` is this job's; *from: it was that of a job that is gone, else "". */
pb_status claim_take(jobs *j, const char *path, bool *mine, char from[JOBS_NAME]) PB_MUST_USE;

/* The job that has it; JOBS_GONE without a claim. */
pb_status claim_look(jobs *j, const char *path, jobs_state *out) PB_MUST_USE;
