// SPDX-License-Identifier: Apache-2.0
/* The main job: a group of processes runs all cells of a grid into one folder. All cells are
 * checked before the first one runs; those with results in the folder are skipped; each of the
 * others is run by one process and committed as a shard; at the end the shards are merged into one
 * file. A sweep that was stopped or killed resumes with the unfinished cells.
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
#include "pb/rates.h"
#include "pb/results.h"

typedef struct pb_sweep pb_sweep;

/* Settings of the caller; texts are borrowed. */
typedef struct pb_sweep_options {
    const char *grid;        /* the grid file */
    const char *const *sets; /* [set_count] "key=value" */
    int64_t set_count;
    const char *device;         /* NULL: run.device */
    const char *dtype;          /* "f32" or "bf16"; NULL: run.dtype */
    const char *products;       /* see pb_backend_use_products; NULL: run.products */
    double gflops;              /* of a plan, see pb_cell_setup */
    const pb_rates *rates;      /* likewise */
    bool has_threads;           /* else run.threads */
    int64_t threads;            /* 0: one per processor of the process */
    const char *output;         /* folder of the results; NULL: run.output, else results/<sweep> */
    const char *events, *mllog; /* files that a run appends to as it goes; NULL: none */
    bool needs_weights;         /* a model without weights is an error, as in a run */
    bool no_cache;     /* tokens are made for every cell instead of being kept in a folder */
    bool keep_going;   /* cells that cannot run are recorded as failed, and the others run */
    bool retry_failed; /* run failed cells again */
    bool fresh;        /* run all cells again */
} pb_sweep_options;

/* Reads the grid, inspects its models and expands the cells. Collective: fails on all processes or
 * on none; PB_ERR_CONFIG also when one of them was started with a different program, grid or
 * option. The time limit starts with this call. */
pb_status pb_sweep_open(const pb_sweep_options *options, pb_comm *comm, pb_sweep **out) PB_MUST_USE;
void pb_sweep_close(pb_sweep *sweep); /* collective; accepts NULL */

const char *pb_sweep_name(const pb_sweep *sweep);

/* ---------------------------------------------------------------- before it runs */

typedef struct pb_sweep_foreseen {
    const pb_grid_cell *cell; /* borrowed from the sweep */
    pb_cell_prediction prediction;
    pb_cell_rows rows;
    double seconds; /* modelled; 0 for a cell that cannot run */
    /* The prediction's; of a cell that trains in a gang, the whole gang's. */
    double memory_gb, device_gb;
    int64_t behind_lead; /* places after the first cell of its gang; 0: it leads or is alone */
    int64_t mistake;     /* the cell's first one, an index of `mistakes`; -1: it can run */
} pb_sweep_foreseen;

typedef struct pb_sweep_forecast {
    pb_sweep_foreseen *cells; /* [count] in the order of the run */
    int64_t count;
    pb_mistakes mistakes; /* each with the number of its cells */
    int64_t bad;          /* cells with an error */
    bool config;          /* at least one error is in a configuration */
    double seconds;       /* of all cells, modelled */
    int threads;          /* of a process */
    bool on_device;
    double gflops; /* see pb_cell_env_gflops */
} pb_sweep_forecast;

/* Times of a sweep on a number of processes. */
typedef struct pb_sweep_makespan {
    double seconds; /* modelled: each process takes the next cell as soon as it is free */
    double bound;   /* no order could be faster */
} pb_sweep_makespan;

/* Rates of work fitted to the cells of a results file. */
typedef struct pb_sweep_fit {
    pb_rates rates;
    int64_t cells;
    double residual; /* root mean square of (predicted - measured) / measured seconds of a cell */
} pb_sweep_fit;

/* PB_ERR_CONFIG where the file has no finished cell. */
pb_status pb_sweep_fit_read(const char *path, pb_sweep_fit *out) PB_MUST_USE;

/* Checks every cell, predicts what it costs, and orders the cells accordingly. Local. */
pb_status pb_sweep_forecast_make(pb_sweep *sweep, pb_sweep_forecast *out) PB_MUST_USE;
void pb_sweep_forecast_clear(pb_sweep_forecast *forecast); /* accepts a zeroed one */

