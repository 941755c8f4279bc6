// SPDX-License-Identifier: Apache-2.0
/* peftbench pscp: computes just the score, from a CSV table. */
#include "commands.h"

#include "pb/json.h"
#include "pb/report.h"
#include "pb/string.h"

#include <string.h>

const pb_option options_pscp[] = {
    {.name = "beta-p", .fields = pb_pscp_fields, .key = "beta_p"},
    {.name = "beta-f", .fields = pb_pscp_fields, .key = "beta_f"},
    {.name = "beta-m", .fields = pb_pscp_fields, .key = "beta_m"},
    PB_OPTION_END,
};

/* In the order of pb_report_form. */
static const char *const forms[] = {"text", "markdown", "latex", NULL};

static const pb_option options[] = {
    {.name = "c-p", .fields = pb_pscp_fields, .key = "c_p"},
    {.name = "c-f", .fields = pb_pscp_fields, .key = "c_f"},
    {.name = "c-m", .fields = pb_pscp_fields, .key = "c_m"},
    PB_CLI_CHOICE("format", "text|markdown|latex", "text", forms, "the form of the tables"),
    PB_CLI_FLAG("betas", "also at other exponents, and where methods swap their places"),
    PB_CLI_FLAG("json", "print one JSON object"),
    PB_OPTION_END,
};

static void put_row(const pb_pscp_row *row, const pb_pscp_result *r, pb_json *json)
{
    pb_json_put_object(json, NULL, PB_JSON_INLINE);
    pb_json_put_text(json, "method", row->method);
    pb_json_put_number(json, "pscp", r->pscp, PB_JSON_EXACT);
    pb_json_put_number(json, "cost_p", r->cost_p, PB_JSON_EXACT);
    pb_json_put_number(json, "cost_f", r->cost_f, PB_JSON_EXACT);
    pb_json_put_number(json, "cost_m", r->cost_m, PB_JSON_EXACT);
    pb_json_end(json);
}

static pb_status put_json(const pb_pscp_row *rows, int64_t count, const pb_pscp_params *params,
                          pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 0);

    pb_json_put_array(&json, "methods", PB_JSON_INLINE);
    for (int64_t i = 0; i < count; i++) {
        pb_pscp_result result = {0};
        PB_TRY(pb_error_prefix(pb_pscp(&rows[i].inputs, params, &result), "method %s",
                               rows[i].method));
        put_row(&rows[i], &result, &json);
    }
    pb_json_end(&json);
    return pb_json_finish(&json, "\n");
}

static pb_status run(pb_cli *cli)
{
    pb_report_options how = {.pscp   = pb_pscp_defaults(),
                             .width  = pb_cli_width(cli),
                             .colour = cli_takes_colour(cli),
                             .betas  = pb_cli_flag(cli, "betas")};
    pb_report_form form   = PB_REPORT_FORM_TEXT;
    pb_pscp_row *rows     = NULL;
    int64_t count         = 0;
    pb_string text        = {0};
    pb_status status      = PB_OK;

    if (pb_cli_flag(cli, "json") && (how.betas || pb_cli_given(cli, "format"))) {
        return PB_FAIL(PB_ERR_USAGE, "pscp: --json takes neither --betas nor --format");
    }
    while (strcmp(forms[form], pb_cli_text(cli, "format")) != 0) {
        form++;
    }
    pb_cli_overlay(cli, pb_pscp_fields, &how.pscp);
    PB_TRY(pb_pscp_check(&how.pscp));
    PB_TRY(pb_pscp_read(pb_cli_argument(cli, 0), &rows, &count));
    status = pb_cli_flag(cli, "json") ? put_json(rows, count, &how.pscp, &text)
                                      : pb_report_rows(rows, count, &how, form, &text);
    status = cli_print_made(cli, status, &text);
    pb_pscp_rows_free(rows, count);
    return status;
}

const pb_command command_pscp = {
    .name          = "pscp",
    .help          = "the PSCP score of the methods of a CSV table",
    .usage         = "TABLE.csv [--beta-p X] [--beta-f X] [--beta-m X] [--betas] "
                     "[--format text|markdown|latex] [--width N] [--json]",
    .details       = "Columns: method, score, params, flops_t (10^12, already the difference "
                     "to the base model), memory_gb (10^9 bytes); others are ignored. Each "
                     "method has one row; numbers are decimal, from 0 to 1e15.\n",
    .options       = {options_pscp, options},
    .first         = true,
    .min_arguments = 1,
    .max_arguments = 1,
    .run           = run,
};
