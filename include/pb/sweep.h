// SPDX-License-Identifier: Apache-2.0
/* The main job: a group of processes runs all cells of a grid into one folder. All cells are
 * checked before the first one runs; those with results in the folder are skipped; each of the
 * others is run by one process and committed as a shard; at the end the shards are merged into one
 * file. A sweep that was stopped or killed continues where it ended.
 *
 *     PB_TRY(pb_sweep_open(&options, comm, &sweep));
 *     status = pb_sweep_run(sweep, show, context, &outcome);    or pb_sweep_forecast_make
 *     pb_sweep_close(sweep);
 *
 * It writes log lines only; the caller shows the tables. */
#pragma once

#include "pb/cell.h"
#include "pb/comm.h"
#include "pb/grid.h"
#include "pb/mistakes.h"
#include "pb/results.h"

typedef struct pb_sweep pb_sweep;

/* What the caller decides; texts are borrowed. */
typedef struct pb_sweep_options {
    const char *grid;        /* the grid file */
    const char *const *sets; /* [set_count] "key=value" */
    int64_t set_count;
    const char *device; /* NULL: run.device */
    const char *dtype;  /* "f32" or "bf16"; NULL: run.dtype */
    bool has_threads;   /* else run.threads */
    int64_t threads;    /* 0: all that the process may use */
    const char *output; /* folder of the results; NULL: run.output, else results/<sweep> */
    bool needs_weights; /* a model without weights is a mistake, as it is for a run */
    bool no_cache;      /* tokens are made for every cell, instead of kept in a folder */
    bool keep_going;    /* cells that cannot run are recorded as failed, and the others run */
    bool retry_failed;  /* run failed cells again */
    bool fresh;         /* run all cells again */
} pb_sweep_options;

/* Reads the grid, inspects its models and expands the cells. Collective: fails on all processes or
 * on none; PB_ERR_CONFIG also when one of them was started with another program, grid or option.
 * The time limit counts from this call. */
pb_status pb_sweep_open(const pb_sweep_options *options, pb_comm *comm, pb_sweep **out) PB_MUST_USE;
void pb_sweep_close(pb_sweep *sweep); /* collective; accepts NULL */

const char *pb_sweep_name(const pb_sweep *sweep);

/* ---------------------------------------------------------------- before it runs */

typedef struct pb_sweep_foreseen {
    const pb_grid_cell *cell; /* borrowed from the sweep */
    pb_cell_prediction prediction;
    pb_cell_rows rows;
    double seconds;  /* modelled; 0 for a cell that cannot run */
    int64_t mistake; /* the first of the cell, an index of `mistakes`; -1: it can run */
} pb_sweep_foreseen;

typedef struct pb_sweep_forecast {
    pb_sweep_foreseen *cells; /* [count] in the order of the run */
    int64_t count;
    pb_mistakes mistakes; /* each counts its cells */
    int64_t bad;          /* cells with a mistake */
    bool config;          /* at least one mistake is in a configuration */
    double seconds;       /* of all cells, modelled */
} pb_sweep_forecast;

/* Checks every cell and predicts what it costs. Local. */
pb_status pb_sweep_forecast_make(const pb_sweep *sweep, pb_sweep_forecast *out) PB_MUST_USE;
void pb_sweep_forecast_clear(pb_sweep_forecast *forecast); /* accepts a zeroed one */

/* Modelled seconds of the sweep on `ranks` processes, each of which takes the next cell as soon as
 * it is free. */
pb_status pb_sweep_forecast_makespan(const pb_sweep_forecast *forecast, int64_t ranks,
                                     double *seconds) PB_MUST_USE;

/* ---------------------------------------------------------------- the run */

/* Shows the merged results; called on rank 0. */
typedef pb_status (*pb_sweep_show)(void *context, const pb_results *results, const char *path);

typedef struct pb_sweep_outcome {
    bool stopped;   /* cells are left, because of a signal or the time limit */
    int64_t failed; /* cells, those of earlier runs included */
} pb_sweep_outcome;

/* Runs the cells that have no result, and merges. Signals have to be caught (pb_stop_catch).
 * Collective; the outcome is filled in even when merging or showing fails. PB_ERR_CONFIG, with all
 * mistakes in the log, when cells cannot run, unless `keep_going` is set; PB_STOPPED when the run
 * is stopped before its first cell or while it merges. */
pb_status pb_sweep_run(pb_sweep *sweep, pb_sweep_show show, void *context,
                       pb_sweep_outcome *outcome) PB_MUST_USE;

/* ---------------------------------------------------------------- its folder */

/* Shards of the folder → one file at `path`, atomically; with PSCP at its default constants.
 * PB_ERR_FORMAT, with all of them in the log, when shards are damaged. */
pb_status pb_sweep_merge(const char *directory, const char *path) PB_MUST_USE;
/* DIRECTORY/<sweep>.h5, the file that a run writes; fails where no run has written plan.json. */
pb_status pb_sweep_merged_path(const char *directory, char **out) PB_MUST_USE;

/* What one process of a run is doing. */
typedef struct pb_running {
    const char *host; /* texts are the writer's; those that were read belong to the list */
    int64_t process, rank;
    const char *model, *dataset, *method;
    int64_t seed;
    const char *phase;   /* "setup", "train", "test" */
    int64_t step, steps; /* of the phase; 0 of 0: nothing is counted */
    double loss;         /* of the step; NaN: none */
    double seconds_left; /* of the cell when this was written; NaN: unknown */
    double begun;        /* unix seconds: the cell */
    double written;      /* unix seconds: the file */
} pb_running;

typedef struct pb_running_list {
    pb_running *items; /* [count] by rank */
    int64_t count;
} pb_running_list;

/* The progress of a folder: from its plan, its shards, and what a run there reports. */
typedef struct pb_sweep_progress {
    char *name; /* owned, NULL without a plan */
    /* left: includes damaged ones; -1 without a plan, since only the plan knows the cells without a
     * shard. */
    int64_t cells, done, failed, invalid, left, stale;
    char **damaged; /* owned, [damaged_count]: file and cause */
    int64_t damaged_count;
    double cells_per_hour; /* of the latest finished cells, NaN with fewer than two */
    double seconds_left;   /* left / cells_per_hour, NaN when unknown */
    pb_running_list running;
} pb_sweep_progress;

/* Only reads, so it may be called while a run works in the folder. */
pb_status pb_sweep_progress_read(const char *directory, pb_sweep_progress *out) PB_MUST_USE;
void pb_sweep_progress_clear(pb_sweep_progress *progress); /* accepts a zeroed one */