pb_status pb_sweep_forecast_makespan(const pb_sweep_forecast *forecast, int64_t ranks,
                                     pb_sweep_makespan *out) PB_MUST_USE;

/* ---------------------------------------------------------------- the run */

/* Shows the merged results; called on rank 0. */
typedef pb_status (*pb_sweep_show)(void *context, const pb_results *results, const char *path);

typedef struct pb_sweep_outcome {
    bool stopped;   /* cells remain, because of a signal or the time limit */
    int64_t failed; /* cells, including those of earlier runs */
} pb_sweep_outcome;

/* Runs the cells that have no result, and merges. Signals must be caught (pb_stop_catch).
 * Collective; the outcome is filled in even when merging or showing fails. PB_ERR_CONFIG, with all
 * errors in the log, when cells cannot run, unless `keep_going` is set; PB_STOPPED when the run is
 * stopped before its first cell or during the merge. */
pb_status pb_sweep_run(pb_sweep *sweep, pb_sweep_show show, void *context,
                       pb_sweep_outcome *outcome) PB_MUST_USE;

/* ---------------------------------------------------------------- its folder */

/* Merges the shards of the folder into one file at `path`, atomically; with PSCP at its default
 * constants. PB_ERR_FORMAT when shards are damaged, with all of them in the log. */
pb_status pb_sweep_merge(const char *directory, const char *path) PB_MUST_USE;
/* DIRECTORY/<sweep>.h5, the file that a run writes; fails if no run has written plan.json. */
pb_status pb_sweep_merged_path(const char *directory, char **out) PB_MUST_USE;

/* A job that works in a folder. */
typedef struct pb_job {
    struct json_t *owner; /* of the texts */
    const char *name;     /* "node7.4711.1764591234" */
    const char *host;     /* of its first process */
    const char *batch;    /* "Slurm job 77"; "": none */
    int64_t process, ranks;
    double started, heard; /* Unix seconds; heard: its last heartbeat */
} pb_job;

typedef struct pb_job_list {
    pb_job *items; /* [count] by name */
    int64_t count;
} pb_job_list;

/* What one process of a run is doing. */
typedef struct pb_running {
    struct json_t *owner; /* of the texts that were read; NULL: the writer's */
    const char *job;
    const char *host;
    int64_t process, rank;
    const char *model, *dataset, *method;
    int64_t seed;
    const char *phase;   /* "setup", "train", "test" */
    int64_t step, steps; /* of the phase; 0 of 0: nothing is counted */
    double loss;         /* of the step; NaN: none */
    double seconds_left; /* of the cell at the time of writing; NaN: unknown */
    double begun;        /* Unix seconds, start of the cell */
    double written;      /* Unix seconds, writing of the file */
} pb_running;

typedef struct pb_running_list {
    pb_running *items; /* [count] by job and rank */
    int64_t count;
} pb_running_list;

/* The progress in a folder: from its plan, its shards, and the reports of a run there. */
typedef struct pb_sweep_progress {
    char *name; /* owned, NULL without a plan */
    /* left: includes damaged ones; -1 without a plan, since only the plan knows the cells without a
     * shard. */
    int64_t cells, done, failed, invalid, left, stale;
    char **damaged; /* owned, [damaged_count]: file and cause */
    int64_t damaged_count;
    int64_t checkpoints;   /* cells that go on from one */
    int64_t attempts;      /* cells that run, or that ran when their process went down */
    double cells_per_hour; /* of the latest finished cells, NaN with fewer than two */
    double seconds_left;   /* left / cells_per_hour, NaN when unknown */
    pb_job_list jobs;
    pb_running_list running;
} pb_sweep_progress;

/* Only reads, so it can be called while a run works in the folder. */
pb_status pb_sweep_progress_read(const char *directory, pb_sweep_progress *out) PB_MUST_USE;
void pb_sweep_progress_clear(pb_sweep_progress *progress); /* accepts a zeroed one */
