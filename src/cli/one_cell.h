// SPDX-License-Identifier: Apache-2.0
/* One cell outside of a sweep: a model, a data set, a method or adapter, as the options of a
 * command name them. It computes what a sweep computes. */
#pragma once

#include "pb/cell.h"
#include "pb/cli.h"

extern const char *const one_cell_groups[]; /* that --set may change */

/* Opens and runs the cell, with --model, --set, --protocol and the common options. `method`: a file
 * with the group; NULL: none, or that of own->adapter. `options` (may be NULL) lie over the files
 * and under --set. A cell that fails is an error; `observer` as for pb_cell_run. `out` is cleared
 * by the caller. */
pb_status one_cell_run(const pb_cli *cli, const char *method, const pb_config *options,
                       const pb_cell_own *own, const pb_cell_observer *observer,
                       pb_record *out) PB_MUST_USE;

/* Scores as a line of JSON. */
pb_status one_cell_print(const pb_cli *cli, const pb_record *record) PB_MUST_USE;
