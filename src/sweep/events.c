// SPDX-License-Identifier: Apache-2.0
#include "events.h"

#include "pb/clock.h"
#include "pb/file.h"
#include "pb/json.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { JSON_LINES, MLPERF, FILES };

static pb_status open_one(const char *path, const char *name, const char *suffix, const char *job,
                          int64_t rank, int *out)
{
    pb_string own    = {0};
    pb_status status = PB_OK;

    if (path == NULL) {
        return PB_OK;
    }
    PB_TRY_GOTO(status, pb_string_puts(&own, path), done);
    if (pb_path_is_directory(path)) {
        PB_TRY_GOTO(status, pb_string_printf(&own, "/%s.%s.%s", name, job, suffix), done);
    }
    if (rank > 0) {
        PB_TRY_GOTO(status, pb_string_printf(&own, ".%" PRId64, rank), done);
    }
    *out = open(own.data, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (*out < 0) {
        status = PB_FAIL(PB_ERR_IO, "cannot append to %s: %s", own.data, strerror(errno));
    }
done:
    pb_string_clear(&own);
    return status;
}

pb_status events_open(const char *json, const char *mllog, const char *job, int64_t rank,
                      events *out)
{
    *out = (events){.files = {-1, -1}, .rank = rank};
    PB_TRY(open_one(json, "events", "jsonl", job, rank, &out->files[JSON_LINES]));
    return open_one(mllog, "mllog", "log", job, rank, &out->files[MLPERF]);
}

static void close_one(events *e, int which)
{
    if (e->files[which] >= 0) {
        (void)close(e->files[which]);
    }
    e->files[which] = -1;
}

void events_close(events *e)
{
    close_one(e, JSON_LINES);
    close_one(e, MLPERF);
}

/* Writes the line; a cell does not pay for its memory. */
static void put(events *e, int which, pb_status made, size_t peak)
{
    const pb_string *line = &e->line;
    if (made == PB_OK) {
        made = pb_file_write_all(e->files[which], "the file of events", line->data, line->length);
    }
    if (made != PB_OK) {
        pb_log_warn("no more events are written: %s", pb_error_message());
        pb_error_clear();
        close_one(e, which);
    }
    pb_string_clear(&e->line);
    pb_memory_peak_restore(peak);
}

static void put_cell(pb_json *json, const pb_grid_cell *cell)
{
    pb_json_put_text(json, "model", cell->model);
    pb_json_put_text(json, "dataset", cell->dataset);
    pb_json_put_text(json, "method", cell->method);
    pb_json_put_int(json, "seed", cell->seed);
}

/* What a line of one kind adds to the cell; value is unused where it is NULL. */
typedef struct event {
    const char *name;     /* of JSON lines */
    const char *key;      /* of MLPerf; NULL: not in its log */
    const char *interval; /* "INTERVAL_START", "INTERVAL_END", "POINT_IN_TIME" */
    double value;         /* of MLPerf; NaN: null */
    const pb_grid_cell *cell;
    const pb_train_step *step;
    int64_t number; /* of a step that was validated, of cells; -1: none */
    double loss;    /* of it */
    const pb_record *record;
    const char *text; /* name of the sweep, or how the cell ended */
} event;

static void put_metrics(pb_json *json, const pb_record *r)
{
    pb_json_put_text(json, "metric", r->metric_name);
    pb_json_put_number(json, "score", r->score, PB_JSON_EXACT);
    pb_json_put_number(json, "score_low", r->score_low, PB_JSON_EXACT);
    pb_json_put_number(json, "score_high", r->score_high, PB_JSON_EXACT);
    pb_json_put_object(json, "metrics", PB_JSON_INLINE);
    for (int64_t i = 0; i < r->metrics_count; i++) {
        pb_json_put_number(json, r->metrics[i].name, r->metrics[i].value, PB_JSON_EXACT);
    }
    pb_json_end(json);
}

static void put_members(pb_json *json, const event *v)
{
    if (v->step != NULL) {
        pb_json_put_int(json, "step", v->step->step);
        pb_json_put_int(json, "steps", v->step->steps);
        pb_json_put_number(json, "loss", v->step->loss, PB_JSON_EXACT);
        pb_json_put_number(json, "lr", v->step->lr, PB_JSON_EXACT);
        pb_json_put_number(json, "grad_norm", v->step->grad_norm, PB_JSON_EXACT);
        pb_json_put_int(json, "tokens", v->step->tokens);
        pb_json_put_number(json, "seconds", v->step->seconds, PB_JSON_EXACT);
    } else if (v->number >= 0 && v->cell != NULL) {
        pb_json_put_int(json, "step", v->number);
        pb_json_put_number(json, "loss", v->loss, PB_JSON_EXACT);
    } else if (v->number >= 0) {
        pb_json_put_text(json, "sweep", v->text);
        pb_json_put_int(json, "cells", v->number);
    } else if (v->record != NULL && v->text == NULL) {
        put_metrics(json, v->record);
    } else if (v->text != NULL) {
        pb_json_put_text(json, "status", v->text);
        pb_json_put_text(json, "message", v->record != NULL ? v->record->message : NULL);
        pb_json_put_number(json, "seconds", v->record != NULL ? v->record->seconds_total : NAN,
                           PB_JSON_EXACT);
    }
}

static void put_line(events *e, const event *v, double now, size_t peak)
{
    pb_json json = pb_json_begin(&e->line, PB_JSON_INLINE, 0);

    pb_json_put_text(&json, "event", v->name);
    pb_json_put_number(&json, "time", now, PB_JSON_EXACT);
    pb_json_put_int(&json, "rank", e->rank);
    if (v->cell != NULL) {
        put_cell(&json, v->cell);
    }
    put_members(&json, v);
    put(e, JSON_LINES, pb_json_finish(&json, "\n"), peak);
}

/* ":::MLLOG {…}", as https://github.com/mlcommons/logging reads it. */
static void put_mlperf(events *e, const event *v, double now, size_t peak)
{
    pb_status status = pb_string_puts(&e->line, ":::MLLOG ");
    pb_json json     = pb_json_begin(&e->line, PB_JSON_INLINE, 0);

    pb_json_put_text(&json, "namespace", "");
    pb_json_put_int(&json, "time_ms", (int64_t)(now * 1e3));
    pb_json_put_text(&json, "event_type", v->interval);
    pb_json_put_text(&json, "key", v->key);
    pb_json_put_number(&json, "value", v->value, PB_JSON_EXACT);
    pb_json_put_object(&json, "metadata", PB_JSON_INLINE);
    put_cell(&json, v->cell);
    if (v->step != NULL || v->number >= 0) {
        pb_json_put_int(&json, "step_num", v->step != NULL ? v->step->step : v->number);
    }
    if (v->text != NULL) {
        pb_json_put_text(&json, "status", strcmp(v->text, "done") == 0 ? "success" : "aborted");
    }
    pb_json_end(&json);
    pb_status made = pb_json_finish(&json, "\n");
    put(e, MLPERF, status == PB_OK ? made : status, peak);
}

static void happen(events *e, const event *v)
{
    double now  = pb_clock_unix();
    size_t peak = pb_memory_peak();

    if (e->files[JSON_LINES] >= 0) {
        put_line(e, v, now, peak);
    }
    if (e->files[MLPERF] >= 0 && v->key != NULL) {
        put_mlperf(e, v, now, peak);
    }
}

void events_run(events *e, const char *sweep, int64_t cells)
{
    happen(e, &(event){.name = "run", .text = sweep, .number = cells});
}

void events_start(events *e, const pb_grid_cell *cell)
{
    happen(e, &(event){.name     = "start",
                       .key      = "run_start",
                       .interval = "INTERVAL_START",
                       .value    = NAN,
                       .cell     = cell,
                       .number   = -1});
}

void events_step(events *e, const pb_grid_cell *cell, const pb_train_step *step)
{
    happen(e, &(event){.name     = "step",
                       .key      = "train_loss",
                       .interval = "POINT_IN_TIME",
                       .value    = step->loss,
                       .cell     = cell,
                       .step     = step,
                       .number   = -1});
}

void events_validation(events *e, const pb_grid_cell *cell, int64_t step, double loss)
{
    happen(e, &(event){.name     = "validation",
                       .key      = "eval_loss",
                       .interval = "POINT_IN_TIME",
                       .value    = loss,
                       .cell     = cell,
                       .number   = step,
                       .loss     = loss});
}

static void end(events *e, const pb_grid_cell *cell, const pb_record *record, const char *how)
{
    happen(e, &(event){.name     = "end",
                       .key      = "run_stop",
                       .interval = "INTERVAL_END",
                       .value    = NAN,
                       .cell     = cell,
                       .number   = -1,
                       .record   = record,
                       .text     = how});
}

void events_record(events *e, const pb_grid_cell *cell, const pb_record *record)
{
    if (record->status == PB_OK) {
        happen(e, &(event){.name     = "evaluation",
                           .key      = "eval_accuracy",
                           .interval = "POINT_IN_TIME",
                           .value    = record->score / 100,
                           .cell     = cell,
                           .number   = -1,
                           .record   = record});
    }
    end(e, cell, record, record->status != PB_OK ? "failed" : record->valid ? "done" : "invalid");
}

void events_lost(events *e, const pb_grid_cell *cell, pb_status why)
{
    end(e, cell, NULL, why == PB_STOPPED ? "stopped" : "failed");
}
