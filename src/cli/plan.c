// SPDX-License-Identifier: Apache-2.0
/* peftbench plan: shows what a sweep would do, without training: every cell is expanded and
 * checked, and its cost predicted. */
#include "commands.h"

#include "pb/json.h"
#include "pb/table.h"

#include <inttypes.h>

/* A forecast, and its time on --ranks processes. */
typedef struct plan {
    pb_sweep_forecast forecast;
    int64_t ranks;
    double gflops;   /* stated; 0: measured */
    double makespan; /* seconds, modelled */
} plan;

static const pb_config_field fields[] = {
    PB_FIELD_FLOAT(
        plan, gflops, 0.0, 0.0, 1e9, "GFLOP/s",
        "rate of products in GFLOP/s; 0: measured, for which --device cuda needs a device"),
    PB_FIELD_END,
};

static const pb_option options[] = {
    PB_CLI_INT("ranks", "N", "1", 1, 1000000, "processes to simulate the sweep for"),
    {.name = "gflops", .fields = fields, .key = "gflops"},
    PB_OPTION_END,
};

static const char *message_of(const plan *p, int64_t cell)
{
    int64_t mistake = p->forecast.cells[cell].mistake;
    return mistake >= 0 ? p->forecast.mistakes.items[mistake].text : NULL;
}

static void put_cell(pb_json *json, const plan *p, int64_t i)
{
    const pb_sweep_foreseen *known = &p->forecast.cells[i];
    const pb_grid_cell *c          = known->cell;
    const pb_cell_prediction *q    = &known->prediction;

    pb_json_put_object(json, NULL, PB_JSON_INLINE);
    pb_json_put_text(json, "model", c->model);
    pb_json_put_text(json, "dataset", c->dataset);
    pb_json_put_text(json, "method", c->method);
    pb_json_put_int(json, "seed", c->seed);
    pb_json_put_int(json, "model_params", q->model_params);
    pb_json_put_int(json, "trainable_params", q->trainable_params);
    pb_json_put_number(json, "flops_forward_t", q->flops_forward_t, 9);
    pb_json_put_number(json, "flops_base_t", q->flops_base_t, 9);
    pb_json_put_number(json, "memory_gb_modelled", known->memory_gb, 6);
    pb_json_put_number(json, "device_memory_gb_modelled", known->device_gb, 6);
    pb_json_put_number(json, "seconds_modelled", known->seconds, 6);
    pb_json_put_object(json, "work", PB_JSON_INLINE);
    for (int k = 0; k < PB_WORK_KINDS; k++) {
        pb_json_put_number(json, pb_work_names[k], q->work.amount[k], 9);
    }
    pb_json_end(json);
    pb_json_put_int(json, "train_rows", known->rows.train.rows);
    pb_json_put_int(json, "test_rows", known->rows.test.rows);
    pb_json_put_number(json, "prompt_tokens", known->rows.train.prompt, 4);
    pb_json_put_number(json, "answer_tokens", known->rows.train.answer, 4);
    pb_json_put_text(json, "rows_from", pb_rows_source_names[known->rows.source]);
    pb_json_put_text(json, "error", message_of(p, i));
    pb_json_end(json);
}

static pb_status write_json(const plan *p, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 1);

    pb_json_put_array(&json, "cells", PB_JSON_LINES);
    for (int64_t i = 0; i < p->forecast.count; i++) {
        put_cell(&json, p, i);
    }
    pb_json_end(&json);
    pb_json_put_array(&json, "mistakes", PB_JSON_LINES);
    for (int64_t i = 0; i < p->forecast.mistakes.count; i++) {
        pb_json_put_object(&json, NULL, PB_JSON_INLINE);
        pb_json_put_text(&json, "message", p->forecast.mistakes.items[i].text);
        pb_json_put_int(&json, "cells", p->forecast.mistakes.items[i].count);
        pb_json_end(&json);
    }
    pb_json_end(&json);
    pb_json_put_int(&json, "ranks", p->ranks);
    pb_json_put_text(&json, "rate", p->gflops > 0 ? "stated" : "measured");
    pb_json_put_number(&json, "seconds_total_modelled", p->forecast.seconds, 6);
    pb_json_put_number(&json, "seconds_makespan_modelled", p->makespan, 6);
    pb_json_put_int(&json, "bad_cells", p->forecast.bad);
    return pb_json_finish(&json, "\n");
}

enum { COLUMNS = 10 };

/* Errors are listed below the table, each once for all its cells. */
static pb_status add_row(const plan *p, int64_t i, pb_table *table)
{
    const pb_sweep_foreseen *known = &p->forecast.cells[i];
    const pb_grid_cell *c          = known->cell;
    const pb_cell_prediction *q    = &known->prediction;

    PB_TRY(pb_table_add(table, "%s", c->model));
    PB_TRY(pb_table_add(table, "%s", c->dataset));
    PB_TRY(pb_table_add(table, "%s", c->method));
    PB_TRY(pb_table_add(table, "%" PRId64, c->seed));
    if (known->mistake >= 0) {
        PB_TRY(pb_table_add(table, "cannot run"));
        for (int k = 5; k < COLUMNS; k++) {
            PB_TRY(pb_table_add(table, PB_TABLE_UNKNOWN));
        }
        return PB_OK;
    }
    PB_TRY(pb_table_add(table, "%" PRId64, q->trainable_params));
    PB_TRY(pb_table_add_number(table, q->flops_forward_t, 6));
    PB_TRY(pb_table_add_number(table, q->flops_forward_t - q->flops_base_t, 6));
    PB_TRY(pb_table_add_number(table, known->memory_gb, 4));
    PB_TRY(pb_table_add_number(table, known->device_gb, 4));
    return pb_table_add_number(table, known->seconds, 1);
}

