// SPDX-License-Identifier: Apache-2.0
/* The progress of the folder of a sweep. */
#include "internal.h"
#include "jobs.h"
#include "running.h"

#include "pb/clock.h"
#include "pb/file.h"
#include "pb/memory.h"

#include <math.h>
#include <time.h>

/* "2026-11-24T08:05:00Z" → seconds since 1970, NaN when it is not a time. */
static double parse_time(const char *text)
{
    struct tm tm = {0};

    if (text == NULL || strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) == NULL) {
        return NAN;
    }
    return (double)timegm(&tm);
}

/* The rate of the latest cells, so that a pause between two runs of a sweep soon stops counting. */
static pb_status measure_rate(const pb_results *results, pb_sweep_progress *out)
{
    enum { LATEST = 50 };
    double *times = NULL;
    int64_t n     = 0;

    PB_TRY(PB_ALLOC(times, results->count + 1));
    for (int64_t i = 0; i < results->count; i++) {
        double ended = parse_time(results->records[i].created);
        if (!isnan(ended)) {
            times[n++] = ended;
        }
    }
    out->cells_per_hour = NAN;
    out->seconds_left   = out->left == 0 ? 0 : NAN;
    if (n > 1) {
        pb_clock_sort(times, (size_t)n);
        int64_t first = n > LATEST ? n - LATEST : 0;
        double span   = times[n - 1] - times[first];
        if (span > 0) {
            out->cells_per_hour = (double)(n - 1 - first) / span * 3600;
        }
        if (span > 0 && out->left > 0) {
            out->seconds_left = (double)out->left / out->cells_per_hour * 3600;
        }
    }
    pb_memory_free(times);
    return PB_OK;
}

static void count_cells(const pb_results *results, pb_sweep_progress *out)
{
    out->done    = pb_results_count(results, PB_CELL_DONE);
    out->failed  = pb_results_count(results, PB_CELL_FAILED);
    out->invalid = pb_results_count(results, PB_CELL_INVALID);
    out->left    = pb_results_count(results, PB_CELL_MISSING);
    out->cells   = out->done + out->failed + out->invalid + out->left;
    out->stale   = results->stale;
    if (results->sweep == NULL) {
        out->cells = results->count;
        out->left  = -1;
    }
}

/* The folder may be missing. */
static pb_status count_checkpoints(const char *directory, int64_t *out)
{
    char *path   = NULL;
    char **names = NULL;
    size_t count = 0;
    PB_TRY(pb_path_join(directory, "checkpoints", &path));
    pb_status status =
        pb_path_is_directory(path) ? pb_path_list(path, ".ckpt", &names, &count) : PB_OK;
    for (size_t i = 0; i < count; i++) {
        *out += !pb_file_is_temporary(names[i]);
    }
    pb_memory_free_texts(names, count);
    pb_memory_free(path);
    return status;
}

pb_status pb_sweep_progress_read(const char *directory, pb_sweep_progress *out)
{
    pb_results results     = {0};
    pb_sweep_progress made = {0};
    pb_status status;

    PB_TRY(pb_results_open_parts(directory, PB_RECORD_HEAD, &results));
    count_cells(&results, &made);
    PB_TRY_GOTO(status, measure_rate(&results, &made), out);
    PB_TRY_GOTO(status, pb_record_set_text(&made.name, results.sweep), out);
    PB_TRY_GOTO(status, jobs_read(directory, &made.jobs), out);
    PB_TRY_GOTO(status, running_read(directory, &made.jobs, &made.running), out);
    PB_TRY_GOTO(status, count_checkpoints(directory, &made.checkpoints), out);
    PB_TRY_GOTO(status, attempts_count(directory, &made.attempts), out);
    made.damaged          = results.damaged;
    made.damaged_count    = results.damaged_count;
    results.damaged       = NULL;
    results.damaged_count = 0;
    *out                  = made;
    made                  = (pb_sweep_progress){0};
out:
    pb_sweep_progress_clear(&made);
    pb_results_clear(&results);
    return status;
}

void pb_sweep_progress_clear(pb_sweep_progress *progress)
{
    pb_memory_free_texts(progress->damaged, (size_t)progress->damaged_count);
    pb_memory_free(progress->name);
    jobs_list_clear(&progress->jobs);
    running_list_clear(&progress->running);
    *progress = (pb_sweep_progress){0};
}
