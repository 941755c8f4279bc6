// SPDX-License-Identifier: Apache-2.0
/* The steps of a run: check, find the finished cells, make tokens, run the other cells and commit
 * each. */
#include "claims.h"
#include "events.h"
#include "internal.h"
#include "running.h"

#include "pb/log.h"
#include "pb/memory.h"
#include "pb/stop.h"
#include "pb/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long a job that was stopped waits for the lock. */
#define STOPPED_SECONDS 2.0

typedef struct job {
    pb_sweep *sweep;
    folder folder;
    running_teller teller;
    events events;
    attempts attempts;
} job;

/* A folder that cannot be created is reported once; every cell then makes its tokens. */
static pb_status use_cache(const pb_sweep *s, const char *path)
{
    if (pb_path_make_directories(path) != PB_OK) {
        pb_log_warn("tokens are not kept: %s", pb_error_message());
        pb_error_clear();
        return PB_OK;
    }
    return pb_cell_env_set_cache(s->env, path);
}

/* All processes that see the folder share its tokens. */
static pb_status open_cache(const pb_sweep *s, const folder *f)
{
    const char *set   = pb_grid_get_run(s->grid)->cache;
    const char *given = getenv("PB_CACHE");
    char *path        = NULL;

    if (s->options.no_cache) {
        return PB_OK;
    }
    if (*set != '\0' || (given != NULL && *given != '\0')) {
        return use_cache(s, *set != '\0' ? set : given);
    }
    PB_TRY(pb_path_join(f->path, "tokens", &path));
    pb_status status = use_cache(s, path);
    pb_memory_free(path);
    return status;
}

static pb_status open_adapters(const pb_sweep *s, const folder *f)
{
    char *path = NULL;
    if (pb_grid_get_run(s->grid)->save_adapters == 0) {
        return PB_OK;
    }
    PB_TRY(pb_path_join(f->path, "adapters", &path));
    pb_status status = pb_cell_env_set_adapters(s->env, path, NULL);
    pb_memory_free(path);
    return status;
}

static pb_cell_observer observe(pb_grid_watch *watch)
{
    return (pb_cell_observer){
        .context = watch, .stop = pb_grid_watch_stop, .progress = pb_grid_watch_progress};
}

/* The pairs of model and data set with cells to run are dealt out in turn: every process makes the
 * tokens of its pairs before its first cell, so that tokens are made in parallel even when all
 * processes begin with the same data set. A failure here is reported by the cell, which fails
 * too. */
static void prepare_tokens(void *context, const int64_t *todo, int64_t count, pb_grid_watch *watch)
{
    const pb_sweep *s         = ((const job *)context)->sweep;
    int64_t datasets          = pb_grid_axis_count(s->grid, PB_AXIS_DATASET);
    pb_cell_observer observer = observe(watch);
    int64_t pairs             = 0;
    bool *seen                = NULL;

    if (PB_ALLOC(seen, datasets * pb_grid_axis_count(s->grid, PB_AXIS_MODEL)) != PB_OK) {
        pb_error_clear();
        return;
    }
    for (int64_t i = 0; i < count && !pb_grid_watch_stop(watch); i++) {
        const pb_grid_cell *c = &s->cells.items[todo[i]];
        bool *pair = &seen[c->index[PB_AXIS_MODEL] * datasets + c->index[PB_AXIS_DATASET]];
        if (*pair) {
            continue;
        }
        *pair = true;
        if (pairs++ % pb_comm_size(s->comm) == pb_comm_rank(s->comm)) {
            if (pb_cell_prepare(s->env, c->cell, &observer) != PB_OK) {
                pb_log_debug("%s", pb_error_message());
                pb_error_clear();
            }
        }
    }
    pb_memory_free(seen);
}

/* The cells of a gang, mostly one, and their results as they come. */
typedef struct gang_run {
    job *job;
    pb_grid_watch *watch;
    const pb_grid_cell *const *at; /* [count] */
    int64_t count;
    pb_grid_outcome *outcomes;
} gang_run;

static bool on_stop(void *context)
{
    const gang_run *r = context;
    attempts_tick(&r->job->attempts);
    return pb_grid_watch_stop(r->watch);
}

