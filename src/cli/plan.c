// SPDX-License-Identifier: Apache-2.0
/* peftbench plan: shows what a sweep would do, without training: every cell is expanded and
 * checked, and its cost predicted. */
#include "plan.h"

#include "pb/json.h"

#include <inttypes.h>

static const pb_config_field fields[] = {
    PB_FIELD_FLOAT(
        plan, gflops, 0.0, 0.0, 1e9, "GFLOP/s",
        "rate of products in GFLOP/s; 0: measured, for which --device cuda needs a device"),
    PB_FIELD_END,
};

static const pb_option options[] = {
    PB_CLI_INT("processes", "N", "1", 1, 1000000, "processes to simulate the sweep for"),
    PB_CLI_TEXT("from", "FILE.h5", NULL, "fit the rates of work to the cells of a results file"),
    PB_CLI_FLAG("cells", "list every cell"),
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

static void put_models(pb_json *json, const plan *p)
{
    pb_json_put_array(json, "models", PB_JSON_LINES);
    for (int64_t at = 0; at < p->forecast.count;) {
        plan_model m;
        at = plan_next_model(p, at, &m);
        pb_json_put_object(json, NULL, PB_JSON_INLINE);
        pb_json_put_text(json, "model", m.name);
        pb_json_put_int(json, "cells", m.cells);
        pb_json_put_number(json, "seconds_modelled", m.seconds, 6);
        pb_json_put_number(json, "memory_gb_modelled", m.memory_gb, 6);
        pb_json_put_number(json, "device_memory_gb_modelled", m.device_gb, 6);
        pb_json_end(json);
    }
    pb_json_end(json);
}

static void put_times(pb_json *json, const plan *p)
{
    pb_json_put_array(json, "walltimes", PB_JSON_LINES);
    for (int i = 0; i < PLAN_TIMES; i++) {
        pb_json_put_object(json, NULL, PB_JSON_INLINE);
        pb_json_put_int(json, "processes", p->counts[i]);
        pb_json_put_number(json, "seconds_modelled", p->times[i].seconds, 6);
        pb_json_put_number(json, "seconds_bound", p->times[i].bound, 6);
        pb_json_end(json);
    }
    pb_json_end(json);
}

static void put_rates(pb_json *json, const plan *p)
{
    if (p->from == NULL) {
        pb_json_put_number(json, "gflops", p->forecast.gflops, 6);
        return;
    }
    pb_json_put_object(json, "fit", PB_JSON_INLINE);
    pb_json_put_text(json, "file", p->from);
    pb_json_put_int(json, "cells", p->fit.cells);
    pb_json_put_number(json, "residual", p->fit.residual, 4);
    pb_json_put_object(json, "seconds_per_unit", PB_JSON_INLINE);
    for (int k = 0; k < PB_WORK_KINDS; k++) {
        pb_json_put_number(json, pb_work_names[k], p->fit.rates.seconds[k], PB_JSON_EXACT);
    }
    pb_json_end(json);
    pb_json_end(json);
}

static pb_status put_launch(pb_json *json, const plan *p)
{
    pb_string mpirun = {0};
    pb_string sbatch = {0};
    pb_status status = plan_launch(p, &mpirun, &sbatch);
    if (status == PB_OK) {
        pb_json_put_text(json, "mpirun", mpirun.data);
        pb_json_put_text(json, "sbatch", sbatch.data);
    }
    pb_string_clear(&mpirun);
    pb_string_clear(&sbatch);
    return status;
}

static pb_status write_json(const plan *p, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 1);

    pb_json_put_text(&json, "sweep", p->name);
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
    put_models(&json, p);
    put_times(&json, p);
    pb_json_put_int(&json, "processes", p->processes);
    pb_json_put_int(&json, "threads", p->forecast.threads);
    pb_json_put_int(&json, "processes_per_node", p->per_node);
    pb_json_put_int(&json, "node_sockets", p->node.sockets);
    pb_json_put_int(&json, "node_numa_domains", p->node.domains);
    pb_json_put_int(&json, "node_cores", p->node.cores);
    pb_json_put_text(&json, "rate", plan_rate(p));
    put_rates(&json, p);
    pb_json_put_number(&json, "seconds_total_modelled", p->forecast.seconds, 6);
    pb_json_put_number(&json, "seconds_largest_modelled", p->largest, 6);
    pb_json_put_number(&json, "seconds_makespan_modelled", p->times[1].seconds, 6);
    pb_json_put_number(&json, "node_memory_gb", p->memory_gb, 4);
    pb_json_put_number(&json, "disk_files_modelled", p->files, 9);
    pb_json_put_number(&json, "disk_bytes_modelled", p->bytes, 6);
    pb_json_put_int(&json, "datasets_assumed", p->assumed);
    pb_json_put_int(&json, "bad_cells", p->forecast.bad);
    PB_TRY(put_launch(&json, p));
    return pb_json_finish(&json, "\n");
}

