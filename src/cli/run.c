// SPDX-License-Identifier: Apache-2.0
/* peftbench run: the main job. Every cell that has no result in the folder yet is run by one
 * process and committed as a shard; at the end one process merges the shards and prints the tables.
 */
#include "check.h"
#include "commands.h"
#include "what_runs.h"

#include "pb/clock.h"
#include "pb/file.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/report.h"
#include "pb/results.h"
#include "pb/stop.h"
#include "pb/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const pb_option options[] = {
    {.name   = "output",
     .letter = 'o',
     .kind   = PB_OPTION_TEXT,
     .value  = "DIR",
     .help   = "folder of the results; default: run.output, else results/<sweep>"},
    {.name = "keep-going",
     .kind = PB_OPTION_FLAG,
     .help = "cells that cannot run are recorded as failed, and the others run"},
    {.name = "retry-failed", .kind = PB_OPTION_FLAG, .help = "run failed cells again"},
    {.name = "fresh", .kind = PB_OPTION_FLAG, .help = "run every cell again, whatever is there"},
    {.name = "no-cache",
     .kind = PB_OPTION_FLAG,
     .help = "keep no tokens of data sets; default: run.cache, else $PB_CACHE, else DIR/tokens"},
    {.name = "help-config", .kind = PB_OPTION_FLAG, .help = "print every key of the configuration"},
    PB_OPTION_END,
};

typedef struct job {
    const pb_cli *cli;
    double began; /* clock */
    sweep sweep;
    char *directory;
    pb_file_lock *lock; /* of the directory, on rank 0; NULL where there are no locks */
    pb_plan plan;       /* on rank 0, in the order of the axes */
    int64_t *numbers;   /* [cells] of the plan's cells in the sweep */
    bool *done;         /* [cells], on rank 0 */
    int64_t failed_before;
    what_runs what_runs;
    char shards[PB_HASH_TEXT]; /* on rank 0: of those that were there at the start */
} job;

/* What a run that was asked to stop may still take to merge what it has, in seconds. */
#define STOP_GRACE 2.0

static pb_status default_directory(const job *j, pb_string *out)
{
    const char *given = pb_cli_text(j->cli, "output");
    const char *set   = pb_grid_get_run(j->sweep.grid)->output;
    if (given != NULL) {
        return pb_string_puts(out, given);
    }
    if (*set != '\0') {
        return pb_string_puts(out, set);
    }
    return pb_string_printf(out, "results/%s", pb_grid_get_sweep(j->sweep.grid)->name);
}

/* A folder that cannot be made is reported once; tokens are then made for every cell. */
static pb_status use_cache(const job *j, const char *folder)
{
    if (pb_path_make_directories(folder) != PB_OK) {
        pb_log_warn("no tokens are kept: %s", pb_error_message());
        pb_error_clear();
        return PB_OK;
    }
    return pb_cell_env_set_cache(j->sweep.env, folder);
}

/* Tokens are shared by all processes that see the folder. */
static pb_status open_cache(const job *j)
{
    const char *set   = pb_grid_get_run(j->sweep.grid)->cache;
    const char *given = getenv("PB_CACHE");
    char *path        = NULL;

    if (pb_cli_flag(j->cli, "no-cache")) {
        return PB_OK;
    }
    if (*set != '\0' || (given != NULL && *given != '\0')) {
        return use_cache(j, *set != '\0' ? set : given);
    }
    PB_TRY(pb_path_join(j->directory, "tokens", &path));
    pb_status status = use_cache(j, path);
    pb_memory_free(path);
    return status;
}

static const char *protocol_name(const job *j)
{
    return pb_protocol_names[pb_grid_get_sweep(j->sweep.grid)->protocol];
}

