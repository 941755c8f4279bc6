// SPDX-License-Identifier: Apache-2.0
/* The axes of results while they are gathered. */
#pragma once

#include "pb/results.h"

/* Adds the names of a key to the axes if they are new. */
pb_status axes_add(pb_results *results, const pb_record_key *key) PB_MUST_USE;
void axes_sort(pb_results *results);
void axes_index_clear(pb_results *results);
/* The position of a cell in the grid, -1 when an axis lacks it. After axes_grid. */
int64_t axes_find(const pb_results *results, const pb_record_key *key);
/* Allocates grid and state over the axes: no record, every state `initial`. PB_ERR_FORMAT where an
 * axis has a name twice. */
pb_status axes_grid(pb_results *results, pb_cell_state initial) PB_MUST_USE;
/* Sorts the records by position and enters them. Every record's names are on the axes. */
pb_status axes_enter(pb_results *results) PB_MUST_USE;
