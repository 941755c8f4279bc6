// SPDX-License-Identifier: Apache-2.0
/* peftbench report: tables from result files. */
#include "commands.h"

#include "pb/file.h"
#include "pb/json.h"
#include "pb/memory.h"
#include "pb/report.h"
#include "pb/table.h"

#include <string.h>

typedef pb_status (*write_report)(const pb_results *results, const pb_report_options *how,
                                  pb_string *out);

/* csv is the long table too, as before there was another. */
static const char *const formats[]  = {"text",      "markdown", "latex", "csv", "csv-long",
                                       "csv-cells", "json",     "html",  NULL};
static const write_report writers[] = {pb_report_text, pb_report_markdown, pb_report_latex,
                                       pb_report_csv,  pb_report_csv,      pb_report_csv_cells,
                                       pb_report_json, pb_report_html};

/* In the order of pb_report_pairs. */
static const char *const pairs[] = {"best", "all", "none", NULL};

/* In the order of pb_report_best. */
static const char *const bests[] = {"validation", "score", "none", NULL};

#define TOLERANCE(member, value, help) \
    PB_FIELD_FLOAT(pb_report_tolerances, member, value, 0.0, 2.0, "", help)

static const pb_config_field tolerance_fields[] = {
    TOLERANCE(results, 0.0, "of --compare: the largest relative difference of scores and losses"),
    TOLERANCE(costs, 2.0, "of --compare: that of seconds and memory; 2 allows any"),
    PB_FIELD_END,
};

static const pb_option options[] = {
    PB_CLI_CHOICE("format", "FORMAT", "text", formats,
                  "text, markdown or latex: tables for people; csv-long (or csv): one line per "
                  "number; csv-cells: one per cell; json: one object; html: a page with figures"),
    PB_CLI_OUTPUT("PATH", false, "write to a file instead of standard output"),
    PB_CLI_CHOICE("pairs", "best|all|none", "best", pairs,
                  "paired tests in the text: of the best method, all, or none"),
    PB_CLI_CHOICE("best-by", "validation|score", "none", bests,
                  "one variant of each method for every model and data set: the best by mean "
                  "validation loss or score; none: all variants"),
    PB_CLI_FLAG("betas", "also PSCP under other exponents, and where methods swap their places"),
    PB_CLI_TEXT("plots", "DIR", NULL,
                "draw the figures of the page by gnuplot instead: SVG, PDF and their scripts"),
    PB_CLI_FLAG("compare", "compare two files; exit code 4 if they are not alike"),
    {.name = "tolerance", .fields = tolerance_fields, .key = "results"},
    {.name = "cost-tolerance", .fields = tolerance_fields, .key = "costs"},
    PB_CLI_FLAG("digest", "print only one hash over everything but timings"),
    PB_CLI_FLAG("json", "the same as --format json"),
    PB_OPTION_END,
};

static pb_status put_digest(const pb_results *results, bool json, pb_string *out)
{
    char digest[PB_HASH_TEXT];

    PB_TRY(pb_results_digest(results, digest));
    if (!json) {
        return pb_string_printf(out, "%s\n", digest);
    }
    pb_json writer = pb_json_begin(out, PB_JSON_INLINE, 0);
    pb_json_put_text(&writer, "digest", digest);
    return pb_json_finish(&writer, "\n");
}

static pb_status put_plots(const pb_results *results, const pb_report_options *how,
                           const char *directory, pb_string *out)
{
    int64_t count = 0;
    char plots[PB_TABLE_NUMBER];

    PB_TRY(pb_report_plots(results, how, directory, &count));
    return pb_string_printf(out, "%s in %s\n", pb_table_count(plots, count, "plot"), directory);
}

/* The place of a text in a NULL-terminated list that has it. */
static int place(const char *text, const char *const *list)
{
    int i = 0;

    while (strcmp(list[i], text) != 0) {
        i++;
    }
    return i;
}

static pb_status deliver(const pb_cli *cli, const pb_string *text)
{
    const char *path = pb_cli_text(cli, "output");

    return path != NULL ? pb_file_write_atomic(path, text->data, text->length)
                        : pb_cli_print(cli, text->data);
}

