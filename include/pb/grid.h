// SPDX-License-Identifier: Apache-2.0
/* The grid model × dataset × method × seed: read from a file, expanded into cells, dealt to the
 * processes of a group. It composes each cell's configuration without interpreting it: the groups
 * `train`, `data`, `eval`, `model`, `dataset`, `method` belong to the modules of these names.
 *
 *     PB_TRY(pb_grid_open(path, sets, set_count, &grid));
 *     PB_TRY_GOTO(status, pb_grid_expand(grid, &cells), …);
 *     pb_grid_order(&cells);
 *     PB_TRY_GOTO(status, pb_grid_run(grid, comm, &cells, done, began, &job, &summary), …); */
#pragma once

#include "pb/cell.h"
#include "pb/comm.h"
#include "pb/config.h"
#include "pb/protocol.h"

/* The group `sweep`; `exclude` and `override` are lists of groups beside these keys. */
typedef struct pb_grid_sweep {
    char *name;
    /* As written: names, or paths ending in .cfg; NULL: an entry of variants. */
    pb_config_list models, datasets, methods;
    pb_config_ints seeds;
    int protocol; /* pb_protocol */
} pb_grid_sweep;

/* The group `sweep.search`: variants of a method with the same model, data set and seed train
 * together, and weak ones are stopped, see pb/train.h. */
typedef struct pb_grid_search {
    pb_config_ints rungs; /* percent of the steps; none: there is no search */
    double keep;
} pb_grid_search;

/* The group `run`: how cells are run, never what they compute. */
typedef struct pb_grid_run_options {
    char *device; /* auto, or a backend of this build */
    int dtype;    /* 0 f32, 1 bf16 */
    int64_t threads;
    char *products;              /* see pb_backend_use_products */
    int64_t group;               /* processes that share a cell: 1 */
    int64_t gang;                /* most cells that train together; 0: "auto" */
    int save_adapters;           /* 0 none, 1 best */
    bool graphs;                 /* passes of training may be graphs of a device */
    double time_limit_seconds;   /* since the program began; 0: none */
    double time_reserve_seconds; /* winding up starts this long before the limit; smaller than the
                                    limit */
    int64_t max_attempts;        /* a cell that took its process down so often has failed */
    double checkpoint_seconds;   /* between checkpoints of a running cell; 0: only when stopped */
    int64_t pack_cells;          /* a sweep of more cells keeps their results in packs */
    double claim_seconds;        /* a job without a heartbeat for so long is gone */
    double progress_seconds;     /* between two lines of progress in a log; 0: none */
    char *output;                /* folder of results; "": the caller decides */
    char *cache;                 /* folder of token files; "": the caller decides */
} pb_grid_run_options;

extern const pb_config_field pb_grid_sweep_fields[];
extern const pb_config_field pb_grid_run_fields[];
extern const pb_config_field pb_grid_search_fields[];
/* The fields of an entry of sweep.exclude, and of `when` in an entry of sweep.override. */
extern const pb_config_field pb_grid_match_fields[];

typedef struct pb_grid pb_grid;
typedef struct pb_grid_cell pb_grid_cell;

/* Reads the grid file, lays the assignments ("key=value") over it, finds and reads the file of
 * every value of an axis, and checks exclusions and overrides. A name is looked up as
 * ../<axis>/NAME.cfg beside the grid file, then as <axis>/NAME.cfg in the folders that PB_CONFIGS
 * lists (separated by ":"), then in the program's own configurations. */
pb_status pb_grid_open(const char *path, const char *const *sets, int64_t set_count,
                       pb_grid **out) PB_MUST_USE;
void pb_grid_close(pb_grid *grid); /* accepts NULL */
const pb_grid_sweep *pb_grid_get_sweep(const pb_grid *grid);
const pb_grid_run_options *pb_grid_get_run(const pb_grid *grid);
const pb_grid_search *pb_grid_get_search(const pb_grid *grid); /* NULL: none */
/* A text that cells have in common when a search compares them. */
pb_status pb_grid_search_key(const pb_grid_cell *cell, pb_string *out) PB_MUST_USE;
const char *pb_grid_path(const pb_grid *grid);
/* Where a key of the groups sweep and run was written, see pb_config_where; returns text. */
const char *pb_grid_where(const pb_grid *grid, const char *key, char *text, size_t size);