/* The command as it was typed, from the system; the grid file alone where it does not say. */
static pb_status command_line(const job *j, pb_string *out)
{
    pb_string raw    = {0};
    pb_status status = pb_file_read("/proc/self/cmdline", 0, &raw);
    if (status != PB_OK) {
        pb_error_clear();
        return pb_string_puts(out, pb_cli_argument(j->cli, 0));
    }
    for (size_t at = 0; at < raw.length && status == PB_OK; at += strlen(raw.data + at) + 1) {
        status = pb_string_printf(out, "%s%s", at > 0 ? " " : "", raw.data + at);
    }
    pb_string_clear(&raw);
    return status;
}

static int compare_axes(const void *a, const void *b)
{
    const pb_grid_cell *x = a, *y = b;

    for (int axis = 0; axis < PB_AXIS_FILES; axis++) {
        if (x->index[axis] != y->index[axis]) {
            return x->index[axis] < y->index[axis] ? -1 : 1;
        }
    }
    return (x->seed_index > y->seed_index) - (x->seed_index < y->seed_index);
}

/* Cells are worked off longest first; whoever reads the results sees the order of the file. */
static pb_status plan_cells(job *j)
{
    const pb_grid_cells *cells = &j->sweep.cells;
    pb_grid_cell *sorted       = NULL;
    pb_status status           = PB_OK;

    PB_TRY(PB_ALLOC(j->numbers, cells->count));
    PB_TRY(PB_ALLOC(sorted, cells->count));
    memcpy(sorted, cells->items, (size_t)cells->count * sizeof *sorted);
    qsort(sorted, (size_t)cells->count, sizeof *sorted, compare_axes);
    for (int64_t i = 0; i < cells->count && status == PB_OK; i++) {
        const pb_grid_cell *c = &sorted[i];
        j->numbers[i]         = c->number;
        status                = pb_plan_add(&j->plan, c->model, c->dataset, c->method, c->seed,
                                            j->sweep.hashes[c->number]);
    }
    pb_memory_free(sorted);
    return status;
}

/* The list of cells; also for `status` and `merge`. */
static pb_status write_plan(job *j)
{
    pb_string command = {0};
    pb_plan *plan     = &j->plan;
    pb_status status  = command_line(j, &command);
    if (status == PB_OK) {
        status = pb_record_set_text(&plan->command_line, command.data);
    }
    pb_string_clear(&command);
    PB_TRY(status);
    PB_TRY(pb_record_set_text(&plan->name, pb_grid_get_sweep(j->sweep.grid)->name));
    PB_TRY(pb_record_set_text(&plan->protocol, protocol_name(j)));
    PB_TRY(plan_cells(j));
    return pb_plan_write(j->directory, plan);
}

/* Frees what `damage` says. */
static pb_status set_aside(const job *j, const pb_record_key *key, char *damage)
{
    char *kept       = NULL;
    pb_status status = pb_shard_set_aside(j->directory, key, &kept);
    if (status == PB_OK) {
        pb_log0_warn("%s; it is kept as %s, and its cell is run again", damage, kept);
    }
    pb_memory_free(kept);
    pb_memory_free(damage);
    return status;
}

static pb_status warn_of_others(const job *j)
{
    int64_t others = 0;
    PB_TRY(pb_shard_count_others(j->directory, &j->plan, &others));
    if (others > 0) {
        char shards[PB_TABLE_NUMBER];
        pb_log0_warn("%s in %s of other cells, another configuration or another program than this "
                     "sweep's: kept and left out",
                     pb_table_count(shards, others, "shard"), j->directory);
    }
    return PB_OK;
}

