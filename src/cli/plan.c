// SPDX-License-Identifier: Apache-2.0
/* peftbench plan: what a sweep would do, without training: every cell is expanded and checked, and
 * its cost predicted. */
#include "commands.h"
#include "sweep.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

static const pb_option options[] = {
    {.name     = "ranks",
     .kind     = PB_OPTION_INT,
     .value    = "N",
     .fallback = "1",
     .minimum  = 1,
     .maximum  = 1000000,
     .help     = "processes to simulate the sweep for"},
    PB_OPTION_END,
};

typedef struct plan_cell {
    pb_cell_prediction prediction;
    pb_status status;
    char *message;  /* NULL when the cell is fine */
    pb_string data; /* the groups that its rows follow from */
    pb_cell_rows rows;
    double seconds; /* modelled */
} plan_cell;

typedef struct plan {
    const pb_cli *cli;
    sweep sweep;
    plan_cell *cells;
    int64_t bad;
} plan;

/* Files are read once for all cells that take the same rows of them, whatever the overrides. */
static pb_status check_data(plan *p, int64_t i)
{
    pb_cell cell = sweep_cell(&p->sweep, i);
    plan_cell *c = &p->cells[i];
    PB_TRY(pb_cell_data_text(&cell, &c->data));
    for (int64_t k = 0; k < i; k++) {
        const plan_cell *before = &p->cells[k];
        if (before->status == PB_OK && strcmp(before->data.data, c->data.data) == 0) {
            c->rows = before->rows;
            return PB_OK;
        }
    }
    return pb_cell_check_data(&cell, &c->rows);
}

static pb_status check_cell(plan *p, int64_t i)
{
    pb_cell cell = sweep_cell(&p->sweep, i);
    plan_cell *c = &p->cells[i];
    c->status    = pb_cell_predict(p->sweep.env, &cell, &c->prediction);
    if (c->status == PB_OK) {
        c->status = check_data(p, i);
    }
    if (c->status == PB_OK) {
        c->status = pb_cell_predict_seconds(p->sweep.env, &cell, &c->rows, &c->seconds);
    }
    if (c->status == PB_OK) {
        return PB_OK;
    }
    if (c->status == PB_ERR_MEMORY) {
        return pb_error_frame(c->status, __FILE__, __LINE__, __func__);
    }
    c->message = pb_memory_text(pb_error_message());
    pb_error_clear();
    p->bad++;
    return c->message != NULL ? PB_OK : PB_ERR_MEMORY;
}

/* In the order of the run, each to the process that is free first. */
static pb_status makespan(const plan *p, int64_t ranks, double *seconds)
{
    double *busy = NULL;
    PB_TRY(PB_ALLOC(busy, ranks));
    *seconds = 0.0;
    for (int64_t i = 0; i < p->sweep.cells.count; i++) {
        int64_t first = 0;
        for (int64_t r = 1; r < ranks; r++) {
            first = busy[r] < busy[first] ? r : first;
        }
        busy[first] += p->cells[i].seconds;
        *seconds = busy[first] > *seconds ? busy[first] : *seconds;
    }
    pb_memory_free(busy);
    return PB_OK;
}

static pb_status write_json(const plan *p, int64_t ranks, double span, double total, pb_string *out)
{
    PB_TRY(pb_string_puts(out, "{\"cells\": ["));
    for (int64_t i = 0; i < p->sweep.cells.count; i++) {
        const pb_grid_cell *c       = &p->sweep.cells.items[i];
        const pb_cell_prediction *q = &p->cells[i].prediction;
        const char *texts[] = {"model", c->model, "dataset", c->dataset, "method", c->method};
        PB_TRY(pb_string_puts(out, i > 0 ? ",\n {" : "\n {"));
        for (int k = 0; k < 6; k += 2) {
            PB_TRY(pb_string_printf(out, "\"%s\": ", texts[k]));
            PB_TRY(pb_string_json(out, texts[k + 1], strlen(texts[k + 1])));
            PB_TRY(pb_string_puts(out, ", "));
        }
        PB_TRY(pb_string_printf(
            out,
            "\"seed\": %" PRId64 ", \"model_params\": %" PRId64 ", \"trainable_params\": %" PRId64
            ", \"flops_forward_t\": %.9g, \"flops_base_t\": %.9g, \"memory_gb_modelled\": %.6g, "
            "\"seconds_modelled\": %.6g, \"train_rows\": %" PRId64 ", \"test_rows\": %" PRId64
            ", \"error\": ",
            c->seed, q->model_params, q->trainable_params, q->flops_forward_t, q->flops_base_t,
            q->memory_gb, p->cells[i].seconds, p->cells[i].rows.train.rows,
            p->cells[i].rows.test.rows));
        const char *message = p->cells[i].message;
        PB_TRY(message != NULL ? pb_string_json(out, message, strlen(message))
                               : pb_string_puts(out, "null"));
        PB_TRY(pb_string_puts(out, "}"));
    }
    return pb_string_printf(
        out,
        "],\n \"ranks\": %" PRId64
        ", \"seconds_total_modelled\": %.6g, \"seconds_makespan_modelled\": %.6g, "
        "\"bad_cells\": %" PRId64 "}\n",
        ranks, total, span, p->bad);
}

