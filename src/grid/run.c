// SPDX-License-Identifier: Apache-2.0
/* Working through the cells: every process takes the next number from a shared counter until none
 * is left. There is no master: the counter is all that the processes share. */
#include "internal.h"

#include "pb/clock.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

/* The part of one process. */
typedef struct worker {
    const pb_grid_cells *cells;
    const int64_t *todo; /* numbers of the cells that are not done, in order */
    int64_t count;
    pb_comm_counter *next;     /* into todo */
    pb_comm_counter *finished; /* how many cells the group has finished, for the log */
    pb_grid_runner runner;
    void *context;
    pb_grid_watch watch;
    double busy, cost; /* seconds and predicted cost of cells finished here */
} worker;

/* The cells to do, as rank 0 sees them: a shared file system may show the others an older state. */
static pb_status agree_on_todo(pb_comm *comm, const pb_grid_cells *cells, const bool *done,
                               int64_t **out, int64_t *count)
{
    bool *flags      = NULL;
    int64_t *todo    = NULL;
    int64_t left     = 0;
    pb_status status = PB_ALLOC(flags, cells->count);
    if (status == PB_OK) {
        status = PB_ALLOC(todo, cells->count);
    }
    PB_TRY_GOTO(status, pb_comm_agree(comm, status), fail);
    if (done != NULL) {
        memcpy(flags, done, (size_t)cells->count * sizeof *flags);
    }
    PB_TRY_GOTO(status, pb_comm_broadcast(comm, flags, (size_t)cells->count * sizeof *flags, 0),
                fail);
    for (int64_t i = 0; i < cells->count; i++) {
        if (!flags[i]) {
            todo[left++] = i;
        }
    }
    pb_memory_free(flags);
    *out   = todo;
    *count = left;
    return PB_OK;
fail:
    pb_memory_free(flags);
    pb_memory_free(todo);
    return status;
}

/* False when the cell would, at the speed of those before, run into the deadline. The first cell
 * always starts, so that every run of a sweep gets further. */
static bool fits(const worker *w, const pb_grid_cell *cell)
{
    if (w->watch.deadline <= 0 || w->cost <= 0) {
        return true;
    }
    return pb_clock_seconds() + w->busy / w->cost * cell->cost <= w->watch.deadline;
}

static pb_status note_finished(worker *w, const pb_grid_cell *cell, double seconds,
                               const pb_grid_outcome *outcome)
{
    int64_t before = 0;
    PB_TRY(pb_comm_counter_next(w->finished, &before));
    w->watch.finished = before + 1;
    w->watch.failed += outcome->failed;
    w->busy += seconds;
    w->cost += cell->cost;
    int64_t done = w->watch.skipped + w->watch.finished;
    if (outcome->failed) {
        pb_log_warn("cell %" PRId64 " of %" PRId64 " %s/%s/%s/%" PRId64 " failed, %.1f s: %s", done,
                    w->watch.cells, cell->model, cell->dataset, cell->method, cell->seed, seconds,
                    outcome->message);
    } else {
        pb_log_info("cell %" PRId64 " of %" PRId64 " %s/%s/%s/%" PRId64 " done, %.1f s", done,
                    w->watch.cells, cell->model, cell->dataset, cell->method, cell->seed, seconds);
    }
    return PB_OK;
}

/* Runs one cell. Its failure is noted and forgotten; what is returned ends this process's part. */
static pb_status run_cell(worker *w, const pb_grid_cell *cell, int64_t *own)
{
    pb_grid_outcome outcome = {0};
    double begin            = pb_clock_seconds();
    w->watch.cell           = cell;
    pb_grid_watch_draw(&w->watch, "starts", 0);
    pb_status status = w->runner(w->context, cell, &w->watch, &outcome);
    w->watch.cell    = NULL;
    if (status == PB_STOPPED || status == PB_ERR_COMM || status == PB_ERR_IO) {
        return pb_error_frame(status, __FILE__, __LINE__, __func__);
    }
    if (status != PB_OK) {
        outcome.failed = true;
        strncpy(outcome.message, pb_error_message(), sizeof outcome.message - 1);
        pb_error_clear();
    }
    *own += 1;
    return note_finished(w, cell, pb_clock_seconds() - begin, &outcome);
}

