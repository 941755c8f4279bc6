// SPDX-License-Identifier: Apache-2.0
/* Opening a grid: the file and the sets over it, the groups `sweep` and `run`, then the axes and
 * the rules. */
#include "internal.h"

#include "pb/interned.h"
#include "pb/memory.h"
#include "pb/variant.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

static const char *const dtypes[]        = {"f32", "bf16", NULL};
static const char *const kept_adapters[] = {"none", "best", NULL};

const pb_config_field pb_grid_sweep_fields[] = {
    PB_FIELD_TEXT(pb_grid_sweep, name, NULL, "name of the sweep and of its result file"),
    PB_FIELD_ENTRIES(pb_grid_sweep, models, "names of configs/model, paths of .cfg, variants"),
    PB_FIELD_ENTRIES(pb_grid_sweep, datasets, "names of configs/dataset, paths of .cfg, variants"),
    PB_FIELD_ENTRIES(pb_grid_sweep, methods, "names of configs/method, paths of .cfg, variants"),
    PB_FIELD_INT_LIST(pb_grid_sweep, seeds, "42", 0, 9007199254740992,
                      "each gives one run of a cell"),
    PB_FIELD_CHOICE(pb_grid_sweep, protocol, PB_PROTOCOL_CORRECTED, pb_protocol_names,
                    "sound scoring, or the published one with its defects"),
    PB_FIELD_END,
};

const pb_config_field pb_grid_run_fields[] = {
    PB_FIELD_TEXT(pb_grid_run_options, device, "auto", "auto, cpu, or a device that `info` lists"),
    PB_FIELD_CHOICE(pb_grid_run_options, dtype, 0, dtypes, "type of the numbers computed with"),
    PB_FIELD_INT(pb_grid_run_options, threads, 1, 0, 4096, "",
                 "threads per process, 0 for all that it may use"),
    PB_FIELD_TEXT(pb_grid_run_options, products, "",
                  "which library computes products on the CPU: auto measures once and keeps the "
                  "choice in the folder of the results, blas, or such a choice; empty: environment "
                  "PB_PRODUCTS, else auto"),
    PB_FIELD_INT(pb_grid_run_options, group, 1, 1, 1, "",
                 "processes that share a cell; only 1 in this version"),
    PB_FIELD_INT_OR(pb_grid_run_options, gang, 1, 1, 64, "", "auto",
                    "most cells of a model that train together, in the same passes"),
    PB_FIELD_CHOICE(pb_grid_run_options, save_adapters, 0, kept_adapters,
                    "best: the adapter of every cell, as it was tested, is kept in the folder "
                    "adapters of the results; changes no result"),
    PB_FIELD_BOOL(pb_grid_run_options, graphs, true,
                  "a GPU launches a pass of training as a whole; changes no result"),
    PB_FIELD_FLOAT(pb_grid_run_options, time_limit_seconds, 0, 0, 1e9, "seconds",
                   "the run stops itself this long after its start, 0 for never"),
    PB_FIELD_FLOAT(pb_grid_run_options, time_reserve_seconds, 60, 0, 1e9, "seconds",
                   "how long before the limit everything winds up; less than the limit"),
    PB_FIELD_INT(pb_grid_run_options, max_attempts, 2, 1, 1000, "",
                 "a cell that took its process down this often, by a crash or a kill, has failed "
                 "and is passed over"),
    PB_FIELD_FLOAT(pb_grid_run_options, checkpoint_seconds, 300, 0, 1e9, "seconds",
                   "time between two checkpoints of a cell while it runs, which a killed run goes "
                   "on from; 0 for one only when the run is stopped"),
    PB_FIELD_INT(pb_grid_run_options, pack_cells, 500, 0, 10000000, "",
                 "a sweep of more cells keeps the results of each process in one file, a pack, "
                 "instead of a file per cell; changes no result"),
    PB_FIELD_FLOAT(pb_grid_run_options, claim_seconds, 300, 1, 1e9, "seconds",
                   "where several jobs share a folder: without a heartbeat for so long, a job on "
                   "another node is gone, and the others take its cells"),
    PB_FIELD_FLOAT(
        pb_grid_run_options, progress_seconds, 60, 0, 1e9, "seconds",
        "time between two lines of progress in a log that is not a terminal; 0 for none"),
    PB_FIELD_PATH(pb_grid_run_options, output, "", "folder of the results"),
    PB_FIELD_PATH(pb_grid_run_options, cache, "",
                  "folder that keeps the tokens of data sets; empty: environment PB_CACHE, else "
                  "tokens in the folder of the results"),
    PB_FIELD_END,
};

