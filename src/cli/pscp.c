// SPDX-License-Identifier: Apache-2.0
/* peftbench pscp: the score alone, from a CSV table. */
#include "commands.h"

#include "pb/pscp.h"
#include "pb/string.h"

#include <inttypes.h>
#include <string.h>

static const pb_option options[] = {
    {.name     = "beta-p",
     .kind     = PB_OPTION_FLOAT,
     .value    = "X",
     .fallback = "1",
     .help     = "exponent of the cost of parameters"},
    {.name     = "beta-f",
     .kind     = PB_OPTION_FLOAT,
     .value    = "X",
     .fallback = "1",
     .help     = "exponent of the cost of operations"},
    {.name     = "beta-m",
     .kind     = PB_OPTION_FLOAT,
     .value    = "X",
     .fallback = "1",
     .help     = "exponent of the cost of memory"},
    {.name     = "c-p",
     .kind     = PB_OPTION_FLOAT,
     .value    = "X",
     .fallback = "5e8",
     .help     = "constant of parameters"},
    {.name     = "c-f",
     .kind     = PB_OPTION_FLOAT,
     .value    = "X",
     .fallback = "10",
     .help     = "constant of operations in TFLOP"},
    {.name     = "c-m",
     .kind     = PB_OPTION_FLOAT,
     .value    = "X",
     .fallback = "94",
     .help     = "constant of memory in GB"},
    {.name = "json", .kind = PB_OPTION_FLAG, .help = "print one JSON object"},
    PB_OPTION_END,
};

static pb_status put_row(const pb_pscp_row *row, const pb_pscp_result *r, bool json, bool first,
                         pb_string *out)
{
    if (!json) {
        return pb_string_printf(out, "%-20s %10.2f %8.4f %8.4f %8.4f\n", row->method, r->pscp,
                                r->cost_p, r->cost_f, r->cost_m);
    }
    PB_TRY(pb_string_puts(out, first ? "{\"method\": " : ", {\"method\": "));
    PB_TRY(pb_string_json(out, row->method, strlen(row->method)));
    return pb_string_printf(
        out, ", \"pscp\": %.17g, \"cost_p\": %.17g, \"cost_f\": %.17g, \"cost_m\": %.17g}", r->pscp,
        r->cost_p, r->cost_f, r->cost_m);
}

static pb_status put_rows(const pb_pscp_row *rows, int64_t count, const pb_pscp_params *params,
                          bool json, pb_string *out)
{
    PB_TRY(json ? pb_string_puts(out, "{\"methods\": [")
                : pb_string_printf(out, "%-20s %10s %8s %8s %8s\n", "method", "PSCP", "cost_p",
                                   "cost_f", "cost_m"));
    for (int64_t i = 0; i < count; i++) {
        pb_pscp_result result = {0};
        pb_status status      = pb_pscp(&rows[i].inputs, params, &result);
        if (status != PB_OK) {
            return pb_error_prefix(status, "method %s", rows[i].method);
        }
        PB_TRY(put_row(&rows[i], &result, json, i == 0, out));
    }
    return json ? pb_string_puts(out, "]}\n") : PB_OK;
}

static pb_status run(pb_cli *cli)
{
    const pb_pscp_params params = {.beta_p = pb_cli_float(cli, "beta-p"),
                                   .beta_f = pb_cli_float(cli, "beta-f"),
                                   .beta_m = pb_cli_float(cli, "beta-m"),
                                   .c_p    = pb_cli_float(cli, "c-p"),
                                   .c_f    = pb_cli_float(cli, "c-f"),
                                   .c_m    = pb_cli_float(cli, "c-m")};
    pb_pscp_row *rows           = NULL;
    int64_t count               = 0;
    pb_string text              = {0};
    pb_status status            = PB_OK;

    if (pb_comm_rank(cli->comm) != 0) {
        return PB_OK;
    }
    PB_TRY(pb_pscp_check(&params));
    PB_TRY(pb_pscp_read(pb_cli_argument(cli, 0), &rows, &count));
    PB_TRY_GOTO(status, put_rows(rows, count, &params, pb_cli_flag(cli, "json"), &text), out);
    PB_TRY_GOTO(status, pb_cli_print(cli, text.data), out);
out:
    pb_string_clear(&text);
    pb_pscp_rows_free(rows, count);
    return status;
}

const pb_command pb_command_pscp = {
    .name    = "pscp",
    .help    = "the PSCP score of the methods of a CSV table",
    .usage   = "TABLE.csv [--beta-p X] [--beta-f X] [--beta-m X] [--json]",
    .details = "Columns: method, score, params, flops_t (10^12, already the difference to the base "
               "model), memory_gb (10^9 bytes);\n"
               "others are left alone.\n",
    .options = options,
    .min_arguments = 1,
    .max_arguments = 1,
    .run           = run,
};