static void on_progress(void *context, const pb_cell_progress *progress)
{
    pb_grid_watch_progress(((gang_run *)context)->watch, progress);
}

static const pb_grid_cell *find_cell(const gang_run *r, const pb_cell *cell)
{
    int64_t i = 0;

    while (i < r->count - 1 && r->at[i]->cell != cell) {
        i++;
    }
    return r->at[i];
}

static pb_status on_step(void *context, const pb_cell *cell, const pb_train_step *step)
{
    gang_run *r = context;
    events_step(&r->job->events, find_cell(r, cell), step);
    return PB_OK;
}

static pb_status on_validation(void *context, const pb_cell *cell, int64_t step, double loss)
{
    gang_run *r = context;
    events_validation(&r->job->events, find_cell(r, cell), step, loss);
    return PB_OK;
}

static int on_joined(void *context)
{
    return pb_grid_watch_joined(((gang_run *)context)->watch);
}

static pb_status keep(void *context, int64_t index, pb_record *record)
{
    gang_run *r              = context;
    pb_grid_outcome *outcome = &r->outcomes[index];
    PB_TRY(pb_shard_writer_put(r->job->folder.writer, record));
    attempts_over(&r->job->attempts, index);
    outcome->kept    = true;
    outcome->failed  = record->status != PB_OK;
    outcome->seconds = record->seconds_total;
    snprintf(outcome->message, sizeof outcome->message, "%s",
             record->message != NULL ? record->message : "");
    events_record(&r->job->events, r->at[index], record);
    return PB_OK;
}

static pb_status run_cells(void *context, const pb_grid_cell *const *at, int64_t count,
                           pb_grid_watch *watch, pb_grid_outcome *outcomes)
{
    job *j       = context;
    gang_run run = {.job = j, .watch = watch, .at = at, .count = count, .outcomes = outcomes};
    const pb_cell_observer observer = {.context    = &run,
                                       .stop       = on_stop,
                                       .progress   = on_progress,
                                       .step       = on_step,
                                       .validation = on_validation,
                                       .joined     = on_joined};
    const pb_cell **cells           = NULL;
    PB_TRY(PB_ALLOC(cells, count));
    for (int64_t i = 0; i < count; i++) {
        cells[i] = at[i]->cell;
        events_start(&j->events, at[i]);
    }
    attempts_begin(&j->attempts, j->folder.path, cells, count);
    pb_status status = pb_cell_run(j->sweep->env, cells, count, &observer, keep, &run);
    attempts_end(&j->attempts);
    for (int64_t i = 0; i < count; i++) {
        if (j->folder.alone[at[i]->number]) {
            attempts_forget(j->folder.path, cells[i]);
        }
    }
    for (int64_t i = 0; i < count && status != PB_OK; i++) {
        if (!outcomes[i].kept) {
            events_lost(&j->events, at[i], status);
        }
    }
    pb_memory_free(cells);
    return status;
}

static int64_t parts(void *context, const pb_grid_cell *cell)
{
    (void)context;
    return pb_cell_parts(cell->cell);
}

static pb_status help(void *context, const pb_grid_cell *cell, int leader, pb_grid_watch *watch)
{
    const pb_cell_call call = {.leader  = leader,
                               .context = watch,
                               .ready   = pb_grid_watch_ready,
                               .over    = pb_grid_watch_over,
                               .stop    = pb_grid_watch_stop};
    return pb_cell_help(((job *)context)->sweep->env, cell->cell, &call);
}

static void gather(void *context, const int64_t *todo, int64_t count, int64_t *leads)
{
    const job *j = context;
    gangs_form(j->sweep, todo, count, pb_comm_size(j->sweep->comm), j->folder.alone, leads);
}

static void tell(void *context, const pb_grid_state *state)
{
    running_tell(&((job *)context)->teller, state);
}

static pb_grid_turn take(void *context, const int64_t *numbers, int64_t count)
{
    return claims_take(((job *)context)->folder.claims, numbers, count);
}

static void over(void *context, int64_t number)
{
    claims_over(((job *)context)->folder.claims, number);
}