/* A cell is done when it has a shard in its configuration. */
static pb_status find_shards(job *j, char (*checksums)[PB_HASH_TEXT])
{
    bool fresh = pb_cli_flag(j->cli, "fresh");
    bool retry = pb_cli_flag(j->cli, "retry-failed");
    for (int64_t i = 0; i < j->plan.count; i++) {
        const pb_record_key *key = &j->plan.cells[i];
        pb_shard_state state     = PB_SHARD_MISSING;
        pb_record record         = {0};
        char *damage             = NULL;
        PB_TRY(pb_stop_check());
        PB_TRY(pb_shard_find(j->directory, key, PB_RECORD_HEAD, &record, &state, &damage));
        memcpy(checksums[i], record.source_hash, PB_HASH_TEXT);
        pb_status status =
            sweep_check_record(&j->sweep, j->numbers[i], j->directory, &record, &state, &damage);
        pb_record_clear(&record);
        PB_TRY(status);
        if (state == PB_SHARD_DAMAGED) {
            PB_TRY(set_aside(j, key, damage));
        }
        bool failed            = state == PB_SHARD_FAILED && !retry && !fresh;
        j->done[j->numbers[i]] = failed || (state == PB_SHARD_DONE && !fresh);
        j->failed_before += failed;
    }
    return pb_plan_shards_hash(&j->plan, checksums, j->shards);
}

static pb_status find_done(job *j)
{
    char(*checksums)[PB_HASH_TEXT] = NULL;
    PB_TRY(PB_ALLOC(checksums, j->plan.count + 1));
    pb_status status = find_shards(j, checksums);
    pb_memory_free(checksums);
    if (status == PB_STOPPED) {
        return pb_error_prefix(status, "looking for finished cells, which are all kept");
    }
    PB_TRY(status);
    return warn_of_others(j);
}

static void tell(void *context, const pb_grid_state *state)
{
    job *j = context;
    what_runs_tell(&j->what_runs, state);
}

static pb_status prepare_directory(job *j)
{
    const pb_grid_run_options *run = pb_grid_get_run(j->sweep.grid);
    double end                     = run->time_limit_seconds - run->time_reserve_seconds;
    if (pb_comm_rank(j->cli->comm) != 0) {
        return PB_OK;
    }
    PB_TRY(pb_path_make_directories(j->directory));
    PB_TRY(pb_results_lock(j->directory, pb_grid_get_sweep(j->sweep.grid)->name, &j->lock));
    PB_TRY(write_plan(j));
    what_runs_open(&j->what_runs);
    pb_stop_arm(run->time_limit_seconds > 0 ? j->began + end : 0);
    return find_done(j);
}

static pb_cell_observer observe(pb_grid_watch *watch)
{
    return (pb_cell_observer){
        .context = watch, .stop = pb_grid_watch_stop, .progress = pb_grid_watch_progress};
}

/* Of the pairs of model and data set with cells to run, every process makes the tokens of each so
 * many-th one before its first cell, so that they are made side by side and not one behind the
 * other when all begin with the same data set. What fails here fails in its cell. */
static void prepare_tokens(void *context, const int64_t *todo, int64_t count, pb_grid_watch *watch)
{
    job *j                    = context;
    const pb_grid *grid       = j->sweep.grid;
    int64_t datasets          = pb_grid_axis_count(grid, PB_AXIS_DATASET);
    pb_cell_observer observer = observe(watch);
    int64_t pairs             = 0;
    bool *seen                = NULL;

    if (PB_ALLOC(seen, datasets * pb_grid_axis_count(grid, PB_AXIS_MODEL)) != PB_OK) {
        pb_error_clear();
        return;
    }
    for (int64_t i = 0; i < count && !pb_grid_watch_stop(watch); i++) {
        const pb_grid_cell *c = &j->sweep.cells.items[todo[i]];
        bool *pair = &seen[c->index[PB_AXIS_MODEL] * datasets + c->index[PB_AXIS_DATASET]];
        if (*pair) {
            continue;
        }
        *pair = true;
        if (pairs++ % pb_comm_size(j->cli->comm) == pb_comm_rank(j->cli->comm)) {
            pb_cell cell = sweep_cell(&j->sweep, todo[i]);
            if (pb_cell_prepare(j->sweep.env, &cell, &observer) != PB_OK) {
                pb_log_debug("%s", pb_error_message());
                pb_error_clear();
            }
        }
    }
    pb_memory_free(seen);
}

