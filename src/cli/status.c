// SPDX-License-Identifier: Apache-2.0
/* peftbench status: the progress of a results directory. Only reads, so it can run while the job
 * works. */
#include "commands.h"

#include "pb/clock.h"
#include "pb/json.h"
#include "pb/stop.h"
#include "pb/sweep.h"
#include "pb/table.h"

#include <inttypes.h>
#include <math.h>
#include <time.h>
#include <unistd.h>

static const pb_option options[] = {
    PB_CLI_FLAG("watch", "print it again until nothing is left or the run has ended"),
    PB_CLI_INT("every", "SECONDS", "2", 1, 86400, "between two times, with --watch"),
    PB_CLI_FLAG("json", "print one JSON object"),
    PB_OPTION_END,
};

/* A count, null if it is unknown. */
static void put_count(pb_json *json, const char *key, int64_t value)
{
    if (value >= 0) {
        pb_json_put_int(json, key, value);
    } else {
        pb_json_put_null(json, key);
    }
}

static void put_job(pb_json *json, const pb_job *j)
{
    char started[32], heard[32];

    pb_clock_iso8601(j->started, started, sizeof started);
    pb_clock_iso8601(j->heard, heard, sizeof heard);
    pb_json_put_object(json, NULL, PB_JSON_INLINE);
    pb_json_put_text(json, "job", j->name);
    pb_json_put_text(json, "host", j->host);
    pb_json_put_int(json, "process", j->process);
    pb_json_put_text(json, "batch", j->batch);
    pb_json_put_int(json, "ranks", j->ranks);
    pb_json_put_text(json, "since", started);
    pb_json_put_text(json, "heard", heard);
    pb_json_end(json);
}

static void put_running(pb_json *json, const pb_running *r)
{
    char since[32], written[32];

    pb_clock_iso8601(r->begun, since, sizeof since);
    pb_clock_iso8601(r->written, written, sizeof written);
    pb_json_put_object(json, NULL, PB_JSON_INLINE);
    pb_json_put_text(json, "job", r->job);
    pb_json_put_text(json, "host", r->host);
    pb_json_put_int(json, "rank", r->rank);
    pb_json_put_int(json, "process", r->process);
    pb_json_put_text(json, "model", r->model);
    pb_json_put_text(json, "dataset", r->dataset);
    pb_json_put_text(json, "method", r->method);
    pb_json_put_int(json, "seed", r->seed);
    pb_json_put_text(json, "phase", r->phase);
    pb_json_put_int(json, "step", r->step);
    pb_json_put_int(json, "steps", r->steps);
    pb_json_put_number(json, "loss", r->loss, 6);
    pb_json_put_number(json, "seconds_left", r->seconds_left, 6);
    pb_json_put_text(json, "since", since);
    pb_json_put_text(json, "written", written);
    pb_json_end(json);
}

static pb_status put_json(const pb_sweep_progress *p, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 0);

    pb_json_put_text(&json, "sweep", p->name != NULL ? p->name : "");
    pb_json_put_int(&json, "cells", p->cells);
    pb_json_put_int(&json, "done", p->done);
    pb_json_put_int(&json, "failed", p->failed);
    pb_json_put_int(&json, "invalid", p->invalid);
    put_count(&json, "left", p->left);
    put_count(&json, "stale", p->stale);
    put_count(&json, "damaged", p->damaged_count);
    pb_json_put_texts(&json, "damaged_shards", p->damaged, p->damaged_count);
    pb_json_put_int(&json, "checkpoints", p->checkpoints);
    pb_json_put_int(&json, "attempts", p->attempts);
    pb_json_put_number(&json, "cells_per_hour", p->cells_per_hour, 6);
    pb_json_put_number(&json, "seconds_left", p->seconds_left, 6);
    pb_json_put_array(&json, "jobs", PB_JSON_INLINE);
    for (int64_t i = 0; i < p->jobs.count; i++) {
        put_job(&json, &p->jobs.items[i]);
    }
    pb_json_end(&json);
    pb_json_put_array(&json, "running", PB_JSON_INLINE);
    for (int64_t i = 0; i < p->running.count; i++) {
        put_running(&json, &p->running.items[i]);
    }
    pb_json_end(&json);
    return pb_json_finish(&json, "\n");
}

static pb_status text_left(const pb_sweep_progress *p, pb_string *out)
{
    char shards[PB_TABLE_NUMBER];

    if (p->left < 0) {
        PB_TRY(pb_string_puts(out, "left     unknown without plan.json; the same `peftbench run` "
                                   "writes it again\n"));
    } else {
        PB_TRY(pb_string_printf(out, "left     %" PRId64 "\n", p->left));
    }
    if (p->damaged_count > 0) {
        PB_TRY(pb_string_printf(out,
                                "damaged  %s; the same `peftbench run` sets aside what is "
                                "damaged and runs the cells again\n",
                                pb_table_count(shards, p->damaged_count, "shard")));
    }
    for (int64_t i = 0; i < p->damaged_count; i++) {
        PB_TRY(pb_string_printf(out, "         %s\n", p->damaged[i]));
    }
    if (p->checkpoints > 0) {
        PB_TRY(pb_string_printf(out, "saved    %s with a checkpoint to go on from\n",
                                pb_table_count(shards, p->checkpoints, "cell")));
    }
    if (p->attempts > 0 && p->running.count == 0) {
        PB_TRY(pb_string_printf(out, "crashed  %s ran when a process went down\n",
                                pb_table_count(shards, p->attempts, "cell")));
    }
    if (p->stale > 0) {
        PB_TRY(pb_string_printf(out, "stale    %s, of other cells or configurations\n",
                                pb_table_count(shards, p->stale, "shard")));
    }
    return PB_OK;
}

