// SPDX-License-Identifier: Apache-2.0
/* peftbench prompt: turns rows of a data set into messages, answers and chat texts, one JSON object
 * per sample. */
#include "prompt.h"
#include "commands.h"
#include "dataset_config.h"
#include "lines.h"
#include "session.h"

#include "pb/dataset.h"
#include "pb/json.h"
#include "pb/template.h"

#include <string.h>

static const char *const templates[] = {"llama3", "qwen3",  "gemma", "mistral",
                                        "phi3",   "chatml", "none",  NULL};
static const char *const splits[]    = {"train", "test", NULL};

static const pb_option options[] = {
    PB_CLI_TEXT("dataset", "NAME", NULL, "a name from configs/dataset or a path that ends in .cfg"),
    PB_CLI_CHOICE("protocol", "paper|corrected", NULL, pb_protocol_names, "whose rules apply"),
    PB_CLI_CHOICE("template", "NAME", NULL, templates,
                  "chat template: llama3, qwen3, gemma, mistral, phi3, chatml, none"),
    PB_CLI_CHOICE("split", "train|test", "test", splits, "purpose of the rows"),
    PB_CLI_TEXT("model", "DIR", NULL,
                "its tokenizer defines the first and the last token; default: those of the "
                "template's own model"),
    PB_CLI_LIST("set", "KEY=VALUE",
                "set a key of the data set's file, like dataset.instruction=\"Why?\""),
    PB_CLI_TEXT("explain", "NAME", NULL,
                "explain how the protocols differ for this data set; reads no rows"),
    PB_OPTION_END,
};

typedef struct job {
    const pb_cli *cli;
    const pb_dataset *ds;
    const pb_template *tpl;
    const pb_tokenizer *tokenizer; /* NULL: none was given */
    pb_split split;
    pb_row_texts texts;
    pb_string prompt, answer, line;
} job;

/* The correct answers besides the first one. */
static void put_references(pb_json *json, const pb_row_text *text)
{
    const char *next = text->references.data;

    if (text->reference_count == 0) {
        return;
    }
    pb_json_put_array(json, "references", PB_JSON_INLINE);
    for (int64_t i = 0; i < text->reference_count; i++) {
        pb_json_put_text(json, NULL, next);
        next += strlen(next) + 1;
    }
    pb_json_end(json);
}

static pb_status put_sample(job *j, const pb_row_text *text)
{
    const char *answer = text->has_answer ? text->answer.data : NULL;
    pb_json json       = pb_json_begin(&j->line, PB_JSON_INLINE, 0);

    pb_json_put_text(&json, "inputs", text->has_inputs ? text->user.data + text->body : NULL);
    pb_json_put_text(&json, "targets", text->has_inputs ? answer : NULL);
    pb_json_put_text(&json, "user", text->user.data);
    pb_json_put_text(&json, "assistant", answer);
    pb_json_put_bytes(&json, "prompt", j->prompt.data, j->prompt.length);
    if (answer != NULL) {
        pb_json_put_bytes(&json, "answer", j->answer.data, j->answer.length);
    } else {
        pb_json_put_null(&json, "answer");
    }
    put_references(&json, text);
    return pb_json_finish(&json, "\n");
}

static pb_status print_sample(job *j, const pb_row_text *text)
{
    const char *answer = text->has_answer ? text->answer.data : NULL;
    bool corrected     = pb_dataset_protocol(j->ds) == PB_PROTOCOL_CORRECTED;

    j->line.length   = 0;
    j->prompt.length = 0;
    j->answer.length = 0;
    PB_TRY(pb_template_text(j->tpl, j->tokenizer, text->user.data, answer, corrected, &j->prompt,
                            &j->answer));
    PB_TRY(put_sample(j, text));
    return pb_cli_print(j->cli, j->line.data);
}

static pb_status take(void *context, json_t *row, int64_t number)
{
    job *j = context;

    (void)number;
    PB_TRY(pb_dataset_build(j->ds, j->split, row, &j->texts));
    for (int64_t i = 0; i < j->texts.count; i++) {
        PB_TRY(print_sample(j, &j->texts.items[i]));
    }
    return PB_OK;
}

