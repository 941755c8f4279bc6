// SPDX-License-Identifier: Apache-2.0
/* Which job runs a cell: DIRECTORY/claims/<cell> is there, with the name of the job, from before
 * the cell begins until it has a result or is given back. It is created with O_EXCL, so one of
 * several jobs gets it. On rank 0 only.
 *
 * One claim may stand for several cells: a run of baselines, which take milliseconds, and the cells
 * that a search compares. It has the name of the first of them in the order of the plan, so that
 * all jobs mean the same. */
#pragma once

#include "internal.h"
#include "jobs.h"

typedef struct claims claims;

/* The folder has its plan and its jobs; its flags `done` and `alone`, and its failed cells, follow
 * what other jobs do. */
pb_status claims_open(const pb_sweep *s, folder *f, claims **out) PB_MUST_USE;
void claims_close(claims *c); /* releases them; accepts NULL */

/* Removes all claims; when no other job is left. */
pb_status claims_clear(const claims *c) PB_MUST_USE;
/* A job that is not known to be gone has claimed this cell of the plan. */
bool claims_is_held(const claims *c, int64_t place);
void claims_release(claims *c); /* gives back what is claimed */
/* The folder's flags `done` are set. */
void claims_begin(claims *c);

/* As in pb_grid_job; the context is a claims. */
pb_grid_turn claims_take(void *context, const int64_t *numbers, int64_t count);
void claims_over(void *context, int64_t number);

/* Why cells could not be claimed. */
pb_status claims_check(const claims *c) PB_MUST_USE;

/* Gives back what is claimed, and looks at the cells that are not done. *more: some of them are
 * free. *elsewhere: the others, which run in jobs that live. Waits, at most run.claim_seconds,
 * until it is known which jobs live; PB_STOPPED when that takes too long for a stop. */
pb_status claims_settle(claims *c, bool *more, int64_t *elsewhere) PB_MUST_USE;
/* The same at this moment: a job that has not been seen to be gone lives. */
pb_status claims_look(claims *c, bool *more, int64_t *elsewhere) PB_MUST_USE;