static pb_status write_text(const plan *p, int64_t ranks, double span, double total, pb_string *out)
{
    PB_TRY(pb_string_printf(out, "%-20s %-16s %-16s %8s %12s %11s %10s %10s %9s\n", "model",
                            "dataset", "method", "seed", "trainable", "TFLOPs/512", "extra",
                            "memory GB", "seconds"));
    for (int64_t i = 0; i < p->sweep.cells.count; i++) {
        const pb_grid_cell *c       = &p->sweep.cells.items[i];
        const pb_cell_prediction *q = &p->cells[i].prediction;
        PB_TRY(pb_string_printf(out, "%-20s %-16s %-16s %8" PRId64, c->model, c->dataset, c->method,
                                c->seed));
        if (p->cells[i].message != NULL) {
            PB_TRY(pb_string_printf(out, "  cannot run: %s\n", p->cells[i].message));
            continue;
        }
        PB_TRY(pb_string_printf(out, " %12" PRId64 " %11.6f %10.6f %10.4f %9.1f\n",
                                q->trainable_params, q->flops_forward_t,
                                q->flops_forward_t - q->flops_base_t, q->memory_gb,
                                p->cells[i].seconds));
    }
    return pb_string_printf(out,
                            "\n%" PRId64 " cells, %" PRId64
                            " cannot run; %.0f s of work, %.0f s on %" PRId64
                            " processes (seconds and memory are modelled, the rest is counted)\n",
                            p->sweep.cells.count, p->bad, total, span, ranks);
}

static pb_status run_plan(plan *p)
{
    pb_string text = {0};
    double span    = 0.0;
    double total   = 0.0;
    int64_t ranks  = pb_cli_int(p->cli, "ranks");
    PB_TRY(sweep_open(p->cli, false, &p->sweep));
    PB_TRY(PB_ALLOC(p->cells, p->sweep.cells.count));
    for (int64_t i = 0; i < p->sweep.cells.count; i++) {
        PB_TRY(check_cell(p, i));
        total += p->cells[i].seconds;
    }
    PB_TRY(makespan(p, ranks, &span));
    pb_status status = pb_cli_flag(p->cli, "json") ? write_json(p, ranks, span, total, &text)
                                                   : write_text(p, ranks, span, total, &text);
    if (status == PB_OK) {
        status = pb_cli_print(p->cli, text.data);
    }
    pb_string_clear(&text);
    return status;
}

static pb_status run(pb_cli *cli)
{
    plan p           = {.cli = cli};
    pb_status status = run_plan(&p);
    for (int64_t i = 0; p.cells != NULL && i < p.sweep.cells.count; i++) {
        pb_memory_free(p.cells[i].message);
        pb_string_clear(&p.cells[i].data);
    }
    pb_memory_free(p.cells);
    cli->exit_code = status == PB_OK && p.bad > 0 ? 4 : 0;
    sweep_close(&p.sweep);
    return status;
}

const pb_command pb_command_plan = {
    .name    = "plan",
    .help    = "expand and check a grid without training, with predicted costs",
    .usage   = "GRID.cfg [--ranks N] [--json]",
    .details = "Needs config.json of every model, not its weights; where there are weights, the "
               "tokenizer too.\n"
               "TFLOPs of one forward pass of 512 tokens, 2 per multiply-accumulate:\n"
               "2·n·(sum of in·out over linear layers, head included) + "
               "4·n·k·head_dim·heads·layers, n = 512 + virtual rows,\n"
               "k = n + virtual keys, and what the method adds at its sites.\n"
               "Seconds are modelled, at half the measured rate of a square product and without "
               "validation. A training row costs a\n"
               "forward, a backward down to the lowest trained layer, and 2·n FLOP per number "
               "trained at a site: about 2 forwards for\n"
               "adapters, 3 for full, 0 for none. A test row costs one forward over prompt and "
               "answer, of max_new_tokens at most.\n"
               "The head counts at answers only. Rows are those of the data set, at 4 bytes a "
               "token.\n"
               "Exit code 4 when some cells cannot run.\n",
    .options = {options},
    .min_arguments = 1,
    .max_arguments = 1,
    .computes      = true,
    .run           = run,
};
