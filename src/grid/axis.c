// SPDX-License-Identifier: Apache-2.0
/* The values of an axis: names of files, and entries of variants. */
#include "internal.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* `text` NULL: a group, whose variants are added. */
static pb_status open_value(pb_grid *grid, pb_grid_axis_kind kind, int64_t index, const char *text)
{
    grid_value value = {0};
    char key[64], place[GRID_PLACE];
    snprintf(key, sizeof key, "sweep.%s.[%" PRId64 "]", grid_axis_keys[kind], index);
    if (!pb_config_has(grid->config, key)) {
        snprintf(key, sizeof key, "sweep.%s", grid_axis_keys[kind]);
    }
    pb_config_where(grid->config, key, place, sizeof place);
    if (text == NULL) {
        return grid_vary(grid, kind, grid->config, key, NULL);
    }
    if (strchr(text, '{') != NULL) {
        return grid_vary_select(grid, kind, place, text);
    }
    PB_TRY(grid_value_open(grid, kind, place, text, &value));
    return grid_value_add_take(grid, kind, place, &value);
}

pb_status grid_axis_open(pb_grid *grid, pb_grid_axis_kind kind, pb_mistakes *mistakes)
{
    const pb_config_list *const lists[] = {&grid->sweep.models, &grid->sweep.datasets,
                                           &grid->sweep.methods};
    const pb_config_list *list          = lists[kind];
    if (list->count == 0) {
        char key[64], place[GRID_PLACE];
        snprintf(key, sizeof key, "sweep.%s", grid_axis_keys[kind]);
        return PB_FAIL(PB_ERR_CONFIG, "%s: %s is empty; it needs one or more names",
                       pb_config_where(grid->config, key, place, sizeof place),
                       grid_axis_keys[kind]);
    }
    for (int64_t i = 0; i < list->count; i++) {
        PB_TRY(pb_mistakes_take(mistakes, open_value(grid, kind, i, list->items[i]), NULL));
    }
    return PB_OK;
}

void grid_axis_close(grid_axis *axis)
{
    for (int64_t i = 0; i < axis->count; i++) {
        grid_value_close(&axis->items[i]);
    }
    pb_memory_free(axis->items);
    *axis = (grid_axis){0};
}
