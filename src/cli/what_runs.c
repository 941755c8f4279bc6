// SPDX-License-Identifier: Apache-2.0
/* From what a process does to its file. */
#include "what_runs.h"

#include "pb/clock.h"
#include "pb/log.h"
#include "pb/running.h"

#include <unistd.h>

static void fall_silent(what_runs *w)
{
    w->silent = true;
    pb_log0_warn("`peftbench status` cannot show what runs here: %s", pb_error_message());
    pb_error_clear();
}

void what_runs_open(what_runs *w)
{
    if (pb_running_clear_folder(w->directory) != PB_OK) {
        fall_silent(w);
    }
}

void what_runs_tell(what_runs *w, const pb_grid_state *state)
{
    char host[256] = "";

    if (w->silent) {
        return;
    }
    if (state == NULL) {
        pb_running_remove(w->directory, w->rank);
        return;
    }
    (void)gethostname(host, sizeof host - 1);
    double now         = pb_clock_unix();
    pb_running running = {.host         = host,
                          .process      = getpid(),
                          .rank         = w->rank,
                          .model        = state->cell->model,
                          .dataset      = state->cell->dataset,
                          .method       = state->cell->method,
                          .seed         = state->cell->seed,
                          .phase        = state->progress->phase,
                          .step         = state->progress->step,
                          .steps        = state->progress->steps,
                          .loss         = state->progress->loss,
                          .seconds_left = state->seconds_left,
                          .begun        = now - (pb_clock_seconds() - state->begun),
                          .written      = now};
    if (pb_running_write(w->directory, &running) != PB_OK) {
        fall_silent(w);
    }
}
