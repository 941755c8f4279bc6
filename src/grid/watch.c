// SPDX-License-Identifier: Apache-2.0
/* The watch over a run: requests to stop, the time limit, and the progress line. */
#include "internal.h"

#include "pb/clock.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/stop.h"
#include "pb/string.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Seconds between two redrawn lines, and between two reports to the job, growing to the last
 * value. */
#define SECONDS_DRAWN      0.2
#define SECONDS_TOLD_FIRST 1.0
#define SECONDS_TOLD       15.0

void grid_watch_begin(pb_grid_watch *watch, const pb_grid_run_options *run, double began,
                      const pb_grid_job *job)
{
    watch->begin        = pb_clock_seconds();
    watch->drawn        = watch->begin;
    watch->deadline     = 0;
    watch->terminal     = pb_log_on_terminal();
    watch->line_seconds = run->progress_seconds;
    watch->job          = job;
    if (run->time_limit_seconds > 0) {
        watch->deadline = began + run->time_limit_seconds - run->time_reserve_seconds;
    }
    pb_stop_catch();
}

void grid_watch_end(pb_grid_watch *watch)
{
    pb_stop_release();
    if (watch->shows) {
        pb_log_progress(NULL);
    }
}

const char *grid_watch_reason(const pb_grid_watch *watch)
{
    const char *signal = pb_stop_signal();
    bool over          = watch->deadline > 0 && pb_clock_seconds() >= watch->deadline;
    bool elsewhere     = watch->dealer->stopped;
    return signal != NULL ? signal
           : over         ? "the time limit"
           : elsewhere    ? "a signal to another process"
                          : NULL;
}

bool pb_grid_watch_stop(void *watch)
{
    pb_grid_watch *w = watch;
    return !grid_dealer_poll(w->dealer) || grid_watch_reason(w) != NULL;
}

int pb_grid_watch_joined(void *watch)
{
    return grid_dealer_joined(((pb_grid_watch *)watch)->dealer);
}

pb_status pb_grid_watch_ready(void *watch)
{
    return grid_dealer_ready(((pb_grid_watch *)watch)->dealer);
}

bool pb_grid_watch_over(void *watch)
{
    pb_grid_watch *w = watch;
    (void)grid_dealer_poll(w->dealer);
    grid_watch_idle(w);
    return w->dealer->broken || w->dealer->released == w->dealer->current.gang;
}

/* ", 3 h 20 min left", ", 4 min left", ", 12 s left"; nothing where it is unknown. */
static pb_status put_left(double seconds, pb_string *out)
{
    if (!isfinite(seconds)) {
        return PB_OK;
    }
    if (seconds >= 3600) {
        int64_t minutes = (int64_t)(seconds / 60);
        return pb_string_printf(out, ", %" PRId64 " h %" PRId64 " min left", minutes / 60,
                                minutes % 60);
    }
    return seconds >= 60 ? pb_string_printf(out, ", %.0f min left", seconds / 60)
                         : pb_string_printf(out, ", %.0f s left", fmax(seconds, 0.0));
}

/* Seconds left in the phase, at its speed so far. */
static double phase_left(const pb_grid_watch *w, const pb_cell_progress *p, double now)
{
    double elapsed = now - w->phase_begin;
    return p->step > 0 ? elapsed / (double)p->step * (double)(p->steps - p->step) : INFINITY;
}

static pb_status put_cell(const pb_grid_watch *w, const pb_grid_state *s, double now,
                          pb_string *out)
{
    const pb_cell_progress *p = s->progress;
    double phase              = phase_left(w, p, now);
    PB_TRY(pb_string_puts(out, p->phase));
    if (p->steps > 0) {
        PB_TRY(pb_string_printf(out, " %" PRId64 " of %" PRId64, p->step, p->steps));
    }
    if (isfinite(p->loss)) {
        PB_TRY(pb_string_printf(out, ", loss %.4g", p->loss));
    }
    if (isfinite(s->seconds_left) || !isfinite(phase)) {
        return put_left(s->seconds_left, out);
    }
    PB_TRY(put_left(phase, out));
    return pb_string_printf(out, " of %s", p->phase);
}

