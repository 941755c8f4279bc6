// SPDX-License-Identifier: Apache-2.0
/* peftbench run: the options of the main job (pb/sweep.h) and its tables. */
#include "commands.h"

#include "pb/log.h"
#include "pb/report.h"

static const pb_option options[] = {
    PB_CLI_OUTPUT("DIR", false, "folder of the results; default: run.output, else results/<sweep>"),
    PB_CLI_FLAG("keep-going", "cells that cannot run are recorded as failed, and the others run"),
    PB_CLI_FLAG("retry-failed", "run failed cells again"),
    PB_CLI_FLAG("fresh", "run every cell again, even those with results"),
    PB_CLI_FLAG("no-cache",
                "keep no tokens of data sets; default: run.cache, else $PB_CACHE, else DIR/tokens"),
    PB_CLI_TEXT("events", "FILE", NULL,
                "append what happens as JSON lines; processes other than the first: FILE.<rank>; "
                "in a folder: events.<job>.jsonl"),
    PB_CLI_TEXT("mllog", "FILE", NULL, "the same as lines of MLPerf's logs"),
    PB_CLI_FLAG("help-config", "print every key of the configuration"),
    PB_OPTION_END,
};

/* Prints the tables and, as the last line, the path of the results; with --json one object with
 * both. */
static pb_status write_report(const pb_cli *cli, const pb_results *results, const char *path,
                              pb_string *out)
{
    pb_report_options how = {.pscp   = pb_pscp_defaults(),
                             .width  = pb_cli_width(cli),
                             .colour = cli_takes_colour(cli),
                             .path   = path};
    if (pb_cli_flag(cli, "json")) {
        return pb_report_json(results, &how, out);
    }
    PB_TRY(pb_report_text(results, &how, out));
    return pb_string_printf(out, "%s\n", path);
}

static pb_status show(void *context, const pb_results *results, const char *path)
{
    pb_string text = {0};
    pb_status made = write_report(context, results, path, &text);

    pb_log_settle();
    return cli_print_made(context, made, &text);
}

static pb_status run_sweep(pb_cli *cli)
{
    pb_sweep_options how     = {.needs_weights = true,
                                .output        = pb_cli_text(cli, "output"),
                                .events        = pb_cli_text(cli, "events"),
                                .mllog         = pb_cli_text(cli, "mllog"),
                                .products      = pb_cli_text(cli, "products"),
                                .no_cache      = pb_cli_flag(cli, "no-cache"),
                                .keep_going    = pb_cli_flag(cli, "keep-going"),
                                .retry_failed  = pb_cli_flag(cli, "retry-failed"),
                                .fresh         = pb_cli_flag(cli, "fresh")};
    pb_sweep_outcome outcome = {0};
    pb_sweep *sweep          = NULL;

    PB_TRY(cli_open_sweep(cli, &how, &sweep));
    pb_status status = pb_sweep_run(sweep, show, cli, &outcome);
    cli->exit_code   = outcome.stopped ? 3 : outcome.failed > 0 ? 4 : 0;
    pb_sweep_close(sweep);
    return status;
}

static pb_status check_usage(const pb_cli *cli)
{
    if (pb_cli_argument_count(cli) != 1) {
        return PB_FAIL(PB_ERR_USAGE, "give one grid file; see peftbench run --help");
    }
    return PB_OK;
}

static pb_status run(pb_cli *cli)
{
    if (pb_cli_flag(cli, "help-config")) {
        return help_config_print(cli);
    }
    PB_TRY(pb_comm_agree(cli->comm, check_usage(cli)));
    return run_sweep(cli);
}

/* The seeds of a sweep are an axis. */
static const char *const without[] = {"seed", NULL};

const pb_command command_run = {
    .name          = "run",
    .help          = "run the cells of a grid that have no result yet, and merge",
    .usage         = "GRID.cfg [-o DIR] [--set KEY=VALUE]… [--keep-going] [--retry-failed] "
                     "[--fresh] [--events FILE] [--mllog FILE] [--width N]",
    .details       = "Start it under mpirun or srun, or directly. A name that `list grids` shows "
                     "also names a grid. Finished cells of the folder "
                     "are skipped, so the same command continues after a stop or a kill. "
                     "Errors that `plan` shows stop it before the first cell, all listed at "
                     "once, with exit code 2; --keep-going lets the other cells run. Writes "
                     "DIR/<sweep>.h5 and prints the tables of the finished cells; the path is the "
                     "last line. Seeds are an axis: --set sweep.seeds=[1,2]. Exit code 3: "
                     "stopped with everything kept; 4: some cells failed. Several jobs with the "
                     "same line may work in a folder at once: each runs cells that no other has, "
                     "and the last to end merges. A damaged shard is renamed to *.damaged, and its "
                     "cell is run again; shards of another configuration are kept and left out.\n",
    .options       = {options},
    .min_arguments = 0,
    .max_arguments = 1,
    .stops         = true,
    .computes      = true,
    .without       = without,
    .run           = run,
};