static pb_status work(worker *w, int64_t *own)
{
    while (!pb_grid_watch_stop(&w->watch)) {
        int64_t n = 0;
        PB_TRY(pb_comm_counter_next(w->next, &n));
        w->watch.handed_out = n + 1 < w->count ? n + 1 : w->count;
        if (n >= w->count) {
            return PB_OK;
        }
        const pb_grid_cell *cell = &w->cells->items[w->todo[n]];
        if (!fits(w, cell)) {
            return PB_FAIL(PB_STOPPED, "no cell is started that would outlast the time limit");
        }
        PB_TRY(run_cell(w, cell, own));
    }
    return PB_FAIL(PB_STOPPED, "stopped on %s", pb_grid_watch_reason(&w->watch));
}

/* A stop before the first cell would be repeated by every further run. */
static pb_status check_time(const worker *w, const pb_grid_run_options *run, double began)
{
    double now = pb_clock_seconds();
    if (w->count > 0 && w->watch.deadline > 0 && now >= w->watch.deadline) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "run.time_limit_seconds = %g: the time up to the reserve of %g s was over "
                       "before the first cell, %.1f s after the start; give a longer limit",
                       run->time_limit_seconds, run->time_reserve_seconds, now - began);
    }
    return PB_OK;
}

/* Sums over the group, and what the run as a whole has come to. */
static pb_status conclude(worker *w, pb_comm *comm, pb_status status, int64_t own,
                          pb_grid_summary *summary)
{
    int64_t sums[2] = {own, w->watch.failed};
    PB_TRY(pb_comm_reduce_sum(comm, sums, 2));
    *summary = (pb_grid_summary){.cells    = w->cells->count,
                                 .skipped  = w->cells->count - w->count,
                                 .finished = sums[0],
                                 .failed   = sums[1],
                                 .left     = w->count - sums[0]};
    /* A process that stopped when nothing was left to do has missed nothing. */
    if (status == PB_STOPPED && summary->left == 0) {
        pb_error_clear();
        status = PB_OK;
    }
    int64_t stopped = status == PB_STOPPED;
    PB_TRY(pb_comm_reduce_max(comm, &stopped, 1));
    PB_TRY(pb_comm_agree(comm, status == PB_STOPPED ? PB_OK : status));
    if (stopped) {
        const char *reason = pb_grid_watch_reason(&w->watch);
        return PB_FAIL(PB_STOPPED,
                       "stopped on %s with %" PRId64 " of %" PRId64
                       " cells left; the same command goes on from here",
                       reason != NULL ? reason : "request of another process", summary->left,
                       summary->cells);
    }
    return PB_OK;
}

pb_status pb_grid_run(const pb_grid *grid, pb_comm *comm, const pb_grid_cells *cells,
                      const bool *done, double began, const pb_grid_work *job,
                      pb_grid_summary *summary)
{
    worker w         = {.cells = cells, .runner = job->run, .context = job->context};
    int64_t *todo    = NULL;
    int64_t own      = 0;
    pb_status status = PB_OK;
    PB_TRY(agree_on_todo(comm, cells, done, &todo, &w.count));
    w.todo          = todo;
    w.watch.shows   = pb_comm_rank(comm) == 0;
    w.watch.cells   = cells->count;
    w.watch.skipped = cells->count - w.count;
    PB_TRY_GOTO(status, pb_comm_counter_create(comm, &w.next), free_todo);
    PB_TRY_GOTO(status, pb_comm_counter_create(comm, &w.finished), free_counters);

    *summary =
        (pb_grid_summary){.cells = cells->count, .skipped = w.watch.skipped, .left = w.count};
    pb_grid_watch_begin(&w.watch, &grid->run, began);
    status = pb_comm_agree(comm, check_time(&w, &grid->run, began));
    if (status == PB_OK) {
        if (job->prepare != NULL) {
            job->prepare(job->context, todo, w.count, &w.watch);
        }
        status = work(&w, &own);
        status = status != PB_ERR_COMM ? conclude(&w, comm, status, own, summary) : status;
    }
    pb_grid_watch_end(&w.watch);
free_counters:
    /* Destroying is collective: in a broken group it would wait for processes that wait elsewhere.
     * The caller aborts the group, and the counters end with it. */
    if (status != PB_ERR_COMM) {
        pb_comm_counter_destroy(w.finished);
        pb_comm_counter_destroy(w.next);
    }
free_todo:
    pb_memory_free(todo);
    return status;
}
