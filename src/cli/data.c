// SPDX-License-Identifier: Apache-2.0
/* peftbench data: the contents of a data set's files, before anything is trained on them. */
#include "data.h"
#include "commands.h"
#include "dataset_config.h"
#include "bench/bench.h"
#include "session.h"

#include "pb/cell.h"
#include "pb/encoded.h"
#include "pb/memory.h"

#include <string.h>

static const char *const split_choices[] = {"train", "test", "both", NULL};

static const pb_option options[] = {
    PB_CLI_CHOICE("protocol", "paper|corrected", "corrected", pb_protocol_names,
                  "whose rules apply"),
    PB_CLI_TEXT("model", "DIR", NULL,
                "checkpoint, or a folder with its tokenizer: lengths in tokens too"),
    PB_CLI_TEXT("template", "NAME", "auto",
                "chat template, auto: of the model's family, which needs its config.json"),
    PB_CLI_CHOICE("split", "train|test|both", "both", split_choices,
                  "what to read; with both, training is compared with the test file"),
    PB_CLI_INT("examples", "N", "3", 0, 1000, "number of samples shown per split, from its start"),
    PB_CLI_TEXT("cache", "DIR", NULL,
                "with --model: makes the token files that a run with this folder finds"),
    PB_CLI_FLAG("bench",
                "measure reading, tokenising and the token cache on synthetic rows, without NAME"),
    PB_CLI_INT("rows", "N", "400000", 4, 1e8,
               "with --bench: the most rows; preceded by a quarter and a half of them"),
    PB_CLI_INT("seed", "N", "42", 0, 1e15, "with --bench: seed of the synthetic rows"),
    PB_CLI_INT("threads", "N", "0", 0, 4096, "0: one per processor"),
    PB_CLI_LIST("set", "KEY=VALUE",
                "set a key of that file, like dataset.test_file=\"x.csv\" or data.train_rows=100"),
    PB_CLI_FLAG("json", "the output is JSON"),
    PB_OPTION_END,
};

static pb_status open_dataset(const pb_cli *cli, data_job *job, pb_dataset **out)
{
    static const char *const groups[] = {"dataset", "data", NULL};
    pb_config *config                 = NULL;
    pb_status status;

    PB_TRY(dataset_config_open(cli, "data", pb_cli_argument(cli, 0), groups, true, &config));
    PB_TRY_GOTO(status, pb_config_read(config, "data", pb_data_fields, NULL, &job->data),
                out_config);
    PB_TRY_GOTO(status,
                pb_dataset_open(config, "dataset", dataset_config_protocol(cli), &job->data, out),
                out_data);
    pb_cell_check_answers(*out);
out_data:
    pb_config_clear(pb_data_fields, &job->data);
out_config:
    pb_config_close(config);
    return status;
}

/* Makes the token files of a run, or finds them. */
static pb_status prepare_tokens(const pb_cli *cli, data_job *job)
{
    const pb_encode_options encode      = {.tpl           = job->tpl,
                                           .tokenizer     = job->tokenizer,
                                           .cutoff_tokens = job->data.cutoff_tokens,
                                           .threads       = job->threads,
                                           .cache         = pb_cli_text(cli, "cache")};
    pb_encoded_set sets[PB_SPLIT_COUNT] = {0};
    pb_status status                    = PB_OK;

    for (int k = PB_SPLIT_COUNT - 1; k >= 0 && status == PB_OK; k--) {
        data_tokens *t = &job->tokens[k];
        status         = pb_encoded_open(job->ds, (pb_split)k, &encode,
                                 k == PB_SPLIT_TRAIN ? &sets[PB_SPLIT_TEST] : NULL, &sets[k]);
        t->prepared    = status == PB_OK;
        t->was_cached  = sets[k].from_cache;
        t->rows        = sets[k].count;
        t->tokens      = sets[k].total;
    }
    for (int k = 0; k < PB_SPLIT_COUNT; k++) {
        pb_encoded_close(&sets[k]);
    }
    return status;
}

static pb_status fail_problems(const data_job *job)
{
    for (int k = 0; k < PB_SPLIT_COUNT; k++) {
        if (job->splits[k].problem.length > 0) {
            return PB_FAIL(PB_ERR_FORMAT, "%s", job->splits[k].problem.data);
        }
    }
    return PB_OK;
}