/* The order of work by what the first process foresees, which knows the rows. Collective. */
static pb_status order_cells(pb_sweep *s, const pb_sweep_forecast *f)
{
    double *costs    = NULL;
    size_t bytes     = (size_t)s->cells.count * sizeof *costs;
    pb_status status = pb_comm_agree(s->comm, PB_ALLOC(costs, s->cells.count));
    for (int64_t i = 0; i < f->count && status == PB_OK; i++) {
        costs[i] = forecast_cost(&f->cells[i].prediction);
    }
    PB_TRY_GOTO(status, status, done);
    PB_TRY_GOTO(status, pb_comm_broadcast(s->comm, costs, bytes, 0), done);
    for (int64_t i = 0; i < s->cells.count; i++) {
        s->cells.items[i].cost = costs[i];
    }
    pb_grid_order(&s->cells);
done:
    pb_memory_free(costs);
    return status;
}

/* All checks that are possible before the first cell, so that errors do not appear only after
 * hours. Cheap checks come before weights are read. */
static pb_status check_all(pb_sweep *s)
{
    bool first          = pb_comm_rank(s->comm) == 0;
    pb_sweep_forecast f = {0};
    pb_status status    = first ? check_cells(s, &f) : PB_OK;
    if (status == PB_OK && first) {
        status = check_judge(s, &f, 0);
    }
    PB_TRY_GOTO(status, pb_comm_agree(s->comm, status), done);
    PB_TRY_GOTO(status, sweep_load_models(s), done);
    int64_t known = f.mistakes.count;
    if (first) {
        status = check_models(s, &f);
    }
    if (status == PB_OK && first) {
        status = check_judge(s, &f, known);
    }
    PB_TRY_GOTO(status, pb_comm_agree(s->comm, status), done);
    status = order_cells(s, &f);
done:
    pb_sweep_forecast_clear(&f);
    return status;
}

/* Called between two collective steps. */
static pb_status check_stop(const pb_sweep *s)
{
    pb_status status = pb_comm_agree(s->comm, pb_stop_check());
    if (status == PB_STOPPED) {
        return pb_error_prefix(status, "before the first cell; finished cells are all kept");
    }
    return status;
}

/* Only rank 0 knows which cells are done. */
static pb_status begin_folder(job *j)
{
    const pb_sweep *s              = j->sweep;
    folder *f                      = &j->folder;
    const pb_grid_run_options *run = pb_grid_get_run(s->grid);
    double end                     = run->time_limit_seconds - run->time_reserve_seconds;
    PB_TRY(open_adapters(s, f));
    PB_TRY(pb_cell_env_set_checkpoints(s->env, f->path, run->checkpoint_seconds));
    j->teller =
        (running_teller){.directory = f->path, .job = f->job, .rank = pb_comm_rank(s->comm)};
    if (pb_comm_rank(s->comm) == 0) {
        running_begin(&j->teller, f->shared);
        pb_stop_arm(run->time_limit_seconds > 0 ? s->began + end : 0);
        PB_TRY(done_find(s, f));
        claims_begin(f->claims);
        folder_unlock(f);
    }
    PB_TRY(events_open(s->options.events, s->options.mllog, f->job, pb_comm_rank(s->comm),
                       &j->events));
    events_run(&j->events, pb_sweep_name(s), s->cells.count);
    return open_cache(s, f);
}

static pb_status share_alone(const job *j)
{
    const pb_sweep *s = j->sweep;
    return pb_comm_broadcast(s->comm, j->folder.alone,
                             (size_t)s->cells.count * sizeof *j->folder.alone, 0);
}

/* Beyond some number of cells a file for each is too many. */
static pb_status open_writer(job *j)
{
    const pb_sweep *s = j->sweep;
    bool packed       = s->cells.count > pb_grid_get_run(s->grid)->pack_cells;
    return pb_shard_writer_open(j->folder.path, packed, j->folder.round, pb_comm_rank(s->comm),
                                &j->folder.writer);
}

static pb_status close_writer(folder *f)
{
    pb_status status = pb_shard_writer_close(f->writer);
    f->writer        = NULL;
    return status;
}