static pb_status run_cell(void *context, const pb_grid_cell *cell, pb_grid_watch *watch,
                          pb_grid_outcome *outcome)
{
    job *j                    = context;
    pb_cell_observer observer = observe(watch);
    pb_cell work              = sweep_cell(&j->sweep, cell->number);
    pb_record record;
    pb_record_init(&record);
    pb_status status = pb_cell_run(j->sweep.env, &work, &observer, &record);
    if (status == PB_OK) {
        outcome->failed = record.status != PB_OK;
        snprintf(outcome->message, sizeof outcome->message, "%s",
                 record.message != NULL ? record.message : "");
        status = pb_shard_write(j->directory, &record);
    }
    pb_record_clear(&record);
    return status;
}

/* Every cell was run: one that the results lack is an error and no row that nobody misses. */
static pb_status check_complete(const job *j, const pb_results *results)
{
    int64_t places = results->models_count * results->datasets_count * results->methods_count *
                     results->seeds_count;
    int64_t missing = 0;
    for (int64_t i = 0; i < places; i++) {
        missing += results->state[i] == PB_CELL_MISSING;
    }
    if (missing > 0) {
        return PB_FAIL(PB_ERR_IO,
                       "%s lacks the results of %" PRId64 " of %" PRId64
                       " cells, although all were run: their records could not be kept, or files "
                       "in its folder shards were removed or replaced meanwhile; the same command "
                       "runs these cells again",
                       j->directory, missing, j->sweep.cells.count);
    }
    return PB_OK;
}

/* The tables and, as the last line, where the results are; with --json one object with both. */
static pb_status write_report(const job *j, const pb_results *results, const char *path,
                              pb_string *out)
{
    pb_report_options how = {
        .pscp = pb_pscp_defaults(), .width = pb_cli_width(j->cli), .path = path};
    if (pb_cli_flag(j->cli, "json")) {
        return pb_report_json(results, &how, out);
    }
    PB_TRY(pb_report_text(results, &how, out));
    return pb_string_printf(out, "%s\n", path);
}

static pb_status print_report(const job *j, const pb_results *results, const char *path, bool whole)
{
    pb_string text   = {0};
    pb_status status = write_report(j, results, path, &text);
    if (status == PB_OK) {
        pb_log_settle();
        status = pb_cli_print(j->cli, text.data);
    }
    if (status == PB_OK && whole) {
        status = check_complete(j, results);
    }
    pb_string_clear(&text);
    return status;
}

/* Whether the merged file is there, whole, and made from the shards that were there at the start.
 * One that cannot be opened is simply made again. */
static bool open_current(const job *j, const char *path, pb_results *results)
{
    if (!pb_path_exists(path)) {
        return false;
    }
    if (pb_results_open(&path, 1, results) != PB_OK) {
        pb_log_debug("%s", pb_error_message());
        pb_error_clear();
        return false;
    }
    if (strcmp(results->shards, j->shards) == 0) {
        return true;
    }
    pb_results_clear(results);
    return false;
}

static pb_status merge_and_print(const job *j, const pb_grid_summary *summary, const char *path)
{
    pb_results results = {0};
    bool kept          = summary->finished == 0 && open_current(j, path, &results);
    if (kept) {
        pb_log0_info("%s has all of these cells already and is kept", path);
    } else {
        PB_TRY(pb_report_merge(j->directory, path));
        PB_TRY(pb_results_open(&path, 1, &results));
    }
    pb_status status = print_report(j, &results, path, summary->left == 0);
    pb_results_clear(&results);
    return status;
}

/* The end of the time limit, whose reserve is for this. Asked to stop, it is a matter of seconds:
 * a few cells are merged in that time, and thousands can wait. */
static double finish_deadline(const job *j, bool stopped)
{
    double limit = pb_grid_get_run(j->sweep.grid)->time_limit_seconds;
    double end   = limit > 0 ? j->began + limit : 0;
    double grace = pb_clock_seconds() + STOP_GRACE;
    if (!stopped) {
        return end;
    }
    return pb_stop_signal() != NULL || end < grace ? grace : end;
}

