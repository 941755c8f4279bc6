// SPDX-License-Identifier: Apache-2.0
/* What happens in a run, line by line as it happens, for programs that follow it: JSON lines, and
 * lines in the form of MLPerf's logs (results/README.md has both). Every process appends to a file
 * of its own, each line with one call, so that a file has one writer and never half a line of
 * another one. The files are hints: a failure is reported once, and the run does not need them. */
#pragma once

#include "pb/sweep.h"

#include "pb/train.h"

typedef struct events {
    int files[2]; /* JSON lines, MLPerf; -1: none */
    int64_t rank;
    pb_string line;
} events;

/* FILE of rank 0 and FILE.<rank> of the others; FILE is events.<job>.jsonl, or mllog.<job>.log,
 * where a path is a folder. Either path may be NULL. PB_ERR_IO when one cannot be opened. */
pb_status events_open(const char *json, const char *mllog, const char *job, int64_t rank,
                      events *out) PB_MUST_USE;
void events_close(events *e);

void events_run(events *e, const char *sweep, int64_t cells);
void events_start(events *e, const pb_grid_cell *cell);
void events_step(events *e, const pb_grid_cell *cell, const pb_train_step *step);
void events_validation(events *e, const pb_grid_cell *cell, int64_t step, double loss);
/* "evaluation" where the record has a score, then "end". */
void events_record(events *e, const pb_grid_cell *cell, const pb_record *record);
/* "end" of a cell without a result, which was stopped or could not be recorded. */
void events_lost(events *e, const pb_grid_cell *cell, pb_status why);