static pb_status put_total(const pb_grid_watch *w, pb_string *out)
{
    const grid_dealer *d = w->dealer;
    int64_t waiting      = d->gangs->cells - d->dealt - d->passed;
    int64_t running      = d->dealt - d->finished;
    double processes     = fmin((double)pb_comm_size(d->comm), (double)(waiting + running));
    PB_TRY(pb_string_printf(
        out, "%" PRId64 " of %" PRId64 " cells done, %" PRId64 " running, %" PRId64 " waiting",
        d->skipped + d->finished, d->cells->count, running, waiting));
    return put_left(grid_estimate_left(&d->estimate) / fmax(processes, 1.0), out);
}

static pb_status put_name(const pb_grid_state *s, pb_string *out)
{
    return s == NULL ? PB_OK
                     : pb_string_printf(out, "; %s/%s/%s/%" PRId64, s->cell->model,
                                        s->cell->dataset, s->cell->method, s->cell->seed);
}

/* A line for the cell here and one for the whole on a terminal, all in one line in a log. The name
 * is last: where a terminal is too narrow, its end is cut off rather than the numbers. */
static pb_status describe(const pb_grid_watch *w, const pb_grid_state *s, double now,
                          pb_string *out)
{
    PB_TRY(s != NULL ? put_cell(w, s, now, out) : pb_string_puts(out, "no cell here any more"));
    PB_TRY(w->terminal ? put_name(s, out) : PB_OK);
    PB_TRY(pb_string_puts(out, w->terminal ? "\n" : "; "));
    PB_TRY(put_total(w, out));
    return w->terminal ? PB_OK : put_name(s, out);
}

/* The lines on a terminal, or an occasional one in the log. */
static void show(pb_grid_watch *w, const pb_grid_state *s, double now)
{
    double pause   = w->terminal ? SECONDS_DRAWN : w->line_seconds;
    pb_string line = {0};
    if (!w->shows || pause <= 0 || now - w->drawn < pause) {
        return;
    }
    w->drawn = now;
    if (describe(w, s, now, &line) != PB_OK) {
        pb_error_clear();
    } else if (w->terminal) {
        pb_log_progress(line.data);
    } else {
        pb_log0_info("%s", line.data);
    }
    pb_string_clear(&line);
}

static void tell(pb_grid_watch *w, const pb_grid_state *s, double now)
{
    if (w->job->tell == NULL || (s == NULL && !w->tells) ||
        (s != NULL && w->tells && now - w->told < w->tell_pause)) {
        return;
    }
    w->tell_pause = w->tells ? fmin(2 * w->tell_pause, SECONDS_TOLD) : SECONDS_TOLD_FIRST;
    w->told       = now;
    w->tells      = s != NULL;
    w->job->tell(w->job->context, s);
}

/* Its memory does not count towards the cell's. */
static void share(pb_grid_watch *w, const pb_grid_state *s, double now)
{
    size_t peak = pb_memory_peak();
    show(w, s, now);
    tell(w, s, now);
    pb_memory_peak_restore(peak);
}

/* Seconds left in the cell: its last phase is assumed to take as long as in the previous cell;
 * INFINITY where unknown. */
static double cell_left(const pb_grid_watch *w, const pb_cell_progress *p, double now)
{
    double last = w->last_phase_seconds > 0 ? w->last_phase_seconds : INFINITY;
    if (!p->last) {
        return phase_left(w, p, now) + last;
    }
    return p->step > 0 ? phase_left(w, p, now) : last - (now - w->phase_begin);
}

void pb_grid_watch_progress(void *watch, const pb_cell_progress *progress)
{
    pb_grid_watch *w = watch;
    double now       = pb_clock_seconds();
    if (w->cell == NULL) {
        return; /* a report from before the first cell */
    }
    if (w->phase == NULL || strcmp(w->phase, progress->phase) != 0) {
        w->phase       = progress->phase;
        w->phase_begin = now;
        if (progress->last) {
            grid_dealer_alone(w->dealer);
        }
    }
    const pb_grid_state state = {.cell         = w->cell,
                                 .progress     = progress,
                                 .begun        = w->cell_begin,
                                 .seconds_left = cell_left(w, progress, now)};
    grid_dealer_expect_end(w->dealer, state.seconds_left);
    share(w, &state, now);
}

void grid_watch_cell(pb_grid_watch *watch, const pb_grid_cell *cell)
{
    double now = pb_clock_seconds();
    if (cell == NULL && watch->phase != NULL) {
        watch->last_phase_seconds = now - watch->phase_begin;
    }
    watch->cell       = cell;
    watch->phase      = NULL;
    watch->cell_begin = now;
}

void grid_watch_idle(void *watch)
{
    share(watch, NULL, pb_clock_seconds());
}