static pb_status prepare(job *j)
{
    pb_sweep *s = j->sweep;
    PB_TRY(check_stop(s));
    PB_TRY(check_all(s));
    PB_TRY(check_stop(s));
    PB_TRY(products_settle(s));
    PB_TRY(sweep_hash(s));
    PB_TRY(check_stop(s));
    PB_TRY(pb_comm_agree(s->comm, folder_open(s, &j->folder)));
    PB_TRY(pb_comm_broadcast(s->comm, j->folder.job, sizeof j->folder.job, 0));
    PB_TRY(pb_comm_agree(s->comm, begin_folder(j)));
    PB_TRY(pb_comm_broadcast(s->comm, &j->folder.round, sizeof j->folder.round, 0));
    return share_alone(j);
}

/* ---------------------------------------------------------------- beside other jobs */

/* Which cells other jobs run, in the log. */
static pb_status tell_of_others(const job *j, int64_t elsewhere)
{
    enum { NAMED = 4 };
    pb_string text = {0};
    char **names   = NULL;
    size_t count   = 0;
    pb_status status;
    char cells[PB_TABLE_NUMBER];
    PB_TRY_GOTO(status, jobs_others(j->folder.jobs, &names, &count), out);
    for (size_t i = 0; i < count && i < NAMED; i++) {
        PB_TRY_GOTO(status, pb_string_puts(&text, i > 0 ? ", " : ""), out);
        PB_TRY_GOTO(status, jobs_describe(j->folder.jobs, names[i], &text), out);
    }
    pb_log0_info("left to other jobs: %s, run by %s%s; the last job to end merges the results",
                 pb_table_count(cells, elsewhere, "cell"), text.data != NULL ? text.data : "others",
                 count > NAMED ? " and more" : "");
out:
    pb_memory_free_texts(names, count);
    pb_string_clear(&text);
    return status;
}

/* On rank 0, after its cells. *again: more have become free. Otherwise this job has the lock. */
static pb_status settle(job *j, bool *again, int64_t *elsewhere)
{
    folder *f      = &j->folder;
    size_t count   = 0;
    double seconds = pb_grid_get_run(j->sweep->grid)->claim_seconds;
    PB_TRY(claims_check(f->claims));
    PB_TRY(claims_settle(f->claims, again, elsewhere));
    if (*again) {
        return PB_OK;
    }
    PB_TRY(folder_lock(j->sweep, f, seconds));
    PB_TRY(claims_look(f->claims, again, elsewhere));
    PB_TRY(folder_count_others(f, &count));
    *again = *again || (*elsewhere > 0 && count == 0);
    if (*again) {
        folder_unlock(f);
    }
    f->last = count == 0 || *elsewhere == 0;
    return PB_OK;
}

/* A job that was asked to stop has little time to wait for others. */
static pb_status settle_stopped(job *j)
{
    folder *f    = &j->folder;
    size_t count = 0;
    claims_release(f->claims);
    pb_stop_arm(0);
    pb_status status = folder_lock(j->sweep, f, STOPPED_SECONDS);
    if (status == PB_ERR_IO || status == PB_STOPPED) { /* another job has it, and merges later */
        pb_error_clear();
        return PB_OK;
    }
    PB_TRY(status);
    PB_TRY(folder_count_others(f, &count));
    f->last = count == 0;
    return PB_OK;
}