typedef enum pb_grid_axis_kind {
    PB_AXIS_MODEL,
    PB_AXIS_DATASET,
    PB_AXIS_METHOD,
    PB_AXIS_FILES /* how many axes have files */
} pb_grid_axis_kind;

/* The program's own folder of configurations: that of an installation, or that of the sources when
 * the program is in their build folder (build/PRESET/src). Empty when there is neither. */
pb_status pb_grid_own_configs(pb_string *out) PB_MUST_USE;

/* The file of a name of the axis "model", "dataset" or "method": <axis>/NAME.cfg in the folder
 * `first` (may be NULL), in those that PB_CONFIGS lists, in pb_grid_own_configs. PB_ERR_CONFIG when
 * there is none: after `place`, with the files looked for and the nearest name. */
pb_status pb_grid_find_file(const char *place, const char *axis, const char *name,
                            const char *first, char **out) PB_MUST_USE;

/* All names that can be found this way, with the first file of each, sorted; also for the axis
 * "grid". */
typedef struct pb_grid_file {
    char *name, *path;
} pb_grid_file;

typedef struct pb_grid_files {
    pb_grid_file *items;
    int64_t count;
} pb_grid_files;

pb_status pb_grid_list_files(const char *axis, const char *first, pb_grid_files *out) PB_MUST_USE;
void pb_grid_files_clear(pb_grid_files *files); /* accepts a zeroed one */

/* The number of names of an axis. */
int64_t pb_grid_axis_count(const pb_grid *grid, pb_grid_axis_kind axis);

struct pb_grid_cell {
    int64_t number;               /* place in the order of work, the same on every rank */
    int64_t before;               /* and before the last pb_grid_order */
    int64_t index[PB_AXIS_FILES]; /* on the axes */
    /* Borrowed from the grid; a path goes by its last part without ".cfg", a variant by a name as
     * in pb/variant.h. */
    const char *model, *dataset, *method;
    int64_t seed, seed_index;
    pb_protocol protocol;
    int64_t configuration; /* cells with the same number have the same configuration */
    double cost;           /* relative, for the order; 1 unless the caller knows better */
    pb_cell *cell; /* the caller's, NULL at first, as is `group`: which search it is in; 0: none */
    int64_t group;
};

typedef struct pb_grid_cells {
    pb_grid_cell *items; /* owned */
    int64_t count;
} pb_grid_cells;

/* The product of the axes without the exclusions, in the order of the axes, seeds fastest: cells of
 * the same configuration follow one another. */
pb_status pb_grid_expand(const pb_grid *grid, pb_grid_cells *out) PB_MUST_USE;
/* The order of work: by model, then the highest cost first, then in the order of the axes. A cost
 * that is not a positive number becomes 1; costs must be the same on every rank. */
void pb_grid_order(pb_grid_cells *cells);
void pb_grid_cells_clear(pb_grid_cells *cells);

/* The configuration of one cell, with the groups model, dataset, method, train, data, eval, run;
 * strength: files of model, dataset, method < grid file < matching overrides, in order < settings
 * of variants < sets.
 * Every key knows its file, for messages and relative paths. */
pb_status pb_grid_cell_config(const pb_grid *grid, const pb_grid_cell *cell,
                              pb_config **out) PB_MUST_USE;

/* Watches over a run; passed to the runner of cells. The two functions fit the observer of
 * pb/cell.h with the watch as context. Both also serve the messages between ranks, so they must be
 * called from the process's first thread; a runner that calls neither keeps other ranks waiting. */
typedef struct pb_grid_watch pb_grid_watch;

bool pb_grid_watch_stop(void *watch); /* true: wind up, after a signal or at the end of the time */
void pb_grid_watch_progress(void *watch, const pb_cell_progress *progress);

/* For a process that helps with a cell: it is ready; its help is over. Both, and the ranks that
 * have come to help with the cell here, one after the other and then -1, fit pb_cell_call and
 * pb_cell_observer. */