static pb_status print_plan(pb_cli *cli, const plan *p)
{
    pb_string text = {0};
    pb_status made = pb_cli_flag(cli, "json")
                         ? write_json(p, &text)
                         : plan_write_text(p, pb_cli_flag(cli, "cells"), pb_cli_width(cli), &text);

    return cli_print_made(cli, made, &text);
}

static pb_status run(pb_cli *cli)
{
    pb_sweep_options how = {0};
    pb_sweep *sweep      = NULL;
    plan p = {.processes = pb_cli_int(cli, "processes"), .grid = pb_cli_argument(cli, 0)};
    pb_status status;

    pb_cli_overlay(cli, fields, &p);
    how.gflops = p.gflops;
    p.from     = pb_cli_text(cli, "from");
    if (p.from != NULL && p.gflops > 0) {
        return PB_FAIL(PB_ERR_USAGE, "plan: --gflops and --from both give the rate; leave one out");
    }
    if (p.from != NULL) {
        PB_TRY(pb_sweep_fit_read(p.from, &p.fit));
        how.rates = &p.fit.rates;
    }
    PB_TRY(cli_open_sweep(cli, &how, &sweep));
    PB_TRY_GOTO(status, pb_sweep_forecast_make(sweep, &p.forecast), out);
    p.name = pb_sweep_name(sweep);
    PB_TRY_GOTO(status, plan_sum_up(&p), out);
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
static const char *const without[] = {"seed", "products", NULL};

const pb_command command_plan = {
    .name = "plan",
    .help = "what a sweep takes: time, memory, disk; checks every cell without training",
    .usage =
        "GRID.cfg [--processes N] [--gflops N | --from FILE.h5] [--cells] [--width N] [--json]",
    .details =
        "Needs config.json of every model alone; where they are, the headers of its weights, the "
        "tokenizer and the rows of data sets are read too. All errors are listed at once.\n"
        "TFLOPs of one forward pass of 512 tokens, 2 per multiply-accumulate:\n"
        "2·n·(sum of in·out over linear layers, head included) + "
        "4·n·k·head_dim·heads·layers, n = 512 + virtual rows, k = n + virtual "
        "keys, plus the cost of the method at its sites.\n"
        "Seconds are modelled, at half the rate of a square product, measured or stated; with "
        "--from at rates that least squares fit to the training, validation and test of earlier "
        "cells, with fixed parts for each pass and cell; generation, which reads all weights for "
        "every token, is realistic with --from only. A "
        "training row costs a forward, a backward down to the lowest trained layer, and 2·n FLOP "
        "per number trained at a site: about 2 forwards for adapters, 3 for full, 0 for none; a "
        "validation row one forward; a test row one over the prompt and each token of the answer, "
        "max_new_tokens at most. What the rows of a batch begin with counts once where no dropout "
        "acts; the head and most of the last layer count at answers only.\n"
        "Rows are those of the data set; tokens those of its first rows where the model's "
        "tokenizer is there, else 4 bytes each. A data set without files is taken as its group "
        "dataset.typical states.\n"
        "On a device: memory GB is the host's, device GB the weights, five values per trained "
        "parameter, the passes over a batch of mean rows, and the keys and values of a test "
        "batch.\n"
        "Exit code 2 when a configuration is wrong, 4 when some cells cannot run "
        "for other reasons; `run` begins with the same checks.\n",
    .options       = {options},
    .min_arguments = 1,
    .max_arguments = 1,
    .computes      = true,
    .without       = without,
    .run           = run,
};
