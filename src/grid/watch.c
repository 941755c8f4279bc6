// SPDX-License-Identifier: Apache-2.0
/* The watch over a run: requests to stop, the time limit, and the progress line. */
#include "internal.h"

#include "pb/clock.h"
#include "pb/log.h"
#include "pb/stop.h"

#include <inttypes.h>
#include <stdio.h>

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
    return pb_grid_watch_reason(watch) != NULL;
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

void pb_grid_watch_draw(pb_grid_watch *watch, const char *phase, double done)
{
    char line[512], duration[64], now[256] = "";
    if (!watch->shows) {
        return;
    }
    watch->drawn    = pb_clock_seconds();
    double elapsed  = watch->drawn - watch->begin;
    int64_t waiting = watch->cells - watch->skipped - watch->handed_out;
    int64_t running = watch->handed_out - watch->finished;
    double rate     = elapsed > 0 ? (double)watch->finished / elapsed : 0;
    waiting         = waiting > 0 ? waiting : 0;
    if (rate > 0) {
        write_duration((double)(waiting + running) / rate, duration, sizeof duration);
    } else {
        snprintf(duration, sizeof duration, "unknown time");
    }
    if (watch->cell != NULL && phase != NULL) {
        snprintf(now, sizeof now, "; %s/%s/%s/%" PRId64 " %s %.0f%%", watch->cell->model,
                 watch->cell->dataset, watch->cell->method, watch->cell->seed, phase, 100 * done);
    }
    snprintf(line, sizeof line,
             "%" PRId64 " of %" PRId64 " cells done, %" PRId64 " running, %" PRId64
             " left, %.3g cells/min, %s left%s",
             watch->skipped + watch->finished, watch->cells, running, waiting, 60 * rate, duration,
             now);
    pb_log_progress(line);
}

void pb_grid_watch_progress(void *watch, const char *phase, double done)
{
    pb_grid_watch *w = watch;
    if (w->shows && pb_clock_seconds() - w->drawn > 0.2) {
        pb_grid_watch_draw(w, phase, done);
    }
}
