// SPDX-License-Identifier: Apache-2.0
/* peftbench replay: a recorded cell runs again, and both results are compared. */
#include "commands.h"

#include "pb/json.h"
#include "pb/memory.h"
#include "pb/recorded.h"
#include "pb/results.h"
#include "pb/table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LISTED_MAX = 20, TEXT_MAX = 60, EXIT_DIFFERS = 1 };

static const pb_option options[] = {
    PB_CLI_NEEDED("cell", "KEY", "MODEL/DATASET/METHOD/SEED, or a part that only one cell has"),
    PB_CLI_TEXT("model", "DIR", NULL, "folder of the checkpoint; default: as recorded"),
    PB_CLI_TEXT("data", "DIR", NULL,
                "folder below which the files of rows are; default: as recorded"),
    PB_OPTION_END,
};

/* A recorded cell and its repetition. */
typedef struct replay {
    pb_cli *cli;
    const pb_record *then;
    pb_record now;
    bool same;           /* the configuration hash is: backend, threads, libraries, version */
    int64_t machine;     /* names whose values differ */
    int64_t differences; /* values of the results that differ */
    pb_table *table;     /* of the text */
    pb_json *json;
} replay;

/* ---------------------------------------------------------------- the cell */

static pb_status put_key(const pb_record_key *key, pb_string *out)
{
    return pb_string_printf(out, "%s/%s/%s/%" PRId64, key->model, key->dataset, key->method,
                            key->seed);
}

/* The cells whose key is `wanted` or, with `part`, has it inside; the last one is *out, and the
 * first ones are listed. */
static pb_status find(const pb_results *results, const char *wanted, bool part, int64_t *count,
                      const pb_record **out, pb_string *listed)
{
    pb_string key    = {0};
    pb_status status = PB_OK;
    *count           = 0;
    for (int64_t i = 0; i < results->count && status == PB_OK; i++) {
        status     = put_key(&results->records[i].key, &key);
        bool is_it = status == PB_OK &&
                     (part ? strstr(key.data, wanted) != NULL : strcmp(key.data, wanted) == 0);
        if (is_it) {
            *out   = &results->records[i];
            status = (*count)++ < LISTED_MAX ? pb_string_printf(listed, "\n  %s", key.data) : PB_OK;
        }
        pb_string_clear(&key);
    }
    return status;
}

static pb_status find_cell(const pb_results *results, const char *wanted, const pb_record **out)
{
    pb_string listed = {0};
    pb_string all    = {0};
    int64_t count    = 0;
    pb_status status;
    PB_TRY_GOTO(status, find(results, wanted, false, &count, out, &listed), done);
    if (count == 0) {
        PB_TRY_GOTO(status, find(results, wanted, true, &count, out, &listed), done);
    }
    if (count > 1) {
        status =
            PB_FAIL(PB_ERR_USAGE, "--cell %s is part of %" PRId64 " cells; give more of it:%s%s",
                    wanted, count, listed.data, count > LISTED_MAX ? "\n  …" : "");
    } else if (count == 0) {
        PB_TRY_GOTO(status, find(results, "", true, &count, out, &all), done);
        status = PB_FAIL(PB_ERR_USAGE, "--cell %s: no cell has this in its key; the cells are:%s%s",
                         wanted, all.data != NULL ? all.data : " none",
                         count > LISTED_MAX ? "\n  …" : "");
    }
done:
    pb_string_clear(&all);
    pb_string_clear(&listed);
    return status;
}

/* What was recorded, unless an option says otherwise. */
static pb_status set_up(const replay *r, pb_cell_setup *setup)
{
    PB_TRY(pb_recorded_setup(r->then, setup));
    if (pb_cli_given(r->cli, "device")) {
        PB_TRY(pb_cli_device(r->cli, &setup->backend, &setup->device));
    }
    if (pb_cli_given(r->cli, "threads")) {
        setup->threads = (int)pb_cli_int(r->cli, "threads");
    }
    if (pb_cli_given(r->cli, "dtype")) {
        setup->dtype = pb_cli_dtype(r->cli);
    }
    if (pb_cli_given(r->cli, "device") || pb_cli_given(r->cli, "dtype") ||
        pb_cli_given(r->cli, "products")) { /* a choice is for a backend and a type */
        setup->products = pb_cli_text(r->cli, "products");
    }
    return PB_OK;
}