/* Shards → one file and the tables, by rank 0. */
static pb_status finish(const job *j, const pb_grid_summary *summary, bool stopped)
{
    pb_string name = {0};
    char *path     = NULL;
    pb_status status;
    pb_log_settle(); /* nothing of any process may come between the lines of the tables */
    PB_TRY(pb_comm_barrier(j->cli->comm));
    if (pb_comm_rank(j->cli->comm) != 0) {
        return PB_OK;
    }
    PB_TRY_GOTO(status, pb_string_printf(&name, "%s.h5", pb_grid_get_sweep(j->sweep.grid)->name),
                done);
    PB_TRY_GOTO(status, pb_path_join(j->directory, name.data, &path), done);
    pb_stop_arm(finish_deadline(j, stopped));
    status = merge_and_print(j, summary, path);
    if (status == PB_STOPPED) {
        pb_error_prefix(status,
                        "merging %s: all finished cells are kept, the same command goes on from "
                        "here, and peftbench merge makes the file",
                        path);
        goto done;
    }
    PB_TRY_GOTO(status, status, done);
done:
    pb_string_clear(&name);
    pb_memory_free(path);
    return status;
}

/* Everything that can be known before the first cell: nobody waits for hours for a message that
 * was there from the start. What is cheap to find is found before weights are read. */
static pb_status check_sweep(const job *j, sweep *s)
{
    const pb_cli *cli = j->cli;
    bool keep_going   = pb_cli_flag(cli, "keep-going");
    bool first        = pb_comm_rank(cli->comm) == 0;
    sweep_check check = {0};
    pb_status status  = first ? sweep_check_open(s, &check) : PB_OK;
    if (status == PB_OK && first) {
        status = sweep_check_judge(s, &check, keep_going);
    }
    PB_TRY_GOTO(status, pb_comm_agree(cli->comm, status), done);
    PB_TRY_GOTO(status, sweep_load_models(cli, s), done);
    if (first) {
        status = sweep_check_models(s, &check);
    }
    if (status == PB_OK && first) {
        status = sweep_check_judge(s, &check, keep_going);
    }
    status = pb_comm_agree(cli->comm, status);
done:
    sweep_check_close(&check);
    return status;
}

/* Between two steps that all processes take together. */
static pb_status check_stop(const job *j)
{
    pb_status status = pb_comm_agree(j->cli->comm, pb_stop_check());
    if (status == PB_STOPPED) {
        return pb_error_prefix(status, "before the first cell; finished cells are all kept");
    }
    return status;
}

static pb_status open_job(job *j)
{
    pb_string directory = {0};
    PB_TRY(sweep_open(j->cli, true, &j->sweep));
    PB_TRY(check_stop(j));
    PB_TRY(check_sweep(j, &j->sweep));
    PB_TRY(check_stop(j));
    PB_TRY(sweep_hash(j->cli, &j->sweep));
    PB_TRY(check_stop(j));
    pb_status status = default_directory(j, &directory);
    j->directory     = directory.data;
    j->what_runs     = (what_runs){.directory = j->directory, .rank = pb_comm_rank(j->cli->comm)};
    if (status == PB_OK) {
        status = PB_ALLOC(j->done, j->sweep.cells.count);
    }
    if (status == PB_OK) {
        status = prepare_directory(j);
    }
    if (status == PB_OK) {
        status = open_cache(j);
    }
    return pb_comm_agree(j->cli->comm, status);
}

/* A launcher that is interrupted itself does not pass on the exit code of what it started. */
static void explain_exit_code(const pb_cli *cli)
{
    const char *signal = pb_stop_signal();
    bool interrupted =
        signal != NULL && (strcmp(signal, "SIGTERM") == 0 || strcmp(signal, "SIGINT") == 0);
    if (interrupted && strcmp(pb_comm_name(cli->comm), "mpi") == 0) {
        pb_log0_info("everything is kept; mpirun ends with exit code 1 after Ctrl-C and SIGTERM, "
                     "whatever the program ends with (here 3); where it leaves no time for the "
                     "tables, `peftbench merge` and `peftbench report` print them");
    }
}