pb_status pb_grid_watch_ready(void *watch) PB_MUST_USE;
bool pb_grid_watch_over(void *watch);
int pb_grid_watch_joined(void *watch);

typedef struct pb_grid_outcome {
    bool kept;         /* there is a result, whatever the runner's status */
    bool failed;       /* it is that of a failed cell */
    char message[256]; /* why, for the log */
    double seconds;    /* for the log */
} pb_grid_outcome;

/* Runs the cells of a gang, mostly one, and keeps their results; outcomes [count] are zeroed.
 * PB_OK: every cell has a result, failed or not. PB_STOPPED: stopped on request. PB_ERR_COMM,
 * PB_ERR_IO: results cannot be kept; PB_ERR_DEVICE: none can be computed any more; this process
 * ends its part. Any other status is logged, cells without a result count as failed, and the sweep
 * continues. */
typedef pb_status (*pb_grid_runner)(void *context, const pb_grid_cell *const *cells, int64_t count,
                                    pb_grid_watch *watch, pb_grid_outcome *outcomes);

/* What a process is doing. */
typedef struct pb_grid_state {
    const pb_grid_cell *cell;
    const pb_cell_progress *progress;
    double begun;        /* clock seconds: the cell */
    double seconds_left; /* of the cell; INFINITY: unknown */
} pb_grid_state;

/* Of a gang that other groups may run too: at least one cell is THEIRS, or all are DONE there. */
typedef enum pb_grid_turn { PB_GRID_OURS, PB_GRID_THEIRS, PB_GRID_DONE } pb_grid_turn;

/* What to do with the cells. */
typedef struct pb_grid_job {
    pb_grid_runner run;
    /* May be NULL: every cell is alone. Forms gangs of the cells to run, `todo` [count] in the
     * order of work: leads [i] = the place in todo of the first cell of i's gang, at most i; on
     * entry i itself. The same on every process. */
    void (*gather)(void *context, const int64_t *todo, int64_t count, int64_t *leads);
    /* May be NULL: called once on every process before its first cell, with the numbers of the
     * cells to run; its time counts towards no cell. */
    void (*prepare)(void *context, const int64_t *todo, int64_t count, pb_grid_watch *watch);
    /* May be NULL: called at the start and then at most every 15 s with what this process is doing;
     * NULL when it has no more cells. */
    void (*tell)(void *context, const pb_grid_state *state);
    /* May be NULL, both. On rank 0: how many processes can work on a cell at once. Helps with a
     * cell that the process `leader` runs until pb_grid_watch_over; a status other than PB_ERR_COMM
     * and PB_ERR_DEVICE is logged, and the process helps no more. */
    int64_t (*parts)(void *context, const pb_grid_cell *cell);
    pb_status (*help)(void *context, const pb_grid_cell *cell, int leader, pb_grid_watch *watch);
    /* May be NULL. On rank 0: called before a gang, the cells numbers [count], is dealt out, with
     * PB_GRID_OURS again for one that was given back; and for every cell that has ended here. */
    pb_grid_turn (*take)(void *context, const int64_t *numbers, int64_t count);
    void (*over)(void *context, int64_t number);
    void *context;
} pb_grid_job;

typedef struct pb_grid_summary {
    int64_t cells, skipped; /* skipped: done before */
    int64_t finished;       /* in this run, failed ones included */
    int64_t failed, left;
    int64_t passed; /* not dealt out, because `take` refused them */
} pb_grid_summary;

/* Deals every cell that is not done (rank 0's flags count; NULL: none is) to one process, in order,
 * until all are done or a signal (see pb/stop.h) or the time limit stops it. The limit counts from
 * `began` (clock seconds); a limit that expires before the first cell is PB_ERR_CONFIG, because the
 * same command would never get any further. Collective; the summary is that of the whole group and
 * is filled whatever the status, except PB_ERR_COMM, after which the group must be aborted.
 * PB_STOPPED when cells are left because of a stop, or because processes lost their device. */
pb_status pb_grid_run(const pb_grid *grid, pb_comm *comm, const pb_grid_cells *cells,
                      const bool *done, double began, const pb_grid_job *job,
                      pb_grid_summary *summary) PB_MUST_USE;
