// SPDX-License-Identifier: Apache-2.0
/* What a report offers besides its tables: PSCP as arrays, the merge, the progress. */
#include "summary.h"

#include "pb/clock.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void pb_report_pscp_clear(pb_results_pscp *pscp)
{
    pb_memory_free(pscp->pscp);
    pb_memory_free(pscp->score);
    pb_memory_free(pscp->cost_p);
    pb_memory_free(pscp->cost_f);
    pb_memory_free(pscp->cost_m);
    pb_memory_free(pscp->params);
    pb_memory_free(pscp->flops_t);
    pb_memory_free(pscp->memory_gb);
    pb_memory_free(pscp->pscp_std);
    pb_memory_free(pscp->datasets);
    pb_memory_free(pscp->datasets_planned);
    memset(pscp, 0, sizeof *pscp);
}

static pb_status allocate(pb_results_pscp *pscp, int64_t count)
{
    PB_TRY(PB_ALLOC(pscp->pscp, count));
    PB_TRY(PB_ALLOC(pscp->score, count));
    PB_TRY(PB_ALLOC(pscp->cost_p, count));
    PB_TRY(PB_ALLOC(pscp->cost_f, count));
    PB_TRY(PB_ALLOC(pscp->cost_m, count));
    PB_TRY(PB_ALLOC(pscp->params, count));
    PB_TRY(PB_ALLOC(pscp->flops_t, count));
    PB_TRY(PB_ALLOC(pscp->memory_gb, count));
    PB_TRY(PB_ALLOC(pscp->pscp_std, count));
    PB_TRY(PB_ALLOC(pscp->datasets, count));
    return PB_ALLOC(pscp->datasets_planned, count);
}

static void fill(const summary_cost *cost, int64_t i, pb_results_pscp *out)
{
    out->pscp[i]             = cost->has_pscp ? cost->pscp.pscp : NAN;
    out->cost_p[i]           = cost->has_pscp ? cost->pscp.cost_p : NAN;
    out->cost_f[i]           = cost->has_pscp ? cost->pscp.cost_f : NAN;
    out->cost_m[i]           = cost->has_pscp ? cost->pscp.cost_m : NAN;
    out->pscp_std[i]         = cost->pscp_std;
    out->score[i]            = cost->score;
    out->params[i]           = cost->params.mean;
    out->flops_t[i]          = cost->flops_t.mean;
    out->memory_gb[i]        = cost->memory_gb.mean;
    out->datasets[i]         = cost->datasets;
    out->datasets_planned[i] = cost->datasets_planned;
}

pb_status pb_report_pscp(const pb_results *results, const pb_report_options *options,
                         pb_results_pscp *out)
{
    int64_t count        = results->models_count * results->methods_count;
    pb_results_pscp made = {0};
    summary all          = {0};
    pb_status status     = PB_OK;

    PB_TRY(summary_make(results, options, &all));
    PB_TRY_GOTO(status, allocate(&made, count + 1), err);
    for (int64_t i = 0; i < count; i++) {
        fill(&all.costs[i], i, &made);
    }
    made.beta_p = all.params.beta_p;
    made.beta_f = all.params.beta_f;
    made.beta_m = all.params.beta_m;
    made.c_p    = all.params.c_p;
    made.c_f    = all.params.c_f;
    made.c_m    = all.params.c_m;
    summary_clear(&all);
    *out = made;
    return PB_OK;

err:
    summary_clear(&all);
    pb_report_pscp_clear(&made);
    return status;
}

/* A message has room for only one file, so the log names all of them. */
static pb_status refuse_damaged(const char *directory, const pb_results *results)
{
    for (int64_t i = 0; i < results->damaged_count; i++) {
        pb_log_warn("damaged: %s", results->damaged[i]);
    }
    char shards[PB_TABLE_NUMBER];

    if (results->damaged_count > 0) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: nothing is merged, because of damage to the %s named above; the same "
                       "`peftbench run` sets damaged ones aside and runs their cells again",
                       directory, pb_table_count(shards, results->damaged_count, "shard"));
    }
    return PB_OK;
}

pb_status pb_report_merge(const char *directory, const char *path)
{
    pb_results results   = {0};
    pb_results_pscp pscp = {0};
    pb_status status     = PB_OK;

    PB_TRY(pb_results_open_directory(directory, &results));
    PB_TRY_GOTO(status, refuse_damaged(directory, &results), out);
    if (results.stale > 0) {
        pb_log_warn("%s: %" PRId64 " shards are left out: plan.json does not ask for them as they "
                    "are",
                    directory, results.stale);
    }
    PB_TRY_GOTO(status, pb_report_pscp(&results, NULL, &pscp), out);
    PB_TRY_GOTO(status, pb_results_write(&results, &pscp, path), out);
out:
    pb_report_pscp_clear(&pscp);
    pb_results_clear(&results);
    return status;
}

/* "2026-11-24T08:05:00Z" → seconds since 1970, NaN when it is not a time. */
static double parse_time(const char *text)
{
    struct tm tm = {0};

    if (text == NULL || strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) == NULL) {
        return NAN;
    }
    return (double)timegm(&tm);
}

/* The rate of the latest cells: a pause between two runs of a sweep should soon stop counting. */
static pb_status measure_rate(const pb_results *results, pb_report_progress *out)
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

pb_status pb_report_progress_read(const char *directory, pb_report_progress *out)
{
    pb_results results      = {0};
    summary all             = {0};
    pb_report_progress made = {0};
    pb_status status        = PB_OK;

    PB_TRY(pb_results_open_directory(directory, &results));
    PB_TRY_GOTO(status, summary_make(&results, NULL, &all), out);
    made = (pb_report_progress){.cells   = all.cells,
                                .done    = all.done,
                                .failed  = all.failed,
                                .invalid = all.invalid,
                                .left    = all.missing,
                                .stale   = results.stale};
    if (results.sweep == NULL) {
        made.cells = results.count;
        made.left  = -1;
    }
    PB_TRY_GOTO(status, measure_rate(&results, &made), out);
    PB_TRY_GOTO(status, pb_record_set_text(&made.sweep, results.sweep), out);
    made.damaged          = results.damaged;
    made.damaged_count    = results.damaged_count;
    results.damaged       = NULL;
    results.damaged_count = 0;
    *out                  = made;
out:
    summary_clear(&all);
    pb_results_clear(&results);
    return status;
}

void pb_report_progress_clear(pb_report_progress *progress)
{
    for (int64_t i = 0; i < progress->damaged_count; i++) {
        pb_memory_free(progress->damaged[i]);
    }
    pb_memory_free(progress->damaged);
    pb_memory_free(progress->sweep);
    memset(progress, 0, sizeof *progress);
}
