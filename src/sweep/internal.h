// SPDX-License-Identifier: Apache-2.0
/* A sweep: the grid, its models and its planned cells; and the steps of a run, one per file. */
#pragma once

#include "jobs.h"
#include "pb/file.h"
#include "pb/sweep.h"
#include "pb/train.h"

#include <time.h>

struct pb_sweep {
    pb_sweep_options options;
    pb_comm *comm;
    double began; /* clock seconds */
    pb_grid *grid;
    pb_cell_env *env;
    pb_train_search search; /* without rungs: none */
    pb_grid_cells cells;    /* planned, in the order of the run; hashed by sweep_hash */
    int64_t groups;         /* of the search */
    int64_t *group_places;  /* [groups + 1] for work on them; NULL: no search */
};

/* ---------------------------------------------------------------- sweep.c */

pb_dtype sweep_dtype(const pb_sweep *s); /* --dtype, else run.dtype */

/* Opens the weights of the models that can be used. Collective. */
pb_status sweep_load_models(pb_sweep *s) PB_MUST_USE;

/* Computes the hashes of all cells on one process and shares them, after checking that all
 * processes see the same files. Collective. */
pb_status sweep_hash(pb_sweep *s) PB_MUST_USE;

/* ---------------------------------------------------------------- alike.c */

/* Every process of a run must have been started for the same job and see the same files. A
 * difference is reported before the first cell, with the process, the key or file, and both values.
 * Collective. */

/* Program, options, sets, and the configuration of every cell in the order of the grid file. */
pb_status alike_check_configuration(pb_sweep *s) PB_MUST_USE;

/* The configuration of a cell, after its name. */
pb_status alike_cell_text(const pb_grid_cell *c, pb_string *out) PB_MUST_USE;
/* Fails with the first line that differs between two such texts: "WHO in cell …: … here, … there;
 * REMEDY". */
pb_status alike_fail(const char *own, const char *first, const char *who,
                     const char *remedy) PB_MUST_USE;

/* Files of models, tokenizers and rows, by their contents. The first process of a node reads them;
 * the others do so only if their paths lead to different files. */
pb_status alike_check_inputs(const pb_sweep *s) PB_MUST_USE;

/* ---------------------------------------------------------------- check.c */

/* A forecast without seconds. */
pb_status check_cells(const pb_sweep *s, pb_sweep_forecast *out) PB_MUST_USE;

/* Checks the models of the cells without an error once more. */
pb_status check_models(const pb_sweep *s, pb_sweep_forecast *f) PB_MUST_USE;

/* PB_ERR_CONFIG when there are errors, all of them in the log. With `keep_going` those from `first`
 * on are warnings, as long as at least one cell can run. */
pb_status check_judge(const pb_sweep *s, const pb_sweep_forecast *f, int64_t first) PB_MUST_USE;

/* ---------------------------------------------------------------- forecast.c */

/* Cost of a cell for the order of work: its seconds, and those that a baseline, which runs no
 * model, takes at least. */
double forecast_cost(const pb_cell_prediction *prediction);

/* ---------------------------------------------------------------- lock.c */

/* Takes DIRECTORY/run.lock, so that only one job plans or merges in the directory, which exists.
 * PB_ERR_IO, with host and process, when another job has held the lock for all of `seconds`;
 * PB_STOPPED on a stop. *out is NULL if the file system does not support locks. */
pb_status lock_take(const char *directory, const char *sweep, double seconds,
                    pb_file_lock **out) PB_MUST_USE;
/* Removes the temporary files that killed runs of the sweep left behind; when no other job works in
 * the directory. */
pb_status lock_clean(const char *directory, const char *sweep) PB_MUST_USE;

/* ---------------------------------------------------------------- folder.c, done.c */

/* The folder of a run's results. */
typedef struct folder {
    char *path;
    int64_t round;           /* of this run, see pb_shard_writer_open */
    pb_shard_writer *writer; /* of this process; NULL: not yet */
    char job[JOBS_NAME];     /* the name of this job */
    /* on rank 0 only */
    pb_file_lock *lock; /* NULL: not held, or no support for locks */
    bool lockless;      /* no support for locks */
    jobs *jobs;
    struct claims *claims;
    bool shared;      /* other jobs work in the folder, or have since the start */
    pb_shards *all;   /* where it is shared; NULL: not yet */
    bool last;        /* this job merges */
    bool only;        /* no other job works in it */
    pb_plan plan;     /* in the order of the axes */
    int64_t *numbers; /* [cells] of the plan's cells in the sweep */
    bool *done;       /* [cells] of the sweep */
    bool *alone;      /* [cells] of the sweep: it took its process down, or its gang did */
    int64_t failed;   /* cells that failed before and are not run again */
    char (*checksums)[PB_HASH_TEXT]; /* [cells] of the plan, of its shards at the start, or "" */
    char shards[PB_HASH_TEXT];       /* one hash over these */
} folder;