const pb_config_field pb_grid_search_fields[] = {
    PB_FIELD_INT_LIST(pb_grid_search, rungs, NULL, 1, 99,
                      "percent of the steps after which weak variants are stopped, ascending"),
    PB_FIELD_FLOAT(pb_grid_search, keep, 0.5, 0.01, 0.99, "",
                   "share of the variants that goes on, the best by validation loss"),
    PB_FIELD_END,
};

/* Groups of a grid file, and what `--set` may name besides. */
static const char *const grid_groups[] = {"sweep", "run", "train", "data", "eval", NULL};
static const char *const set_groups[]  = {"sweep", "run",     "train",  "data", "eval",
                                          "model", "dataset", "method", NULL};

static pb_status read_sets(pb_grid *grid, const char *const *sets, int64_t count)
{
    PB_TRY(pb_config_parse("", "--set", &grid->sets));
    for (int64_t i = 0; i < count; i++) {
        PB_TRY(pb_config_set(grid->sets, sets[i]));
    }
    PB_TRY(grid_check_groups(grid->sets, "", set_groups));
    PB_TRY(pb_config_parse("", pb_grid_path(grid), &grid->written));
    PB_TRY(pb_config_merge(grid->written, "sweep", grid->config, "sweep"));
    PB_TRY(pb_config_merge(grid->config, "sweep", grid->sets, "sweep"));
    return PB_FRAME(pb_config_merge(grid->config, "run", grid->sets, "run"));
}

/* The name becomes part of file names and of paths in the result file. */
static pb_status check_name(const pb_grid *grid)
{
    char place[GRID_PLACE];
    const char *name = grid->sweep.name;
    bool good        = *name != '\0' && *name != '.' && strlen(name) <= 100;
    for (const char *c = name; *c != '\0'; c++) {
        good = good && (isalnum((unsigned char)*c) || strchr("._-", *c) != NULL);
    }
    if (!good) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "%s: name = \"%s\" names the result file: 1 to 100 letters, digits, \".\", "
                       "\"_\", \"-\", and no \".\" first",
                       pb_config_where(grid->config, "sweep.name", place, sizeof place), name);
    }
    return PB_OK;
}

static pb_status check_seeds(const pb_grid *grid)
{
    char place[GRID_PLACE];
    const pb_config_ints *seeds = &grid->sweep.seeds;
    pb_config_where(grid->config, "sweep.seeds", place, sizeof place);
    if (seeds->count == 0) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: seeds is empty; it needs one or more integers", place);
    }
    pb_interned seen = {0};
    int32_t number   = 0;
    pb_status status = PB_OK;
    for (int64_t i = 0; i < seeds->count && status == PB_OK; i++) {
        status = pb_interned_add(&seen, &seeds->items[i], sizeof *seeds->items, &number);
        if (status == PB_OK && number < i) {
            status = PB_FAIL(PB_ERR_CONFIG, "%s: seed %" PRId64 " is listed twice", place,
                             seeds->items[i]);
        }
    }
    pb_interned_clear(&seen);
    return status;
}

static pb_status check_time(const pb_grid *grid)
{
    char place[GRID_PLACE];
    double limit   = grid->run.time_limit_seconds;
    double reserve = grid->run.time_reserve_seconds;
    if (limit > 0 && reserve >= limit) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "%s: time_limit_seconds = %g leaves no time for a cell, because everything "
                       "winds up time_reserve_seconds = %g before; give a longer limit or a "
                       "shorter reserve",
                       pb_config_where(grid->config, "run.time_limit_seconds", place, sizeof place),
                       limit, reserve);
    }
    return PB_OK;
}

static pb_status read_search(pb_grid *grid)
{
    char place[GRID_PLACE];
    if (!pb_config_has(grid->config, "sweep.search")) {
        return PB_OK;
    }
    PB_TRY(
        pb_config_read(grid->config, "sweep.search", pb_grid_search_fields, NULL, &grid->search));
    const pb_config_ints *rungs = &grid->search.rungs;
    for (int64_t i = 0; i < rungs->count; i++) {
        if (i > 0 && rungs->items[i] <= rungs->items[i - 1]) {
            return PB_FAIL(PB_ERR_CONFIG,
                           "%s: rungs = %" PRId64 " follows %" PRId64 "; they are ascending",
                           pb_config_where(grid->config, "sweep.search.rungs", place, sizeof place),
                           rungs->items[i], rungs->items[i - 1]);
        }
    }
    return rungs->count > 0
               ? PB_OK
               : PB_FAIL(PB_ERR_CONFIG,
                         "%s: rungs is empty; leave search out to train all variants",
                         pb_config_where(grid->config, "sweep.search.rungs", place, sizeof place));
}

