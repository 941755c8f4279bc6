// SPDX-License-Identifier: Apache-2.0
/* The configuration of one cell: layers from the weakest to the strongest, merged key by key. */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>

/* `run` and `sweep` come from the grid file and sets only. */
static pb_status lay_over(pb_config *dst, const pb_config *src, const char *prefix)
{
    char from[96];
    for (int g = 0; grid_cell_groups[g] != NULL; g++) {
        snprintf(from, sizeof from, "%s%s", prefix, grid_cell_groups[g]);
        PB_TRY(pb_config_merge(dst, grid_cell_groups[g], src, from));
    }
    return PB_OK;
}

static pb_status compose(const pb_grid *grid, const pb_grid_cell *cell, pb_config *config)
{
    for (int axis = 0; axis < PB_AXIS_FILES; axis++) {
        PB_TRY(lay_over(config, grid->axes[axis].items[cell->index[axis]].file, ""));
    }
    PB_TRY(lay_over(config, grid->config, ""));
    for (int64_t i = 0; i < grid->overrides.count; i++) {
        if (grid_match_cell(&grid->overrides.items[i], cell)) {
            char prefix[64];
            snprintf(prefix, sizeof prefix, "sweep.override.[%" PRId64 "].set.", i);
            PB_TRY(lay_over(config, grid->config, prefix));
        }
    }
    for (int axis = 0; axis < PB_AXIS_FILES; axis++) {
        const pb_config *settings = grid->axes[axis].items[cell->index[axis]].settings;
        if (settings != NULL) {
            PB_TRY(lay_over(config, settings, ""));
        }
    }
    PB_TRY(lay_over(config, grid->sets, ""));
    return PB_FRAME(pb_config_merge(config, "run", grid->config, "run"));
}

pb_status pb_grid_cell_config(const pb_grid *grid, const pb_grid_cell *cell, pb_config **out)
{
    pb_config *config = NULL;
    PB_TRY(pb_config_parse("", pb_grid_path(grid), &config));
    pb_status status = compose(grid, cell, config);
    if (status != PB_OK) {
        pb_config_close(config);
        return PB_FRAME(status);
    }
    *out = config;
    return PB_OK;
}
