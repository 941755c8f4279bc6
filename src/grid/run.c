// SPDX-License-Identifier: Apache-2.0
/* Working through the cells: every process takes the next one from the dealer until none is left.
 */
#include "internal.h"

#include "pb/clock.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

/* The part of one process. */
typedef struct worker {
    const pb_grid_cells *cells;
    const int64_t *todo; /* numbers of the cells that are not done, in order */
    int64_t count;
    int64_t own, failed; /* cells finished here, and how many of them failed */
    grid_dealer dealer;
    pb_grid_runner runner;
    void *context;
    pb_grid_watch watch;
    double busy, cost; /* seconds and predicted cost of cells finished here */
} worker;

/* The cells to do, as seen by rank 0: a shared file system may show the other ranks an older
 * state. */
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

/* False when the cell, at the speed of earlier ones, would run into the deadline. The first cell
 * always starts, so that every run of a sweep makes progress. */
static bool fits(const worker *w, const pb_grid_cell *cell)
{
    if (w->watch.deadline <= 0 || w->cost <= 0) {
        return true;
    }
    return pb_clock_seconds() + w->busy / w->cost * cell->cost <= w->watch.deadline;
}

/* Runs one cell. Its failure is counted, not returned; a returned status ends this process's
 * part. */
static pb_status run_cell(worker *w, int64_t place)
{
    const pb_grid_cell *cell = &w->cells->items[w->todo[place]];
    pb_grid_outcome outcome  = {0};
    double begin             = pb_clock_seconds();
    grid_watch_cell(&w->watch, cell);
    pb_status status = w->runner(w->context, cell, &w->watch, &outcome);
    grid_watch_cell(&w->watch, NULL);
    if (status == PB_STOPPED || status == PB_ERR_COMM || status == PB_ERR_IO) {
        return PB_FRAME(status);
    }
    if (status != PB_OK) {
        outcome.failed = true;
        strncpy(outcome.message, pb_error_message(), sizeof outcome.message - 1);
        pb_error_clear();
    }
    double seconds = pb_clock_seconds() - begin;
    w->own += 1;
    w->failed += outcome.failed;
    w->busy += seconds;
    w->cost += cell->cost;
    return grid_dealer_finished(&w->dealer, place, seconds, &outcome);
}

static pb_status work(worker *w)
{
    while (!pb_grid_watch_stop(&w->watch)) {
        int64_t place = 0;
        PB_TRY(grid_dealer_take(&w->dealer, &place));
        if (place < 0) {
            return PB_OK;
        }
        if (!fits(w, &w->cells->items[w->todo[place]])) {
            grid_dealer_put_back(&w->dealer, place);
            return PB_FAIL(PB_STOPPED, "no cell is started that would outlast the time limit");
        }
        PB_TRY(run_cell(w, place));
    }
    const char *reason = grid_watch_reason(&w->watch);
    return PB_FAIL(PB_STOPPED, "stopped on %s", reason != NULL ? reason : "a broken group");
}

/* Runs this process's cells. A stop or failure here is kept until all processes have ended; a
 * broken group ends everything at once. */
static pb_status work_and_leave(worker *w)
{
    pb_status status = work(w);
    if (status != PB_ERR_COMM) {
        grid_watch_idle(&w->watch);
        PB_TRY(grid_dealer_leave(&w->dealer));
    }
    return status;
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

/* Sums over the group, and the status of the run as a whole. */
static pb_status conclude(worker *w, pb_comm *comm, pb_status status, pb_grid_summary *summary)
{
    int64_t sums[2] = {w->own, w->failed};
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
        const char *reason = grid_watch_reason(&w->watch);
        return PB_FAIL(PB_STOPPED,
                       "stopped on %s with %" PRId64 " of %" PRId64
                       " cells left; the same command continues from here",
                       reason != NULL ? reason : "request of another process", summary->left,
                       summary->cells);
    }
    return PB_OK;
}

pb_status pb_grid_run(const pb_grid *grid, pb_comm *comm, const pb_grid_cells *cells,
                      const bool *done, double began, const pb_grid_job *job,
                      pb_grid_summary *summary)
{
    worker w         = {.cells = cells, .runner = job->run, .context = job->context};
    int64_t *todo    = NULL;
    pb_status status = PB_OK;
    PB_TRY(agree_on_todo(comm, cells, done, &todo, &w.count));
    w.todo         = todo;
    w.watch.shows  = pb_comm_rank(comm) == 0;
    w.watch.dealer = &w.dealer;
    status         = grid_dealer_open(&w.dealer, comm, cells, todo, w.count);
    PB_TRY_GOTO(status, pb_comm_agree(comm, status), close_dealer);

    *summary = (pb_grid_summary){
        .cells = cells->count, .skipped = cells->count - w.count, .left = w.count};
    w.dealer.idle         = grid_watch_idle;
    w.dealer.idle_context = &w.watch;
    grid_watch_begin(&w.watch, &grid->run, began, job);
    status = pb_comm_agree(comm, check_time(&w, &grid->run, began));
    if (status == PB_OK) {
        if (job->prepare != NULL) {
            job->prepare(job->context, todo, w.count, &w.watch);
        }
        status = work_and_leave(&w);
        status = status != PB_ERR_COMM ? conclude(&w, comm, status, summary) : status;
    }
    grid_watch_end(&w.watch);
close_dealer:
    grid_dealer_close(&w.dealer);
    pb_memory_free(todo);
    return status;
}
