// SPDX-License-Identifier: Apache-2.0
/* Merges shards into one file, at the end of a run and for the command `merge`. */
#include "internal.h"

#include "pb/clock.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/report.h"
#include "pb/stop.h"
#include "pb/table.h"

#include <inttypes.h>
#include <string.h>

/* Seconds that a run may spend on merging after a request to stop. */
#define STOP_GRACE 2.0

/* A message has room for only one file, so the log names all of them. */
static pb_status refuse_damaged(const char *directory, const pb_results *results)
{
    for (int64_t i = 0; i < results->damaged_count; i++) {
        pb_log_warn("damaged: %s", results->damaged[i]);
    }
    char shards[PB_TABLE_NUMBER];

    if (results->damaged_count > 0) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: nothing was merged, because of damage to the %s named above; the same "
                       "`peftbench run` sets damaged ones aside and runs their cells again",
                       directory, pb_table_count(shards, results->damaged_count, "shard"));
    }
    return PB_OK;
}

pb_status pb_sweep_merge(const char *directory, const char *path)
{
    pb_results results   = {0};
    pb_results_pscp pscp = {0};
    pb_status status     = PB_OK;

    PB_TRY(pb_results_open_parts(directory, PB_RECORD_ROW, &results));
    PB_TRY_GOTO(status, refuse_damaged(directory, &results), out);
    if (results.stale > 0) {
        pb_log_warn("%s: %" PRId64 " shards are left out: they do not match plan.json", directory,
                    results.stale);
    }
    PB_TRY_GOTO(status, pb_report_pscp(&results, NULL, &pscp), out);
    PB_TRY_GOTO(status, pb_results_write(&results, &pscp, path), out);
out:
    pb_report_pscp_clear(&pscp);
    pb_results_clear(&results);
    return status;
}

static pb_status merged_path(const char *directory, const char *name, char **out)
{
    pb_string file = {0};
    pb_status status;

    PB_TRY_GOTO(status, pb_string_printf(&file, "%s.h5", name), done);
    PB_TRY_GOTO(status, pb_path_join(directory, file.data, out), done);
done:
    pb_string_clear(&file);
    return status;
}

pb_status pb_sweep_merged_path(const char *directory, char **out)
{
    pb_plan plan = {0};
    PB_TRY(pb_plan_read(directory, &plan));
    pb_status status = merged_path(directory, plan.name, out);
    pb_plan_clear(&plan);
    return status;
}

/* Every cell was run, so a missing result is an error: the missing row would go unnoticed. */
static pb_status check_complete(const pb_sweep *s, const folder *f, const pb_results *results)
{
    int64_t missing = pb_results_count(results, PB_CELL_MISSING);
    if (missing > 0) {
        return PB_FAIL(PB_ERR_IO,
                       "%s lacks the results of %" PRId64 " of %" PRId64
                       " cells, although all were run: their records could not be kept, or files "
                       "in its folder shards were removed or replaced meanwhile; the same command "
                       "runs these cells again",
                       f->path, missing, s->cells.count);
    }
    return PB_OK;
}

/* Whether the merged file exists, is complete, and was made from the shards present at the start.
 * One that cannot be opened is simply made again. */
static bool open_current(const folder *f, const char *path, pb_results *results)
{
    if (!pb_path_exists(path)) {
        return false;
    }
    if (pb_results_open(&path, 1, results) != PB_OK) {
        pb_log_debug("%s", pb_error_message());
        pb_error_clear();
        return false;
    }
    if (strcmp(results->shards, f->shards) == 0) {
        return true;
    }
    pb_results_clear(results);
    return false;
}

static pb_status merge_results(const folder *f, const pb_grid_summary *summary, const char *path,
                               pb_results *results)
{
    if (summary->finished == 0 && open_current(f, path, results)) {
        pb_log0_info("%s has all of these cells already and is kept", path);
        return PB_OK;
    }
    PB_TRY(pb_sweep_merge(f->path, path));
    return pb_results_open(&path, 1, results);
}

/* The end of the time limit, whose reserve is meant for merging. After a request to stop only
 * seconds remain: enough for a few cells, while thousands can wait. */
static double finish_deadline(const pb_sweep *s, bool stopped)
{
    double limit = pb_grid_get_run(s->grid)->time_limit_seconds;
    double end   = limit > 0 ? s->began + limit : 0;
    double grace = pb_clock_seconds() + STOP_GRACE;
    if (!stopped) {
        return end;
    }
    return pb_stop_signal() != NULL || end < grace ? grace : end;
}

pb_status merge_finish(const pb_sweep *s, const folder *f, const pb_grid_summary *summary,
                       bool stopped, pb_sweep_show show, void *context)
{
    pb_results results = {0};
    char *path         = NULL;
    pb_status status;
    pb_log_settle(); /* no log line of any process may interrupt the tables */
    PB_TRY(pb_comm_barrier(s->comm));
    if (pb_comm_rank(s->comm) != 0) {
        return PB_OK;
    }
    PB_TRY(merged_path(f->path, pb_sweep_name(s), &path));
    pb_stop_arm(finish_deadline(s, stopped));
    PB_TRY_GOTO(status, merge_results(f, summary, path, &results), out);
    PB_TRY_GOTO(status, show(context, &results, path), out);
    if (summary->left == 0) {
        PB_TRY_GOTO(status, check_complete(s, f, &results), out);
    }
out:
    if (status == PB_STOPPED) {
        pb_error_prefix(status,
                        "merging %s: all finished cells are kept, the same command continues from "
                        "here, and peftbench merge makes the file",
                        path);
    }
    pb_results_clear(&results);
    pb_memory_free(path);
    return status;
}
