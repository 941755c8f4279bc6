// SPDX-License-Identifier: Apache-2.0
/* The values of the test rows of one (model, data set) in all of its cells, and the differences of
 * two methods on them. A unit is flipped or drawn as a whole: the predictions of one row. */
#pragma once

#include "pb/results.h"

#include <stdbool.h>

typedef struct rows_of_cells {
    const pb_results *results;
    pb_record_values *cells; /* [methods][seeds] */
    bool *have;              /* [methods][seeds] the cell counts and was read */
} rows_of_cells;

/* On failure there is nothing to free. */
pb_status rows_read(const pb_results *results, int64_t model, int64_t dataset,
                    rows_of_cells *out) PB_MUST_USE;
void rows_clear(rows_of_cells *rows); /* accepts a zeroed one */
/* The method has a cell that counts. */
bool rows_have(const rows_of_cells *rows, int64_t method);

typedef struct units {
    double *sums;  /* [count] of the differences of a unit's predictions */
    double *sizes; /* [count] how many predictions it has */
    int64_t count;
    int64_t seeds;       /* common to both methods */
    double difference;   /* mean over predictions and seeds, percent */
    const char *problem; /* why there are no units; "" */
    bool single;         /* every unit is one prediction */
    bool binary;         /* single, of one seed, and all values are 0 or 1 */
} units;

pb_status units_make(const rows_of_cells *rows, int64_t method_a, int64_t method_b,
                     units *out) PB_MUST_USE;
void units_clear(units *u); /* accepts a zeroed one */