/* Cells that other jobs had claimed may be free by the end of the others. */
static pb_status run_rounds(job *j, const pb_grid_job *grid_job, pb_grid_summary *summary,
                            bool *stopped)
{
    pb_sweep *s     = j->sweep;
    bool first      = pb_comm_rank(s->comm) == 0;
    int64_t more[3] = {true};
    while (more[0]) {
        pb_grid_summary round = {0};
        bool again            = false;
        int64_t elsewhere     = 0;
        PB_TRY(pb_comm_agree(s->comm, open_writer(j)));
        pb_status status =
            pb_grid_run(s->grid, s->comm, &s->cells, j->folder.done, s->began, grid_job, &round);
        attempts_close(&j->attempts);
        *stopped = status == PB_STOPPED;
        PB_TRY(*stopped ? PB_OK : status);
        pb_error_clear();
        PB_TRY(pb_comm_agree(s->comm, close_writer(&j->folder)));
        if (round.passed > 0) { /* a merged file may lack what other jobs did */
            j->folder.shards[0] = '\0';
        }
        if (first) {
            status = *stopped ? settle_stopped(j) : settle(j, &again, &elsewhere);
        }
        status         = pb_comm_agree(s->comm, first ? status : PB_OK);
        summary->cells = round.cells;
        summary->finished += round.finished;
        summary->failed += round.failed;
        summary->left = round.left + elsewhere;
        if (status == PB_STOPPED) { /* while it waited for other jobs */
            pb_error_clear();
            *stopped      = true;
            summary->left = round.passed;
            status        = pb_comm_agree(s->comm, first ? settle_stopped(j) : PB_OK);
        }
        PB_TRY(status);
        more[0] = again;
        more[1] = summary->left;
        more[2] = j->folder.last;
        PB_TRY(pb_comm_broadcast(s->comm, more, sizeof more, 0));
        summary->left  = more[1];
        j->folder.last = more[2];
        PB_TRY(more[0] ? share_alone(j) : PB_OK);
    }
    if (first && !j->folder.last) {
        PB_TRY(tell_of_others(j, summary->left));
    }
    if (first && j->folder.last && summary->left == 0) {
        attempts_clear(&j->folder);
    }
    return PB_OK;
}

/* A launcher that is itself interrupted does not pass on the program's exit code. */
static void explain_exit_code(const pb_sweep *s)
{
    const char *signal = pb_stop_signal();
    bool interrupted =
        signal != NULL && (strcmp(signal, "SIGTERM") == 0 || strcmp(signal, "SIGINT") == 0);
    if (interrupted && strcmp(pb_comm_name(s->comm), "mpi") == 0) {
        pb_log0_info("everything is kept; after Ctrl-C and SIGTERM mpirun exits with code 1, "
                     "whatever the program's exit code (here 3); if it leaves no time for the "
                     "tables, `peftbench merge` and `peftbench report` print them");
    }
}

static void conclude(const job *j, const pb_grid_summary *summary, pb_sweep_outcome *outcome)
{
    const char *plural = summary->cells == 1 ? "" : "s";
    outcome->failed    = summary->failed + j->folder.failed;
    if (outcome->stopped) {
        pb_log0_info("stopped with %" PRId64 " of %" PRId64
                     " cell%s left: the same command continues",
                     summary->left, summary->cells, plural);
        explain_exit_code(j->sweep);
    } else if (outcome->failed > 0) {
        pb_log0_warn("%" PRId64 " of %" PRId64 " cell%s failed; --retry-failed runs them again",
                     outcome->failed, summary->cells, plural);
    }
}

static pb_status run_job(job *j, pb_sweep_show show, void *context, pb_sweep_outcome *outcome)
{
    pb_sweep *s             = j->sweep;
    pb_grid_summary summary = {0};
    pb_grid_job grid_job    = {
           .run     = run_cells,
           .gather  = gather,
           .prepare = prepare_tokens,
           .context = j,
           .tell    = tell,
           .parts   = parts,
           .help    = help,
           .take    = take,
           .over    = over,
    };

    PB_TRY(prepare(j));
    pb_log0_info("sweep %s: %" PRId64 " cell%s, %s protocol, %d process%s, results in %s",
                 pb_sweep_name(s), s->cells.count, s->cells.count == 1 ? "" : "s",
                 pb_protocol_names[pb_grid_get_sweep(s->grid)->protocol], pb_comm_size(s->comm),
                 pb_comm_size(s->comm) == 1 ? "" : "es", j->folder.path);
    PB_TRY(run_rounds(j, &grid_job, &summary, &outcome->stopped));
    conclude(j, &summary, outcome);
    if (!j->folder.last) {
        return PB_OK;
    }
    return pb_comm_agree(s->comm,
                         merge_finish(s, &j->folder, &summary, outcome->stopped, show, context));
}

pb_status pb_sweep_run(pb_sweep *s, pb_sweep_show show, void *context, pb_sweep_outcome *outcome)
{
    job j            = {.sweep = s, .events = {.files = {-1, -1}}};
    *outcome         = (pb_sweep_outcome){0};
    pb_status status = run_job(&j, show, context, outcome);
    attempts_close(&j.attempts);
    events_close(&j.events);
    folder_close(&j.folder);
    return status;
}