static pb_status repeat(replay *r)
{
    const pb_recorded_places places = {.model = pb_cli_text(r->cli, "model"),
                                       .data  = pb_cli_text(r->cli, "data")};
    pb_recorded *recorded           = NULL;
    pb_cell_env *env                = NULL;
    pb_cell_setup setup;
    pb_status status;
    PB_TRY(pb_recorded_open(r->then, &places, &recorded));
    PB_TRY_GOTO(status, set_up(r, &setup), done);
    status = pb_error_prefix(pb_cell_env_open(&setup, r->cli->comm, &env),
                             "backend %s, as recorded; --device names another", setup.backend);
    PB_TRY_GOTO(status, status, done);
    PB_TRY_GOTO(status, pb_recorded_run(recorded, env, &r->same, &r->now), done);
    if (r->now.status != PB_OK && r->then->status == PB_OK) {
        status = PB_FAIL(r->now.status, "the cell fails here: %s", r->now.message);
    }
done:
    pb_cell_env_close(env);
    pb_recorded_close(recorded);
    return status;
}

/* ---------------------------------------------------------------- differences */

/* Measured in every run, or a result: a difference says nothing about the kind of machine. */
static bool varies(const char *name)
{
    static const char *const names[] = {PB_RECORD_ADAPTER,
                                        "rank",
                                        "ranks",
                                        "directory",
                                        "gemm_gflops",
                                        "peak_gflops",
                                        "peak_source",
                                        "kernels_by",
                                        "kernels_other",
                                        "kernels_gflops",
                                        "kernels_other_gflops",
                                        "sm_clock_mhz",
                                        "memory_clock_mhz",
                                        NULL};
    return pb_string_begins(name, "energy") || pb_string_is_in(name, names);
}

static pb_status put_place(replay *r, const char *name, const char *then, const char *now)
{
    if (strcmp(then, now) == 0 || varies(name)) {
        return PB_OK;
    }
    r->machine++;
    if (r->json != NULL) {
        pb_json_put_object(r->json, NULL, PB_JSON_INLINE);
        pb_json_put_text(r->json, "name", name);
        pb_json_put_text(r->json, "recorded", then);
        pb_json_put_text(r->json, "now", now);
        pb_json_end(r->json);
        return PB_OK;
    }
    PB_TRY(pb_table_add(r->table, "%s", name));
    PB_TRY(pb_table_add(r->table, "%s", *then != '\0' ? then : PB_TABLE_NOTHING));
    return pb_table_add(r->table, "%s", *now != '\0' ? now : PB_TABLE_NOTHING);
}

/* Names of both; what only one has is empty in the other. */
static pb_status compare_machines(replay *r)
{
    const pb_record *records[] = {r->then, &r->now};
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < records[side]->provenance_count; i++) {
            const char *name = records[side]->provenance[i].name;
            const char *then = pb_record_find_provenance(r->then, name);
            const char *now  = pb_record_find_provenance(&r->now, name);
            if (side == 0 || then == NULL) {
                PB_TRY(put_place(r, name, then != NULL ? then : "", now != NULL ? now : ""));
            }
        }
    }
    return PB_OK;
}

static pb_status put_value(pb_table *table, double number, const char *text)
{
    char digits[PB_NUMBER_BYTES];
    if (text != NULL) {
        return pb_table_add(table, "%.*s%s", (int)TEXT_MAX, text,
                            strlen(text) > TEXT_MAX ? "…" : "");
    }
    return isfinite(number) ? pb_table_add(table, "%s", pb_number_text(number, 6, digits))
                            : pb_table_add(table, "%g", number);
}

static pb_status put_row(pb_table *table, const pb_record_difference *d)
{
    PB_TRY(pb_table_add(table, "%s%s%s", d->list != NULL ? d->list : "", d->list != NULL ? "/" : "",
                        d->name));
    PB_TRY(pb_table_add(table, "%" PRId64 " of %" PRId64, d->count, d->of));
    PB_TRY(d->list != NULL && d->of > 1 ? pb_table_add(table, "%" PRId64, d->first)
                                        : pb_table_add(table, PB_TABLE_NOTHING));
    PB_TRY(put_value(table, d->a, d->text_a));
    PB_TRY(put_value(table, d->b, d->text_b));
    return d->text_a != NULL ? pb_table_add(table, PB_TABLE_NOTHING)
                             : pb_table_add(table, "%.3g", d->largest);
}