static pb_status run_job(job *j, pb_cli *cli)
{
    pb_grid_summary summary = {0};
    PB_TRY(open_job(j));
    pb_log0_info("sweep %s: %" PRId64 " cell%s, %s protocol, %d process%s, results in %s",
                 pb_grid_get_sweep(j->sweep.grid)->name, j->sweep.cells.count,
                 j->sweep.cells.count == 1 ? "" : "s", protocol_name(j), pb_comm_size(cli->comm),
                 pb_comm_size(cli->comm) == 1 ? "" : "es", j->directory);
    pb_grid_job work = {.run = run_cell, .prepare = prepare_tokens, .context = j, .tell = tell};
    pb_status status =
        pb_grid_run(j->sweep.grid, cli->comm, &j->sweep.cells, j->done, j->began, &work, &summary);
    if (status != PB_OK && status != PB_STOPPED) {
        return PB_FRAME(status);
    }
    if (status == PB_STOPPED) {
        pb_log0_info("stopped with %" PRId64 " of %" PRId64
                     " cell%s left: the same command goes on",
                     summary.left, summary.cells, summary.cells == 1 ? "" : "s");
        explain_exit_code(cli);
        pb_error_clear();
        cli->exit_code = 3;
    } else if (summary.failed + j->failed_before > 0) {
        pb_log0_warn("%" PRId64 " of %" PRId64 " cell%s failed; --retry-failed runs them again",
                     summary.failed + j->failed_before, summary.cells,
                     summary.cells == 1 ? "" : "s");
        cli->exit_code = 4;
    }
    return pb_comm_agree(cli->comm, finish(j, &summary, status == PB_STOPPED));
}

static pb_status check_usage(const pb_cli *cli)
{
    if (pb_cli_argument_count(cli) != 1) {
        return PB_FAIL(PB_ERR_USAGE, "give one grid file; see peftbench run --help");
    }
    return PB_OK;
}

static pb_status run(pb_cli *cli)
{
    job j = {.cli = cli, .began = pb_clock_seconds()};
    if (pb_cli_flag(cli, "help-config")) {
        return help_config_print(cli);
    }
    PB_TRY(pb_comm_agree(cli->comm, check_usage(cli)));
    pb_stop_catch(); /* on every rank: one that a signal ends takes the others with it */
    pb_stop_arm(0);
    pb_status status = run_job(&j, cli);
    pb_plan_clear(&j.plan);
    pb_memory_free(j.done);
    pb_memory_free(j.numbers);
    pb_memory_free(j.directory);
    pb_file_lock_release(j.lock);
    sweep_close(&j.sweep);
    pb_stop_release();
    return status;
}

/* The seeds of a sweep are its axis. */
static const char *const without[] = {"seed", NULL};

const pb_command pb_command_run = {
    .name          = "run",
    .help          = "run the cells of a grid that have no result yet, and merge",
    .usage         = "GRID.cfg [-o DIR] [--set KEY=VALUE]… [--keep-going] [--retry-failed] "
                     "[--fresh] [--width N]",
    .details       = "Start it under mpirun or srun, or alone. Finished cells of the folder "
                     "are skipped; stopped or killed, the same command goes on. Mistakes that "
                     "`plan` shows stop it before the first cell, all listed at once, with "
                     "exit code 2; --keep-going lets the other cells run. Writes "
                     "DIR/<sweep>.h5 and prints the tables of what is done; the path is the "
                     "last line. Seeds are an axis: --set sweep.seeds=[1,2]. Exit code 3: "
                     "stopped with everything kept; 4: some cells failed. One run at a time "
                     "works in a folder; it holds DIR/run.lock. A damaged shard is renamed to "
                     "*.damaged, and its cell is run again; shards of another configuration "
                     "are kept and left out.\n",
    .options       = {options},
    .min_arguments = 0,
    .max_arguments = 1,
    .computes      = true,
    .without       = without,
    .run           = run,
};
