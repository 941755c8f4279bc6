// SPDX-License-Identifier: Apache-2.0
/* Working through the cells: every process takes the next one from the dealer until none is left.
 */
#include "internal.h"

#include "pb/clock.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

/* The part of one process. */
typedef struct worker {
    const pb_grid_cells *cells;
    const grid_gangs *gangs; /* of the cells that are not done */
    int64_t own, failed;     /* cells finished here, and how many of them failed */
    grid_dealer dealer;
    const pb_grid_job *job;
    pb_grid_watch watch;
    bool lost;         /* the device */
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

static const pb_grid_cell *cell_at(const worker *w, int64_t place)
{
    return &w->cells->items[w->gangs->todo[place]];
}

static double cost_of(const worker *w, int64_t gang)
{
    double cost = 0;
    for (int64_t i = w->gangs->first[gang]; i < w->gangs->first[gang + 1]; i++) {
        cost += cell_at(w, i)->cost;
    }
    return cost;
}

/* False when the gang, at the speed of earlier ones, would run into the deadline. The first one
 * always starts, so that every run of a sweep makes progress. */
static bool fits(const worker *w, int64_t gang)
{
    if (w->watch.deadline <= 0 || w->cost <= 0) {
        return true;
    }
    return pb_clock_seconds() + w->busy / w->cost * cost_of(w, gang) <= w->watch.deadline;
}

/* Counts and reports the results of a gang; after a failure, cells without one have failed. */
static pb_status report(worker *w, int64_t gang, double seconds, pb_status status,
                        pb_grid_outcome *outcomes)
{
    char message[sizeof outcomes->message] = "";
    bool over = status == PB_STOPPED || status == PB_ERR_COMM || status == PB_ERR_IO ||
                status == PB_ERR_DEVICE;
    if (status != PB_OK && !over) {
        strncpy(message, pb_error_message(), sizeof message - 1);
        pb_error_clear();
    }
    for (int64_t i = 0; i < grid_gang_size(w->gangs, gang); i++) {
        pb_grid_outcome *o = &outcomes[i];
        if (!o->kept && over) {
            continue;
        }
        if (!o->kept && status != PB_OK) {
            o->failed  = true;
            o->seconds = seconds;
            memcpy(o->message, message, sizeof message);
        }
        w->own += 1;
        w->failed += o->failed;
        w->cost += cell_at(w, w->gangs->first[gang] + i)->cost;
        PB_TRY(grid_dealer_finished(&w->dealer, w->gangs->first[gang] + i, o));
    }
    return over ? PB_FRAME(status) : PB_OK;
}

/* Runs one gang. A failure is counted, not returned; a returned status ends this process's part. */
static pb_status run_gang(worker *w, int64_t gang)
{
    int64_t count              = grid_gang_size(w->gangs, gang);
    double begin               = pb_clock_seconds();
    const pb_grid_cell **cells = NULL;
    pb_grid_outcome *outcomes  = NULL;
    pb_status status;
    PB_TRY_GOTO(status, PB_ALLOC(cells, count), done);
    PB_TRY_GOTO(status, PB_ALLOC(outcomes, count), done);
    for (int64_t i = 0; i < count; i++) {
        cells[i] = cell_at(w, w->gangs->first[gang] + i);
    }
    grid_watch_cell(&w->watch, cells[0]);
    status = w->job->run(w->job->context, cells, count, &w->watch, outcomes);
    grid_watch_cell(&w->watch, NULL);
    double seconds = pb_clock_seconds() - begin;
    w->busy += seconds;
    PB_TRY_GOTO(status, report(w, gang, seconds, status, outcomes), done);
done:
    pb_memory_free(cells);
    pb_memory_free(outcomes);
    return status;
}

/* A process that cannot help goes on without; the cell is another's. */
static pb_status help(worker *w, const grid_deal *with)
{
    const pb_grid_cell *cell = cell_at(w, w->gangs->first[with->gang]);
    pb_status status         = w->job->help(w->job->context, cell, with->leader, &w->watch);
    if (status == PB_OK || status == PB_ERR_COMM || status == PB_ERR_DEVICE) {
        return PB_FRAME(status);
    }
    pb_log_warn("cell %s/%s/%s/%" PRId64 ": this process cannot help: %s", cell->model,
                cell->dataset, cell->method, cell->seed, pb_error_message());
    pb_error_clear();
    w->dealer.helpless = true;
    return PB_OK;
}

static pb_status work(worker *w)
{
    while (!pb_grid_watch_stop(&w->watch)) {
        grid_deal next;
        PB_TRY(grid_dealer_take(&w->dealer, &next));
        if (next.gang < 0 && !w->dealer.stopped) {
            return PB_OK;
        }
        if (next.gang < 0) {
            break;
        }
        if (next.leader >= 0) {
            PB_TRY(help(w, &next));
            continue;
        }
        if (!fits(w, next.gang)) {
            grid_dealer_put_back(&w->dealer);
            return PB_FAIL(PB_STOPPED, "no cell is started that would outlast the time limit");
        }
        PB_TRY(run_gang(w, next.gang));
    }
    const char *reason = grid_watch_reason(&w->watch);
    return PB_FAIL(PB_STOPPED, "stopped on %s", reason != NULL ? reason : "a broken group");
}

/* Runs this process's cells. A stop or failure here is kept until all processes have ended; a
 * broken group ends everything at once. The loss of a device is a stop: a new process may go on. */
static pb_status work_and_leave(worker *w)
{
    pb_status status = work(w);
    if (status == PB_ERR_DEVICE) {
        pb_log_error("%s, which takes no more cells; others and later runs do", pb_error_message());
        w->lost = true;
        status  = PB_FAIL(PB_STOPPED, "stopped on the loss of a device");
    }
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
    if (w->gangs->cells > 0 && w->watch.deadline > 0 && now >= w->watch.deadline) {
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
    int64_t sums[3] = {w->own, w->failed, w->dealer.passed};
    PB_TRY(pb_comm_reduce_sum(comm, sums, 3));
    *summary = (pb_grid_summary){.cells    = w->cells->count,
                                 .skipped  = w->cells->count - w->gangs->cells,
                                 .finished = sums[0],
                                 .failed   = sums[1],
                                 .left     = w->gangs->cells - sums[0] - sums[2],
                                 .passed   = sums[2]};
    /* A process that stopped when nothing was left to do has missed nothing. */
    if (status == PB_STOPPED && summary->left == 0) {
        pb_error_clear();
        status = PB_OK;
    }
    int64_t stopped = status == PB_STOPPED;
    PB_TRY(pb_comm_reduce_max(comm, &stopped, 1));
    PB_TRY(pb_comm_agree(comm, status == PB_STOPPED ? PB_OK : status));
    if (stopped) {
        const char *reason = w->lost ? "the loss of a device" : grid_watch_reason(&w->watch);
        return PB_FAIL(PB_STOPPED,
                       "stopped on %s with %" PRId64 " of %" PRId64
                       " cells left; the same command continues from here",
                       reason != NULL ? reason : "request of another process", summary->left,
                       summary->cells);
    }
    return PB_OK;
}

/* What is to do, and in which gangs. */
static pb_status form_gangs(pb_comm *comm, const pb_grid_cells *cells, const bool *done,
                            const pb_grid_job *job, grid_gangs *out)
{
    int64_t *todo  = NULL;
    int64_t *leads = NULL;
    int64_t count  = 0;
    PB_TRY(agree_on_todo(comm, cells, done, &todo, &count));
    pb_status status = PB_ALLOC(leads, count + 1);
    for (int64_t i = 0; i < count && status == PB_OK; i++) {
        leads[i] = i;
    }
    if (status == PB_OK && job->gather != NULL) {
        job->gather(job->context, todo, count, leads);
    }
    if (status == PB_OK) {
        status = grid_gangs_open(todo, leads, count, out);
    }
    pb_memory_free(todo);
    pb_memory_free(leads);
    return pb_comm_agree(comm, status);
}

/* On rank 0: how many processes a gang can use. */
static void set_parts(worker *w)
{
    grid_help *help = &w->dealer.help;
    for (int64_t gang = 0; gang < help->gangs && w->job->help != NULL; gang++) {
        grid_help_run *run = &help->runs[gang];
        run->cost          = cost_of(w, gang);
        if (grid_gang_size(w->gangs, gang) == 1) {
            run->parts  = w->job->parts(w->job->context, cell_at(w, w->gangs->first[gang]));
            help->split = help->split || run->parts > 1;
        }
    }
}

pb_status pb_grid_run(const pb_grid *grid, pb_comm *comm, const pb_grid_cells *cells,
                      const bool *done, double began, const pb_grid_job *job,
                      pb_grid_summary *summary)
{
    worker w         = {.cells = cells, .job = job};
    grid_gangs gangs = {0};
    pb_status status = form_gangs(comm, cells, done, job, &gangs);
    PB_TRY_GOTO(status, status, close_gangs);
    w.gangs        = &gangs;
    w.watch.shows  = pb_comm_rank(comm) == 0;
    w.watch.dealer = &w.dealer;
    status         = grid_dealer_open(&w.dealer, comm, cells, &gangs, job);
    PB_TRY_GOTO(status, pb_comm_agree(comm, status), close_dealer);

    *summary = (pb_grid_summary){
        .cells = cells->count, .skipped = cells->count - gangs.cells, .left = gangs.cells};
    set_parts(&w);
    w.dealer.idle         = grid_watch_idle;
    w.dealer.idle_context = &w.watch;
    grid_watch_begin(&w.watch, &grid->run, began, job);
    status = pb_comm_agree(comm, check_time(&w, &grid->run, began));
    if (status == PB_OK) {
        if (job->prepare != NULL) {
            job->prepare(job->context, gangs.todo, gangs.cells, &w.watch);
        }
        status = grid_dealer_begin(&w.dealer);
        status = status == PB_OK ? work_and_leave(&w) : status;
        status = status != PB_ERR_COMM ? conclude(&w, comm, status, summary) : status;
    }
    grid_watch_end(&w.watch);
close_dealer:
    grid_dealer_close(&w.dealer);
close_gangs:
    grid_gangs_close(&gangs);
    return status;
}
