// SPDX-License-Identifier: Apache-2.0
/* The cells of a grid, and the order of work. */
#include "internal.h"

#include "pb/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* More cells than any machine could run; keeps the product of the axes far from overflow. */
#define MAX_CELLS 10000000

void pb_grid_cells_clear(pb_grid_cells *cells)
{
    pb_memory_free(cells->items);
    *cells = (pb_grid_cells){0};
}

static int sign_of(int64_t difference)
{
    return (difference > 0) - (difference < 0);
}

/* By model, so that a process keeps its weights; then longest first, so that the tail of the run is
 * short; then in the order of the axes. Never equal, so qsort's instability does not matter. */
static int compare(const void *left, const void *right)
{
    const pb_grid_cell *a = left, *b = right;
    int order = sign_of(a->index[PB_AXIS_MODEL] - b->index[PB_AXIS_MODEL]);
    if (order == 0) {
        order = (a->cost < b->cost) - (a->cost > b->cost);
    }
    for (int axis = PB_AXIS_DATASET; axis < PB_AXIS_FILES && order == 0; axis++) {
        order = sign_of(a->index[axis] - b->index[axis]);
    }
    return order != 0 ? order : sign_of(a->seed_index - b->seed_index);
}

/* Cell number `n` of the full product, seeds fastest. */
static pb_grid_cell cell_at(const pb_grid *grid, int64_t n)
{
    pb_grid_cell cell = {.protocol = (pb_protocol)grid->sweep.protocol, .cost = 1};
    cell.seed_index   = n % grid->sweep.seeds.count;
    cell.seed         = grid->sweep.seeds.items[cell.seed_index];
    n /= grid->sweep.seeds.count;
    for (int axis = PB_AXIS_FILES - 1; axis >= 0; axis--) {
        cell.index[axis] = n % grid->axes[axis].count;
        n /= grid->axes[axis].count;
    }
    cell.model   = grid->axes[PB_AXIS_MODEL].items[cell.index[PB_AXIS_MODEL]].name;
    cell.dataset = grid->axes[PB_AXIS_DATASET].items[cell.index[PB_AXIS_DATASET]].name;
    cell.method  = grid->axes[PB_AXIS_METHOD].items[cell.index[PB_AXIS_METHOD]].name;
    return cell;
}

static bool is_excluded(const pb_grid *grid, const pb_grid_cell *cell)
{
    for (int64_t i = 0; i < grid->excludes.count; i++) {
        if (grid_match_cell(&grid->excludes.items[i], cell)) {
            return true;
        }
    }
    return false;
}

/* The same files, the same overrides: only the seed differs. */
static bool is_alike(const pb_grid *grid, const pb_grid_cell *a, const pb_grid_cell *b)
{
    bool alike = memcmp(a->index, b->index, sizeof a->index) == 0;
    for (int64_t i = 0; i < grid->overrides.count && alike; i++) {
        const grid_match *when = &grid->overrides.items[i];
        alike                  = grid_match_cell(when, a) == grid_match_cell(when, b);
    }
    return alike;
}

static void add_cell(const pb_grid *grid, const pb_grid_cell *cell, pb_grid_cells *cells)
{
    int64_t n          = cells->count++;
    pb_grid_cell *last = &cells->items[n];
    *last              = *cell;
    last->number       = n;
    if (n > 0) {
        last->configuration = last[-1].configuration + !is_alike(grid, cell, &last[-1]);
    }
}

pb_status pb_grid_expand(const pb_grid *grid, pb_grid_cells *out)
{
    pb_grid_cells cells = {0};
    double product      = (double)grid->sweep.seeds.count;
    for (int axis = 0; axis < PB_AXIS_FILES; axis++) {
        product *= (double)grid->axes[axis].count;
    }
    if (product > MAX_CELLS) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: the sweep has %.0f cells; at most %d are possible",
                       pb_grid_path(grid), product, MAX_CELLS);
    }
    PB_TRY(PB_ALLOC(cells.items, product));
    for (int64_t n = 0; n < (int64_t)product; n++) {
        pb_grid_cell cell = cell_at(grid, n);
        if (!is_excluded(grid, &cell)) {
            add_cell(grid, &cell, &cells);
        }
    }
    if (cells.count == 0) {
        char place[GRID_PLACE];
        pb_grid_cells_clear(&cells);
        return PB_FAIL(PB_ERR_CONFIG, "%s: exclude leaves no cell",
                       pb_config_where(grid->config, "sweep.exclude", place, sizeof place));
    }
    *out = cells;
    return PB_OK;
}

void pb_grid_order(pb_grid_cells *cells)
{
    for (int64_t n = 0; n < cells->count; n++) {
        double cost            = cells->items[n].cost;
        cells->items[n].before = n;
        cells->items[n].cost   = isfinite(cost) && cost > 0 ? cost : 1;
    }
    qsort(cells->items, (size_t)cells->count, sizeof *cells->items, compare);
    for (int64_t n = 0; n < cells->count; n++) {
        cells->items[n].number = n;
    }
}
