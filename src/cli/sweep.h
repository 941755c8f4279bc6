// SPDX-License-Identifier: Apache-2.0
/* A sweep as `run` and `plan` see it: the grid, its models, its cells with their configurations and
 * hashes. */
#pragma once

#include "pb/cell.h"
#include "pb/cli.h"
#include "pb/grid.h"
#include "pb/results.h"

typedef struct sweep {
    pb_grid *grid;
    pb_cell_env *env;
    pb_grid_cells cells;
    pb_config **configs;          /* [cells] */
    char (*hashes)[PB_HASH_TEXT]; /* [cells]; NULL before sweep_hash */
} sweep;

/* The grid file (first argument) with --set, the shapes of its models (`weights`: those without
 * weights cannot be used), its cells in order. Collective. */
pb_status sweep_open(const pb_cli *cli, bool weights, sweep *out) PB_MUST_USE;
/* The weights of the models that can be used. Collective. */
pb_status sweep_load_models(const pb_cli *cli, sweep *s) PB_MUST_USE;
void sweep_close(sweep *s); /* collective, accepts a zeroed one */

/* Hashes of all cells, made by one process and shared with the others, once it is known that all
 * see the same files. Collective. */
pb_status sweep_hash(const pb_cli *cli, sweep *s) PB_MUST_USE;

pb_cell sweep_cell(const sweep *s, int64_t index);

/* A record whose inputs are not those that its configuration hash stands for is not a result of
 * this cell: what is done becomes damaged, with the reason, and what failed counts as missing. */
pb_status sweep_check_record(const sweep *s, int64_t index, const char *directory,
                             const pb_record *record, pb_shard_state *state,
                             char **damage) PB_MUST_USE;