static pb_status make_report(const pb_cli *cli, const char *const *paths, pb_string *out)
{
    pb_report_options how     = {.pscp = pb_pscp_defaults(), .width = pb_cli_width(cli)};
    pb_report_choices choices = {0};
    pb_results results        = {0};
    const char *format        = pb_cli_flag(cli, "json") ? "json" : pb_cli_text(cli, "format");
    int best                  = place(pb_cli_text(cli, "best-by"), bests);
    bool digest               = pb_cli_flag(cli, "digest");
    pb_status status          = PB_OK;

    for (int i = 0; i < 2; i++) {
        const char *option = i == 0 ? "tolerance" : "cost-tolerance";
        if (pb_cli_given(cli, option)) {
            return PB_FAIL(PB_ERR_USAGE, "report: --%s is of --compare", option);
        }
    }
    if (digest && pb_cli_given(cli, "best-by")) {
        return PB_FAIL(PB_ERR_USAGE, "report: --digest is of all cells; leave --best-by out");
    }
    how.colour = pb_cli_text(cli, "output") == NULL && cli_takes_colour(cli);
    how.betas  = pb_cli_flag(cli, "betas");
    how.pairs  = (pb_report_pairs)place(pb_cli_text(cli, "pairs"), pairs);
    pb_cli_overlay(cli, pb_pscp_fields, &how.pscp);
    PB_TRY(pb_pscp_check(&how.pscp));
    PB_TRY(pb_results_open(paths, pb_cli_argument_count(cli), &results));
    if (bests[best + 1] != NULL) { /* not "none" */
        PB_TRY_GOTO(status, pb_report_choose(&results, (pb_report_best)best, &choices), out);
        how.choices = &choices;
    }
    status = digest ? put_digest(&results, format[0] == 'j', out)
             : pb_cli_given(cli, "plots")
                 ? put_plots(&results, &how, pb_cli_text(cli, "plots"), out)
                 : writers[place(format, formats)](&results, &how, out);
out:
    pb_report_choices_clear(&choices);
    pb_results_clear(&results);
    return status;
}

static pb_status check_compare(const pb_cli *cli)
{
    static const char *const others[] = {"digest", "betas", "best-by", "json", "pairs", "plots"};

    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (pb_cli_given(cli, others[i])) {
            return PB_FAIL(PB_ERR_USAGE, "report: --compare does not take --%s", others[i]);
        }
    }
    if (pb_cli_argument_count(cli) != 2) {
        return PB_FAIL(PB_ERR_USAGE, "report: --compare takes two files, A.h5 and B.h5");
    }
    return place(pb_cli_text(cli, "format"), formats) > PB_REPORT_FORM_LATEX
               ? PB_FAIL(PB_ERR_USAGE, "report: --compare takes --format text, markdown or latex")
               : PB_OK;
}

static pb_status compare(pb_cli *cli, const char *const *paths, pb_string *out)
{
    pb_report_options how           = {.width = pb_cli_width(cli)};
    pb_report_tolerances tolerances = {.results = 0, .costs = 2};
    pb_results both[2]              = {0};
    bool alike                      = true;
    pb_status status;

    PB_TRY(check_compare(cli));
    how.colour = pb_cli_text(cli, "output") == NULL && cli_takes_colour(cli);
    pb_cli_overlay(cli, tolerance_fields, &tolerances);
    PB_TRY_GOTO(status, pb_results_open(&paths[0], 1, &both[0]), out);
    PB_TRY_GOTO(status, pb_results_open(&paths[1], 1, &both[1]), out);
    /* The first forms of the report are those of a comparison, in the same order. */
    PB_TRY_GOTO(status,
                pb_report_compare(&both[0], &both[1], &tolerances, &how,
                                  (pb_report_form)place(pb_cli_text(cli, "format"), formats),
                                  &alike, out),
                out);
    cli->exit_code = alike ? 0 : 4;
out:
    pb_results_clear(&both[0]);
    pb_results_clear(&both[1]);
    return status;
}

static pb_status run(pb_cli *cli)
{
    const char **paths = NULL;
    pb_string text     = {0};
    pb_status status   = PB_OK;

    PB_TRY(PB_ALLOC(paths, pb_cli_argument_count(cli)));
    for (int i = 0; i < pb_cli_argument_count(cli); i++) {
        paths[i] = pb_cli_argument(cli, i);
    }
    PB_TRY_GOTO(status,
                pb_cli_flag(cli, "compare") ? compare(cli, paths, &text)
                                            : make_report(cli, paths, &text),
                out);
    PB_TRY_GOTO(status, deliver(cli, &text), out);
out:
    pb_string_clear(&text);
    pb_memory_free(paths);
    return status;
}

const pb_command command_report = {
    .name          = "report",
    .help          = "tables of scores, costs and PSCP from result files",
    .usage         = "FILE.h5… [--format FORMAT] [-o PATH] [--pairs best|all|none] [--betas] "
                     "[--best-by validation|score] [--width N] "
                     "[--beta-p X] [--beta-f X] [--beta-m X] [--digest] [--plots DIR] "
                     "[--compare [--tolerance X] [--cost-tolerance X]]",
    .details       = "In the tables, ? means not known and - means not applicable. Several "
                     "files are read as one sweep; a cell that is in more than one "
                     "counts once. Missing, failed and invalid cells are listed, and a mean "
                     "over only some data sets shows their number. results/README.md defines "
                     "the intervals and the paired tests of methods; CSV and JSON have all "
                     "pairs of methods. On a terminal the best of a row is bold and what failed is "
                     "red, unless NO_COLOR is set. LaTeX needs booktabs, graphicx and longtable.\n"
                     "--compare shows what two sweeps ran with where it differs, cells that only "
                     "one of them has, and how far scores, losses, times and memory are apart; a "
                     "difference is relative to the larger value.\n",
    .options       = {options, options_pscp},
    .first         = true,
    .stops         = true,
    .min_arguments = 1,
    .max_arguments = -1,
    .run           = run,
};