static pb_status print_samples(const pb_cli *cli, const pb_dataset *ds)
{
    bool train         = strcmp(pb_cli_text(cli, "split"), "train") == 0;
    pb_tokenizer *t    = NULL;
    pb_status status   = PB_OK;
    const char *folder = pb_cli_text(cli, "model");
    job j              = {.cli = cli, .ds = ds, .split = train ? PB_SPLIT_TRAIN : PB_SPLIT_TEST};

    PB_TRY(pb_template_find(pb_cli_text(cli, "template"), &j.tpl));
    if (folder != NULL) {
        PB_TRY(pb_tokenizer_open(folder, &t));
    }
    j.tokenizer = t;
    status      = lines_each("an object with the columns of a row", 0, take, &j);
    pb_row_texts_clear(&j.texts);
    pb_string_clear(&j.prompt);
    pb_string_clear(&j.answer);
    pb_string_clear(&j.line);
    pb_tokenizer_close(t);
    return status;
}

static pb_status check_given(const pb_cli *cli)
{
    static const char *const needed[]  = {"dataset", "protocol", "template", NULL};
    static const char *const reading[] = {"dataset", "protocol", "template",
                                          "split",   "model",    NULL};
    bool explain                       = pb_cli_given(cli, "explain");

    for (size_t i = 0; !explain && needed[i] != NULL; i++) {
        if (!pb_cli_given(cli, needed[i])) {
            return PB_FAIL(PB_ERR_USAGE, "prompt: --%s is missing; see peftbench prompt --help",
                           needed[i]);
        }
    }
    for (size_t i = 0; explain && reading[i] != NULL; i++) {
        if (pb_cli_given(cli, reading[i])) {
            return PB_FAIL(PB_ERR_USAGE, "prompt: --%s has no effect with --explain", reading[i]);
        }
    }
    return PB_OK;
}

/* The configuration of a data set. Its files of rows are not needed: their names may depend on the
 * environment. */
static pb_status open_config(const pb_cli *cli, pb_config **out)
{
    static const char *const groups[] = {"dataset", "data", NULL};
    bool explain                      = pb_cli_given(cli, "explain");
    const char *option                = explain ? "explain" : "dataset";

    return dataset_config_open(cli, explain ? "--explain" : "--dataset", pb_cli_text(cli, option),
                               groups, false, out);
}

static pb_status explain(const pb_cli *cli, const pb_config *config)
{
    pb_dataset_options dataset = {0};

    PB_TRY(pb_config_read(config, "dataset", pb_dataset_fields, pb_dataset_groups, &dataset));
    pb_status status = prompt_explain(cli, &dataset);
    pb_config_clear(pb_dataset_fields, &dataset);
    return status;
}

static pb_status build(const pb_cli *cli, const pb_config *config)
{
    pb_data_options data = {0};
    pb_dataset *ds       = NULL;

    PB_TRY(pb_config_read(config, "data", pb_data_fields, NULL, &data));
    pb_status status = pb_dataset_open(config, "dataset", dataset_config_protocol(cli), &data, &ds);
    if (status == PB_OK) {
        status = print_samples(cli, ds);
        pb_dataset_close(ds);
    }
    pb_config_clear(pb_data_fields, &data);
    return status;
}

static pb_status run(pb_cli *cli)
{
    pb_config *config = NULL;

    PB_TRY(check_given(cli));
    PB_TRY(open_config(cli, &config));
    pb_status status = pb_cli_given(cli, "explain") ? explain(cli, config) : build(cli, config);
    pb_config_close(config);
    return status;
}

const pb_command command_prompt = {
    .name    = "prompt",
    .help    = "what a model sees for the rows of a data set, on JSON lines",
    .usage   = "(--dataset NAME --protocol paper|corrected --template NAME [options] < LINES | "
               "--explain NAME)",
    .details = "Reads rows with the columns of the hub and prints for each sample "
               "{\"inputs\", \"targets\", \"user\", \"assistant\", \"prompt\", "
               "\"answer\"}: the original's columns inputs and targets (null where a set "
               "has none), message and answer, and both in the chat template; what has "
               "no answer has null. \"references\" are further correct answers that the "
               "sample accepts. A row may give several samples. Tolerated faults, "
               "such as empty texts, are kept. A line that cannot be used, or has more than "
               "64 MiB, ends the command.\n\n"
               "The paper protocol takes its instructions from the original's "
               "dataset_info.json: give its path in PB_PEFTBENCH_INFO or by --set "
               "data.peftbench_info=PATH.\n",
    .options = {options},
    .alone   = true,
    .run     = run,
};