static pb_status text_jobs(const pb_job_list *list, pb_string *out)
{
    for (int64_t i = 0; i < list->count; i++) {
        const pb_job *j = &list->items[i];
        char since[32], heard[32], ranks[PB_TABLE_NUMBER];
        pb_clock_iso8601(j->started, since, sizeof since);
        pb_clock_iso8601(j->heard, heard, sizeof heard);
        PB_TRY(pb_string_printf(out, "job      %s since %s, %s%s%s, last heard of at %s\n", j->name,
                                since, pb_table_count(ranks, j->ranks, "rank"),
                                *j->batch != '\0' ? ", " : "", j->batch, heard));
    }
    return PB_OK;
}

/* One line per process, without columns because names have any length. */
static pb_status text_runnings(const pb_running_list *list, pb_string *out)
{
    for (int64_t i = 0; i < list->count; i++) {
        const pb_running *r = &list->items[i];
        char since[32];
        pb_clock_iso8601(r->begun, since, sizeof since);
        PB_TRY(pb_string_printf(out,
                                "%s %s/%s/%s/%" PRId64 " since %s on %s, rank %" PRId64
                                ", process %" PRId64 ": %s",
                                i == 0 ? "running " : "        ", r->model, r->dataset, r->method,
                                r->seed, since, r->host, r->rank, r->process, r->phase));
        if (r->steps > 0) {
            PB_TRY(pb_string_printf(out, " %" PRId64 " of %" PRId64, r->step, r->steps));
        }
        if (isfinite(r->loss)) {
            PB_TRY(pb_string_printf(out, ", loss %.4g", r->loss));
        }
        if (isfinite(r->seconds_left)) {
            PB_TRY(pb_string_printf(out, ", %.0f s left", fmax(r->seconds_left, 0.0)));
        }
        PB_TRY(pb_string_puts(out, "\n"));
    }
    return PB_OK;
}

static pb_status put_text(const pb_sweep_progress *p, pb_string *out)
{
    PB_TRY(pb_string_printf(out,
                            "sweep    %s\ncells    %" PRId64 "\ndone     %" PRId64
                            "\nfailed   %" PRId64 "\ninvalid  %" PRId64 "\n",
                            p->name != NULL && p->name[0] != '\0' ? p->name : "(no plan)", p->cells,
                            p->done, p->failed, p->invalid));
    PB_TRY(text_left(p, out));
    if (isfinite(p->cells_per_hour)) {
        PB_TRY(
            pb_string_printf(out, "rate     %.1f cells per hour, recently\n", p->cells_per_hour));
    }
    if (p->left > 0 && isfinite(p->seconds_left)) {
        PB_TRY(pb_string_printf(out, "to go    %.0f s at that rate\n", p->seconds_left));
    }
    PB_TRY(text_jobs(&p->jobs, out));
    return text_runnings(&p->running, out);
}

/* Prints the progress once; *running: processes that work there, *left: -1: unknown. */
static pb_status print(const pb_cli *cli, int64_t *running, int64_t *left)
{
    pb_sweep_progress progress = {0};
    pb_string text             = {0};
    pb_status status           = PB_OK;

    PB_TRY(pb_sweep_progress_read(pb_cli_argument(cli, 0), &progress));
    status   = pb_cli_flag(cli, "json") ? put_json(&progress, &text) : put_text(&progress, &text);
    status   = cli_print_facts(cli, status, &text);
    *running = progress.running.count;
    *left    = progress.left;
    pb_sweep_progress_clear(&progress);
    return status;
}

/* Until nothing is left or the run that was seen has ended; after a signal; or until nobody reads
 * any more. A run that has not begun is waited for. */
static pb_status watch(const pb_cli *cli)
{
    const double pause = (double)pb_cli_int(cli, "every");
    const char *again  = isatty(STDOUT_FILENO)      ? "\033[H\033[J"
                         : pb_cli_flag(cli, "json") ? ""
                                                    : "\n";
    int64_t running    = 0;
    int64_t left       = 0;
    bool seen          = false;

    for (bool first = true;; first = false) {
        PB_TRY(first && again[0] == '\n' ? PB_OK : pb_cli_print(cli, again));
        PB_TRY(print(cli, &running, &left));
        bool over = running == 0 && (left == 0 || seen);
        seen      = seen || running > 0;
        for (double end = pb_clock_seconds() + pause; !over && pb_clock_seconds() < end;) {
            (void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
            over = pb_stop_signal() != NULL;
        }
        if (over || !pb_cli_is_heard()) {
            return PB_OK;
        }
    }
}

static pb_status run(pb_cli *cli)
{
    int64_t running = 0;
    int64_t left    = 0;

    if (!pb_cli_flag(cli, "watch")) {
        return print(cli, &running, &left);
    }
    pb_stop_catch();
    pb_status status = watch(cli);
    pb_stop_release();
    return status;
}

const pb_command command_status = {
    .name          = "status",
    .help          = "which cells of a directory are done, failed or left, and what runs where",
    .usage         = "DIR [--watch [--every SECONDS]] [--json]",
    .details       = "Reads DIR/plan.json and the shards; works while the job is running. "
                     "Damaged shards are named; their cells count as left. For every "
                     "process of every job there: cell, host, rank, process and progress. "
                     "--watch waits for a run that has not begun; Ctrl-C ends it.\n",
    .options       = {options},
    .first         = true,
    .min_arguments = 1,
    .max_arguments = 1,
    .run           = run,
};