/* A name without a file, or one whose file is wrong, does not hide the next. */
static pb_status open_axes(pb_grid *grid)
{
    pb_mistakes mistakes = {0};
    pb_status status     = PB_OK;
    for (int kind = 0; kind < PB_AXIS_FILES && status == PB_OK; kind++) {
        status = grid_axis_open(grid, (pb_grid_axis_kind)kind, &mistakes);
    }
    if (status == PB_OK) {
        status = pb_mistakes_fail(&mistakes, PB_ERR_CONFIG, pb_config_path(grid->config));
    }
    pb_mistakes_clear(&mistakes);
    return status;
}

static pb_status read_grid(pb_grid *grid, const char *path, const char *const *sets, int64_t count)
{
    static const char *const rules[] = {"exclude", "override", "search", NULL};
    PB_TRY(grid_file_open(path, &grid->config));
    PB_TRY(grid_check_groups(grid->config, "", grid_groups));
    PB_TRY(read_sets(grid, sets, count));
    PB_TRY(pb_config_read(grid->config, "sweep", pb_grid_sweep_fields, rules, &grid->sweep));
    PB_TRY(pb_config_read(grid->config, "run", pb_grid_run_fields, NULL, &grid->run));
    PB_TRY(check_name(grid));
    PB_TRY(check_seeds(grid));
    PB_TRY(check_time(grid));
    PB_TRY(read_search(grid));
    PB_TRY(open_axes(grid));
    return PB_FRAME(grid_matches_read(grid));
}

pb_status pb_grid_open(const char *path, const char *const *sets, int64_t set_count, pb_grid **out)
{
    pb_grid *grid = NULL;
    PB_TRY(PB_ALLOC(grid, 1));
    pb_status status = read_grid(grid, path, sets, set_count);
    if (status != PB_OK) {
        pb_grid_close(grid);
        return PB_FRAME(status);
    }
    *out = grid;
    return PB_OK;
}

void pb_grid_close(pb_grid *grid)
{
    if (grid == NULL) {
        return;
    }
    for (int kind = 0; kind < PB_AXIS_FILES; kind++) {
        grid_axis_close(&grid->axes[kind]);
    }
    grid_matches_clear(&grid->excludes);
    grid_matches_clear(&grid->overrides);
    pb_config_clear(pb_grid_sweep_fields, &grid->sweep);
    pb_config_clear(pb_grid_run_fields, &grid->run);
    pb_config_clear(pb_grid_search_fields, &grid->search);
    pb_config_close(grid->config);
    pb_config_close(grid->sets);
    pb_config_close(grid->written);
    for (int64_t i = 0; i < grid->varied_count; i++) {
        pb_memory_free(grid->varied[i].key);
    }
    pb_memory_free(grid->varied);
    pb_memory_free(grid);
}

const pb_grid_sweep *pb_grid_get_sweep(const pb_grid *grid)
{
    return &grid->sweep;
}

const pb_grid_run_options *pb_grid_get_run(const pb_grid *grid)
{
    return &grid->run;
}

const pb_grid_search *pb_grid_get_search(const pb_grid *grid)
{
    return grid->search.rungs.count > 0 ? &grid->search : NULL;
}

pb_status pb_grid_search_key(const pb_grid_cell *cell, pb_string *out)
{
    return pb_string_printf(out, "%" PRId64 " %" PRId64 " %" PRId64 " %.*s",
                            cell->index[PB_AXIS_MODEL], cell->index[PB_AXIS_DATASET], cell->seed,
                            pb_variant_base(cell->method), cell->method);
}

const char *pb_grid_path(const pb_grid *grid)
{
    return pb_config_path(grid->config);
}

const char *pb_grid_where(const pb_grid *grid, const char *key, char *text, size_t size)
{
    return pb_config_where(grid->config, key, text, size);
}

int64_t pb_grid_axis_count(const pb_grid *grid, pb_grid_axis_kind axis)
{
    return grid->axes[axis].count;
}