static void put_json_value(pb_json *json, const char *key, double number, const char *text)
{
    if (text != NULL) {
        pb_json_put_text(json, key, text);
    } else {
        pb_json_put_number(json, key, number, PB_JSON_EXACT);
    }
}

static pb_status put_difference(void *context, const pb_record_difference *d)
{
    replay *r = context;
    r->differences++;
    if (r->json == NULL) {
        return put_row(r->table, d);
    }
    pb_json_put_object(r->json, NULL, PB_JSON_INLINE);
    pb_json_put_text(r->json, "list", d->list);
    pb_json_put_text(r->json, "name", d->name);
    pb_json_put_int(r->json, "count", d->count);
    pb_json_put_int(r->json, "of", d->of);
    pb_json_put_int(r->json, "first", d->first);
    put_json_value(r->json, "recorded", d->a, d->text_a);
    put_json_value(r->json, "now", d->b, d->text_b);
    pb_json_put_number(r->json, "largest", d->text_a != NULL ? (double)NAN : d->largest, 6);
    pb_json_end(r->json);
    return PB_OK;
}

/* ---------------------------------------------------------------- output */

static pb_status put_head(const replay *r, pb_string *out)
{
    const pb_record *then = r->then;
    PB_TRY(put_key(&then->key, out));
    PB_TRY(pb_string_printf(out, " of %s: %s, recorded %s\n", pb_cli_argument(r->cli, 0),
                            pb_record_state(then), then->created));
    const char *why = then->status != PB_OK ? then->message : then->valid ? NULL : then->reason;
    return why != NULL ? pb_string_printf(out, "%s: %s\n", pb_record_state(then), why) : PB_OK;
}

static pb_status put_table(replay *r, const char *const *header, int64_t left, const char *title,
                           pb_status (*fill)(replay *r), pb_string *out)
{
    pb_table table   = {0};
    r->table         = &table;
    pb_status status = pb_table_begin(&table, header, left);
    status           = status == PB_OK ? fill(r) : status;
    if (status == PB_OK && table.count > table.columns) {
        status = pb_string_printf(out, "\n%s\n", title);
        status = status == PB_OK
                     ? pb_table_print(&table, pb_cli_width(r->cli), cli_takes_colour(r->cli), out)
                     : status;
    }
    pb_table_clear(&table);
    r->table = NULL;
    return status;
}

static pb_status compare_results(replay *r)
{
    pb_record_difference adapter = {
        .name   = PB_RECORD_ADAPTER,
        .of     = 1,
        .count  = 1,
        .a      = (double)NAN,
        .b      = (double)NAN,
        .text_a = pb_record_find_provenance(r->then, PB_RECORD_ADAPTER),
        .text_b = pb_record_find_provenance(&r->now, PB_RECORD_ADAPTER),
    };
    PB_TRY(pb_record_compare(r->then, &r->now, put_difference, r));
    bool kept = adapter.text_a != NULL && adapter.text_b != NULL;
    return kept && strcmp(adapter.text_a, adapter.text_b) != 0 ? put_difference(r, &adapter)
                                                               : PB_OK;
}

/* The recorded kernels can be selected. */
static pb_status put_hint(const replay *r, pb_string *out)
{
    const char *then = pb_record_find_provenance(r->then, "kernels");
    const char *now  = pb_record_find_provenance(&r->now, "kernels");
    if (r->same || then == NULL || now == NULL || strcmp(then, now) == 0) {
        return PB_OK;
    }
    return pb_string_printf(out, "OPENBLAS_CORETYPE=%s selects the recorded kernels\n", then);
}

static pb_status put_verdict(const replay *r, pb_string *out)
{
    PB_TRY(pb_string_puts(out, "\n"));
    if (r->differences == 0) {
        return pb_string_printf(out, "equal: every result is the same, bit for bit%s\n",
                                r->same ? "" : ", in another setup");
    }
    PB_TRY(pb_string_printf(
        out, "differs: %" PRId64 " of the results%s\n", r->differences,
        r->same
            ? ", although backend, threads, kernels and version of results are the recorded ones"
            : "; backend, threads, kernels or version of results are not the recorded ones"));
    return put_hint(r, out);
}