/* Where a run of the sweep has its results; to be freed with pb_memory_free. */
pb_status folder_path(const pb_sweep *s, char **out) PB_MUST_USE;

/* Makes the folder, locks it and joins it. The first job writes the plan into it; one with another
 * plan is refused. */
pb_status folder_open(const pb_sweep *s, folder *out) PB_MUST_USE;
pb_status folder_lock(const pb_sweep *s, folder *f, double seconds) PB_MUST_USE;
void folder_unlock(folder *f);
/* Other jobs that work in the folder. When there is none, the holder of the lock removes what jobs
 * that are gone left behind. */
pb_status folder_count_others(folder *f, size_t *count) PB_MUST_USE;
void folder_close(folder *f); /* accepts a zeroed one */

/* Marks the cells that have a shard of their configuration. */
pb_status done_find(const pb_sweep *s, folder *f) PB_MUST_USE;

/* ---------------------------------------------------------------- products.c */

/* Settles which library computes products: as the folder of the results has it, else by a
 * measurement that is then kept there. Before the hashes, which depend on it. Collective. */
pb_status products_settle(const pb_sweep *s) PB_MUST_USE;

/* ---------------------------------------------------------------- attempts.c */

/* The file that names the cells that this process runs; zero-initialised: none yet. */
typedef struct attempts {
    char *path; /* NULL: not yet */
    pb_file_lock *lock;
    int fd;
    char **names; /* [count] of the cells; NULL: it is over */
    int64_t count;
    struct timespec begun; /* by the clock of the file system */
    double seconds;        /* the same by the clock of this process */
    bool durable, broken;
} attempts;

void attempts_begin(attempts *a, const char *directory, const pb_cell *const *cells, int64_t count);
void attempts_tick(attempts *a);                /* called from time to time while they run */
void attempts_over(attempts *a, int64_t index); /* the cell has a result */
void attempts_end(attempts *a);                 /* of all, also when they are stopped */
void attempts_close(attempts *a);               /* this process runs no more */
/* A cell that was judged ATTEMPTS_SOME did not take its process down this time. */
void attempts_forget(const char *directory, const pb_cell *cell);

/* Counts the attempts of processes that went down. Without locks nothing shows whether a process of
 * another job has: then it counts nothing beside other jobs. */
pb_status attempts_collect(const folder *f) PB_MUST_USE;
/* Of a sweep whose cells are all over: removes all but the files of processes that live. */
void attempts_clear(const folder *f);
/* Cells that run, or that ran when their process went down. */
pb_status attempts_count(const char *directory, int64_t *out) PB_MUST_USE;

typedef enum attempts_verdict {
    ATTEMPTS_NONE, /* it never took its process down, or starts again with a clean slate */
    ATTEMPTS_SOME,
    ATTEMPTS_ALL /* as often as run.max_attempts: it now has a failed result */
} attempts_verdict;

pb_status attempts_judge(const pb_sweep *s, const char *directory, const pb_record_key *key,
                         const pb_cell *cell, attempts_verdict *out) PB_MUST_USE;

/* ---------------------------------------------------------------- gangs.c */

/* Forms gangs of the cells todo [count], numbers of the sweep's in the order of the run: see
 * `gather` of pb/grid.h. The longest cell that is in no gang takes those that follow and may join
 * it, up to run.gang; with "auto" one on the host, four on a device, and never so many that one of
 * `ranks` processes is left without work. Those marked in `alone` [cells], NULL: none, join none.
 */
void gangs_form(const pb_sweep *s, const int64_t *todo, int64_t count, int64_t ranks,
                const bool *alone, int64_t *leads);

/* ---------------------------------------------------------------- search.c */

pb_status search_text(const pb_sweep *s, pb_string *out) PB_MUST_USE; /* its settings */
/* Gives every cell that a search compares with others the hash of its group. */
pb_status search_open(pb_sweep *s) PB_MUST_USE;
/* Forms gangs as gangs_form does: one of each group. */
void search_form(const pb_sweep *s, const int64_t *todo, int64_t count, int64_t *leads);
/* A group is done as a whole, or runs again as a whole. */
void search_complete(const pb_sweep *s, folder *f);

/* ---------------------------------------------------------------- merge.c */

/* Merges the shards into one file on rank 0 and shows it. A merged file that already contains all
 * of them is kept. Collective. */
pb_status merge_finish(const pb_sweep *s, const folder *f, const pb_grid_summary *summary,
                       bool stopped, pb_sweep_show show, void *context) PB_MUST_USE;