/* The test split comes first, so that training can be compared with it. */
static pb_status measure(const pb_cli *cli, data_job *job)
{
    const pb_profile_options how = {.data      = &job->data,
                                    .tokenizer = job->tokenizer,
                                    .tpl       = job->tpl,
                                    .threads   = job->threads,
                                    .examples  = job->examples};
    const pb_profile *test       = NULL;
    pb_string text               = {0};
    bool is_good                 = true;

    for (int k = PB_SPLIT_COUNT - 1; k >= 0; k--) {
        if (job->wanted[k]) {
            PB_TRY(pb_profile_split(job->ds, (pb_split)k, &how, test, &job->splits[k]));
            test    = &job->splits[k];
            is_good = is_good && job->splits[k].problem.length == 0;
        }
    }
    if (is_good && pb_cli_given(cli, "cache")) {
        PB_TRY(prepare_tokens(cli, job));
    }
    pb_status made = job->json ? data_json(job, &text) : data_text(job, &text);
    PB_TRY(cli_print_made(cli, made, &text));
    return fail_problems(job);
}

static pb_status run_dataset(const pb_cli *cli, int threads)
{
    const char *model = pb_cli_text(cli, "model");
    const char *split = pb_cli_text(cli, "split");
    pb_dataset *ds    = NULL;
    data_job job      = {.threads                = threads,
                         .examples               = pb_cli_int(cli, "examples"),
                         .width                  = pb_cli_width(cli),
                         .json                   = pb_cli_flag(cli, "json"),
                         .wanted[PB_SPLIT_TRAIN] = strcmp(split, "test") != 0,
                         .wanted[PB_SPLIT_TEST]  = strcmp(split, "train") != 0};
    pb_status status;

    PB_TRY(open_dataset(cli, &job, &ds));
    job.ds = ds;
    if (model != NULL) {
        PB_TRY_GOTO(
            status,
            session_tokenizer(model, pb_cli_text(cli, "template"), &job.tokenizer, &job.tpl),
            out_job);
    }
    PB_TRY_GOTO(status, measure(cli, &job), out_job);
out_job:
    for (int k = 0; k < PB_SPLIT_COUNT; k++) {
        pb_profile_clear(&job.splits[k]);
    }
    pb_tokenizer_close(job.tokenizer);
    pb_dataset_close(ds);
    return status;
}

/* Options without effect are errors. */
static pb_status check_options(const pb_cli *cli, bool bench)
{
    static const char *const of_bench[]   = {"rows", "seed", NULL};
    static const char *const of_dataset[] = {"protocol", "split", "examples", "cache", "set", NULL};

    if (bench == (pb_cli_argument_count(cli) > 0)) {
        return PB_FAIL(PB_ERR_USAGE, "data: %s; usage: peftbench data %s",
                       bench ? "--bench generates its rows, leave out the name"
                             : "the name of a data set is missing",
                       cli->command->usage);
    }
    for (const char *const *name = bench ? of_dataset : of_bench; *name != NULL; name++) {
        if (pb_cli_given(cli, *name)) {
            return PB_FAIL(PB_ERR_USAGE, "data: --%s has no effect %s --bench; leave it out", *name,
                           bench ? "with" : "without");
        }
    }
    if (pb_cli_given(cli, "template") && !pb_cli_given(cli, "model")) {
        return PB_FAIL(PB_ERR_USAGE, "data: --template needs --model DIR");
    }
    if (pb_cli_given(cli, "cache") &&
        (!pb_cli_given(cli, "model") || strcmp(pb_cli_text(cli, "split"), "both") != 0)) {
        return PB_FAIL(PB_ERR_USAGE, "data: --cache needs --model DIR and both splits");
    }
    return PB_OK;
}

static pb_status run(pb_cli *cli)
{
    bool bench  = pb_cli_flag(cli, "bench");
    int threads = 0;

    PB_TRY(check_options(cli, bench));
    PB_TRY(session_threads(cli, &threads));
    return bench ? bench_data(cli, threads) : run_dataset(cli, threads);
}

const pb_command command_data = {
    .name    = "data",
    .help    = "the contents of a data set's files: faults, answers, lengths, overlap, examples",
    .usage   = "(NAME [--model DIR] [--protocol paper|corrected] [--width N] | --bench [--rows N])",
    .details = "NAME is a name from configs/dataset or a path that ends in .cfg. Its "
               "files are named there, mostly below ${PB_DATA}. Rows that a run would "
               "leave out are counted, not measured; if there are more of them than "
               "data.max_bad_share allows, the summary is still printed, with exit code 1.\n\n"
               "Lengths are exact percentiles: the smallest length that P % of the samples do not "
               "exceed; characters are code points, tokens are those of the whole "
               "row before the cutoff. Memory grows with the rows only by about "
               "40 bytes per distinct text, 55 per distinct answer, and 4 per length "
               "from 65536 on.\n\n"
               "--bench writes rows like those of MNLI below $TMPDIR and removes them at "
               "the end; an interrupt takes effect after the current stage. It prints "
               "wall-clock seconds, seconds of all threads together, and rates by stage, "
               "and the most memory held beyond the token rows themselves; with --json a "
               "line for each number of rows. \"MB\" is 10^6 bytes.\n",
    .options = {options},
    .max_arguments = 1,
    .alone         = true,
    .run           = run,
};