static pb_status write_table(const plan *p, int64_t width, pb_string *out)
{
    static const char *const header[] = {"model",     "dataset",    "method", "seed",
                                         "trainable", "TFLOPs/512", "extra",  "memory GB",
                                         "device GB", "seconds",    NULL};
    pb_table table;
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, pb_table_begin(&table, header, 3), out);
    for (int64_t i = 0; i < p->forecast.count; i++) {
        PB_TRY_GOTO(status, add_row(p, i, &table), out);
    }
    PB_TRY_GOTO(status, pb_table_print(&table, width, false, out), out);
out:
    pb_table_clear(&table);
    return status;
}

static pb_status write_text(const plan *p, int64_t width, pb_string *out)
{
    char cells[PB_TABLE_NUMBER];

    PB_TRY(write_table(p, width, out));
    for (int64_t i = 0; i < p->forecast.mistakes.count; i++) {
        const pb_mistake *m = &p->forecast.mistakes.items[i];
        PB_TRY(pb_string_printf(out, "%scannot run: %s (%s)\n", i == 0 ? "\n" : "", m->text,
                                pb_table_count(cells, m->count, "cell")));
    }
    PB_TRY(pb_string_puts(out, "\n"));
    return pb_table_note(out, width, 0,
                         "%s, %" PRId64 " cannot run; %.0f s of work, %.0f s on %" PRId64
                         " process%s, at the %s rate of products (seconds and memory are modelled, "
                         "the rest is counted)",
                         pb_table_count(cells, p->forecast.count, "cell"), p->forecast.bad,
                         p->forecast.seconds, p->makespan, p->ranks, p->ranks == 1 ? "" : "es",
                         p->gflops > 0 ? "stated" : "measured");
}

static pb_status print_plan(pb_cli *cli, const plan *p)
{
    pb_string text = {0};
    pb_status made =
        pb_cli_flag(cli, "json") ? write_json(p, &text) : write_text(p, pb_cli_width(cli), &text);

    return cli_print_made(cli, made, &text);
}

static pb_status run(pb_cli *cli)
{
    pb_sweep_options how = {0};
    pb_sweep *sweep      = NULL;
    plan p               = {.ranks = pb_cli_int(cli, "ranks")};
    pb_status status;

    pb_cli_overlay(cli, fields, &p);
    how.gflops = p.gflops;
    PB_TRY(cli_open_sweep(cli, &how, &sweep));
    PB_TRY_GOTO(status, pb_sweep_forecast_make(sweep, &p.forecast), out);
    PB_TRY_GOTO(status, pb_sweep_forecast_makespan(&p.forecast, p.ranks, &p.makespan), out);
    PB_TRY_GOTO(status, print_plan(cli, &p), out);
    if (p.forecast.bad > 0) {
        cli->exit_code = p.forecast.config ? 2 : 4;
    }
out:
    pb_sweep_forecast_clear(&p.forecast);
    pb_sweep_close(sweep);
    return status;
}

/* The seeds of a sweep are an axis. */
static const char *const without[] = {"seed", NULL};

const pb_command command_plan = {
    .name  = "plan",
    .help  = "expand and check a grid without training, with predicted costs",
    .usage = "GRID.cfg [--ranks N] [--gflops N] [--width N] [--json]",
    .details =
        "Needs config.json of every model, but not its weights, which `run` needs; "
        "if there are weights, also their headers and the tokenizer. All "
        "errors are listed at once.\n"
        "TFLOPs of one forward pass of 512 tokens, 2 per multiply-accumulate:\n"
        "2·n·(sum of in·out over linear layers, head included) + "
        "4·n·k·head_dim·heads·layers, n = 512 + virtual rows, k = n + virtual "
        "keys, plus the cost of the method at its sites.\n"
        "Seconds are modelled, at half the rate of a square product, measured or stated. A "
        "training row costs a forward, a backward down to the lowest trained layer, and 2·n FLOP "
        "per number trained at a site: about 2 forwards for adapters, 3 for full, 0 for none; a "
        "validation row one forward; a test row one over the prompt and each token of the answer, "
        "max_new_tokens at most. What the rows of a batch begin with counts once where no dropout "
        "acts; the head and most of the last layer count at answers only.\n"
        "Rows are those of the data set; tokens those of its first rows where the model's "
        "tokenizer is there, else 4 bytes each. A data set without files is taken as its group "
        "dataset.typical states.\n"
        "On a device: memory GB is the host's, device GB the weights, five values per trained "
        "parameter, and the passes over a batch of mean rows.\n"
        "Exit code 2 when a configuration is wrong, 4 when some cells cannot run "
        "for other reasons; `run` begins with the same checks.\n",
    .options       = {options},
    .min_arguments = 1,
    .max_arguments = 1,
    .computes      = true,
    .without       = without,
    .run           = run,
};
