// SPDX-License-Identifier: Apache-2.0
/* The watch over a run: requests to stop, the time limit, and the progress line. */
#include "internal.h"

#include "pb/clock.h"
#include "pb/log.h"
#include "pb/stop.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void pb_grid_watch_begin(pb_grid_watch *watch, const pb_grid_run_options *run, double began)
{
    watch->begin    = pb_clock_seconds();
    watch->deadline = 0;
    if (run->time_limit_seconds > 0) {
        watch->deadline = began + run->time_limit_seconds - run->time_reserve_seconds;
    }
    pb_stop_catch();
}

void pb_grid_watch_end(pb_grid_watch *watch)
{
    pb_stop_release();
    if (watch->shows) {
        pb_log_progress(NULL);
    }
}

const char *pb_grid_watch_reason(const pb_grid_watch *watch)
{
    const char *signal = pb_stop_signal();
    bool over          = watch->deadline > 0 && pb_clock_seconds() >= watch->deadline;
    return signal != NULL ? signal : over ? "the time limit" : NULL;
}

bool pb_grid_watch_stop(void *watch)
{
    pb_grid_watch *w = watch;
    return !pb_grid_dealer_poll(w->dealer) || pb_grid_watch_reason(w) != NULL;
}

/* "3 h 20 min", "4 min", "12 s". */
static void write_duration(double seconds, char *text, size_t size)
{
    if (seconds >= 3600) {
        int64_t minutes = (int64_t)(seconds / 60);
        snprintf(text, size, "%" PRId64 " h %" PRId64 " min", minutes / 60, minutes % 60);
    } else if (seconds >= 60) {
        snprintf(text, size, "%.0f min", seconds / 60);
    } else {
        snprintf(text, size, "%.0f s", seconds);
    }
}

static void draw(pb_grid_watch *watch, const pb_cell_progress *p)
{
    const grid_dealer *d = watch->dealer;
    char line[512], duration[64], now[256] = "";
    if (!watch->shows) {
        return;
    }
    watch->drawn    = pb_clock_seconds();
    double elapsed  = watch->drawn - watch->begin;
    int64_t waiting = d->count - d->dealt;
    int64_t running = d->dealt - d->finished;
    double rate     = elapsed > 0 ? (double)d->finished / elapsed : 0;
    if (rate > 0) {
        write_duration((double)(waiting + running) / rate, duration, sizeof duration);
    } else {
        snprintf(duration, sizeof duration, "unknown time");
    }
    if (watch->cell != NULL) {
        double done = p->steps > 0 ? (double)p->step / (double)p->steps : 0;
        snprintf(now, sizeof now, "; %s/%s/%s/%" PRId64 " %s %.0f%%", watch->cell->model,
                 watch->cell->dataset, watch->cell->method, watch->cell->seed, p->phase,
                 100 * done);
    }
    snprintf(line, sizeof line,
             "%" PRId64 " of %" PRId64 " cells done, %" PRId64 " running, %" PRId64
             " left, %.3g cells/min, %s left%s",
             d->skipped + d->finished, d->cells->count, running, waiting, 60 * rate, duration, now);
    pb_log_progress(line);
}

/* Of the cell: its phase goes on as it went so far, and its last phase takes as long as in the cell
 * before; INFINITY where that cannot be told. */
static double seconds_left(const pb_grid_watch *w, const pb_cell_progress *p, double now)
{
    double elapsed = now - w->phase_begin;
    double behind  = w->last_phase_seconds > 0 ? w->last_phase_seconds : INFINITY;
    if (p->step <= 0) {
        return p->last ? behind - elapsed : INFINITY;
    }
    return elapsed / (double)p->step * (double)(p->steps - p->step) + (p->last ? 0.0 : behind);
}

void pb_grid_watch_progress(void *watch, const pb_cell_progress *progress)
{
    pb_grid_watch *w = watch;
    double now       = pb_clock_seconds();
    if (w->phase == NULL || strcmp(w->phase, progress->phase) != 0) {
        w->phase       = progress->phase;
        w->phase_begin = now;
    }
    pb_grid_dealer_expect_end(w->dealer, seconds_left(w, progress, now));
    if (w->shows && now - w->drawn > 0.2) {
        draw(w, progress);
    }
}

void pb_grid_watch_cell(pb_grid_watch *watch, const pb_grid_cell *cell)
{
    if (cell == NULL && watch->phase != NULL) {
        watch->last_phase_seconds = pb_clock_seconds() - watch->phase_begin;
    }
    watch->cell  = cell;
    watch->phase = NULL;
    draw(watch, &(pb_cell_progress){.phase = "starts", .loss = NAN});
}