static pb_status put_text(replay *r, pb_string *out)
{
    static const char *const machine[] = {"name", "recorded", "now", NULL};
    static const char *const results[] = {"result", "differ",  "first row", "recorded",
                                          "now",    "largest", NULL};
    PB_TRY(put_head(r, out));
    PB_TRY(put_table(r, machine, 3, "machine and versions that differ", compare_machines, out));
    PB_TRY(put_table(r, results, 1,
                     "results that differ: how many values, the first pair, the largest relative "
                     "difference",
                     compare_results, out));
    return put_verdict(r, out);
}

static pb_status put_json(replay *r, pb_string *out)
{
    pb_string key = {0};
    pb_json json  = pb_json_begin(out, PB_JSON_LINES, 1);
    PB_TRY(put_key(&r->then->key, &key));
    pb_json_put_text(&json, "cell", key.data);
    pb_string_clear(&key);
    pb_json_put_text(&json, "status", pb_record_state(r->then));
    pb_json_put_text(&json, "message", r->then->status != PB_OK ? r->then->message : NULL);
    pb_json_put_text(&json, "recorded", r->then->created);
    pb_json_put_bool(&json, "same_setup", r->same);
    r->json = &json;
    pb_json_put_array(&json, "machine", PB_JSON_LINES);
    PB_TRY(compare_machines(r));
    pb_json_end(&json);
    pb_json_put_array(&json, "differences", PB_JSON_LINES);
    PB_TRY(compare_results(r));
    pb_json_end(&json);
    pb_json_put_bool(&json, "equal", r->differences == 0);
    return pb_json_finish(&json, "\n");
}

static pb_status replay_record(void *context, const pb_record *whole)
{
    replay *r      = context;
    pb_string text = {0};
    r->then        = whole;
    pb_status status;
    PB_TRY_GOTO(status, repeat(r), done);
    status            = pb_cli_flag(r->cli, "json") ? put_json(r, &text) : put_text(r, &text);
    status            = cli_print_made(r->cli, status, &text);
    r->cli->exit_code = r->differences > 0 ? EXIT_DIFFERS : 0;
done:
    pb_record_clear(&r->now);
    return status;
}

static pb_status replay_file(pb_cli *cli)
{
    const char *path      = pb_cli_argument(cli, 0);
    const pb_record *cell = NULL;
    pb_results results    = {0};
    replay r              = {.cli = cli};
    pb_status status;
    PB_TRY(pb_results_open(&path, 1, &results));
    PB_TRY_GOTO(status, find_cell(&results, pb_cli_text(cli, "cell"), &cell), done);
    status = pb_record_visit(cell, replay_record, &r);
done:
    pb_results_clear(&results);
    return status;
}

/* Whatever prevents the comparison is not a difference: the exit code is 2. */
static pb_status run(pb_cli *cli)
{
    char message[4096];
    pb_status status = replay_file(cli);
    if (status == PB_OK || status == PB_STOPPED) {
        return status;
    }
    (void)snprintf(message, sizeof message, "%s", pb_error_message());
    return PB_FAIL(PB_ERR_CONFIG, "%s", message);
}

/* Both are the cell's. */
static const char *const without[] = {"seed", "set", NULL};

const pb_command command_replay = {
    .name  = "replay",
    .help  = "run a recorded cell again, and compare",
    .usage = "FILE.h5 --cell KEY [--model DIR] [--data DIR] [--json]",
    .details =
        "Configuration, method, seed, backend, threads, and the places of the model and the rows "
        "are those of the record; files with other contents than recorded are refused. "
        "On the same kind of machine, with the same libraries, the results are equal bit for bit; "
        "otherwise what differs is named: machine, versions, numbers, losses, predictions. "
        "--device, --dtype, --threads and --products change the setup. Exit code 0: equal; 1: "
        "results differ; 2: the cell cannot be run again.\n",
    .options       = {options},
    .min_arguments = 1,
    .max_arguments = 1,
    .computes      = true,
    .alone         = true,
    .without       = without,
    .run           = run,
};
