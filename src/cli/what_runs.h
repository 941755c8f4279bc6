// SPDX-License-Identifier: Apache-2.0
/* Keeping the files that say what runs where (pb/running.h). They are hints: a failure is reported
 * once, and the run is as good without them. */
#pragma once

#include "pb/grid.h"

typedef struct what_runs {
    const char *directory; /* of the results, borrowed */
    int64_t rank;
    bool silent; /* the files cannot be written */
} what_runs;

/* Removes what a killed run has left. Only for the holder of the directory's lock. */
void what_runs_open(what_runs *w);
/* NULL: nothing runs here any more. */
void what_runs_tell(what_runs *w, const pb_grid_state *state);
