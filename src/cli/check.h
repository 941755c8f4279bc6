// SPDX-License-Identifier: Apache-2.0
/* What is known of the cells of a sweep before they run: their counts, their rows, and every
 * mistake that keeps one from running. `plan` shows it, `run` begins with it. */
#pragma once

#include "sweep.h"

#include "pb/mistakes.h"
#include "pb/string.h"

typedef struct cell_check {
    pb_cell_prediction prediction;
    pb_cell_rows rows;
    int64_t mistake; /* the first of this cell, -1: none */
} cell_check;

/* Files are read once for all cells that take the same rows of them, whatever the overrides. */
typedef struct data_check {
    pb_string text; /* the groups that the rows follow from */
    pb_cell_rows rows;
    pb_status status;
    char *message; /* of a status that is not PB_OK */
} data_check;

typedef struct sweep_check {
    cell_check *cells;    /* [cells] */
    pb_mistakes mistakes; /* each counts its cells */
    int64_t bad;          /* cells with a mistake */
    bool config;          /* there is one in a configuration */
    int64_t told;         /* of the mistakes */
    data_check *data;
    int64_t data_count;
} sweep_check;

/* Checks configuration, model, method and rows of every cell. Local. */
pb_status sweep_check_open(const sweep *s, sweep_check *out) PB_MUST_USE;
void sweep_check_close(sweep_check *c); /* accepts a zeroed one */

/* Once more the models alone, of the cells that had no mistake. */
pb_status sweep_check_models(const sweep *s, sweep_check *c) PB_MUST_USE;

/* PB_ERR_CONFIG when there are mistakes, all of them in the log. With `keep_going` they are
 * warnings as long as a cell is left that can run. Each mistake is reported once. */
pb_status sweep_check_judge(const sweep *s, sweep_check *c, bool keep_going) PB_MUST_USE;
