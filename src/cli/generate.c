// SPDX-License-Identifier: Apache-2.0
/* peftbench generate: greedy continuations of token rows or of a prompt. */
#include "commands.h"
#include "session.h"

#include "pb/json.h"
#include "pb/memory.h"

#include <string.h>

static const pb_option options[] = {
    PB_CLI_TEXT("ids-file", "FILE", NULL,
                "rows {\"input_ids\": […]}; padding that \"attention_mask\" marks is cut"),
    PB_CLI_TEXT("prompt", "TEXT", NULL, "a text instead of rows"),
    PB_CLI_TEXT("drafts", "FILE", NULL,
                "likely answers with their ends, rows as in --ids-file: the same ids sooner"),
    {.name     = "max-new-tokens",
     .kind     = PB_OPTION_INT,
     .value    = "N",
     .required = true,
     .minimum  = 1,
     .maximum  = 1048576,
     .help     = "maximum number of new ids per row"},
    PB_CLI_INT("batch", "N", "8", 1, 1048576,
               "rows at once: as many tokens as so many rows of mean length"),
    PB_CLI_FLAG("ignore-eos", "continue past the model's end-of-sequence token"),
    PB_OPTION_END,
};

static pb_status put_row(const session *s, const pb_generated *row, pb_string *text, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 0);
    pb_json_put_array(&json, "ids", PB_JSON_INLINE);
    for (int64_t i = 0; i < row->count; i++) {
        pb_json_put_int(&json, NULL, row->ids[i]);
    }
    pb_json_end(&json);
    if (s->tokenizer != NULL) {
        PB_TRY(pb_tokenizer_decode(s->tokenizer, row->ids, row->count, true, text));
        pb_json_put_bytes(&json, "text", text->data, text->length);
    } else {
        pb_json_put_null(&json, "text");
    }
    return pb_json_finish(&json, "\n");
}

static pb_status print_row(const pb_cli *cli, const session *s, const pb_generated *row)
{
    pb_string line = {0};
    pb_string text = {0};

    pb_status status = cli_print_made(cli, put_row(s, row, &text, &line), &line);
    pb_string_clear(&text);
    return status;
}

static pb_status read_drafts(const pb_cli *cli, int64_t vocab, session_rows *drafts)
{
    const char *path = pb_cli_text(cli, "drafts");
    return path != NULL ? session_rows_read(path, false, vocab, drafts) : PB_OK;
}

static pb_status generate(const pb_cli *cli, session *s, const pb_sample *prompts, int64_t count)
{
    const pb_model_config *c = pb_model_get_config(s->model);
    int32_t stops[PB_MODEL_EOS_MAX];
    int64_t stop_count    = pb_cli_flag(cli, "ignore-eos") ? 0 : c->eos_count;
    pb_generated *results = NULL;
    session_rows drafts   = {0};
    pb_status status;
    for (int64_t i = 0; i < stop_count; i++) {
        stops[i] = (int32_t)c->eos_ids[i];
    }
    pb_generate_options how = {
        .max_new_tokens = pb_cli_int(cli, "max-new-tokens"),
        .stop_ids       = stops,
        .stop_count     = stop_count,
        .batch          = pb_cli_int(cli, "batch"),
    };
    PB_TRY_GOTO(status, read_drafts(cli, c->vocab, &drafts), done);
    how.drafts      = drafts.samples;
    how.draft_count = drafts.count;
    PB_TRY_GOTO(status, PB_ALLOC(results, count), done);
    PB_TRY_GOTO(status, pb_network_generate(s->net, prompts, count, &how, results), done);
    for (int64_t i = 0; i < count; i++) {
        status = status == PB_OK ? print_row(cli, s, &results[i]) : status;
        pb_memory_free(results[i].ids);
    }
done:
    pb_memory_free(results);
    session_rows_clear(&drafts);
    return status;
}

static pb_status generate_prompt(const pb_cli *cli, session *s)
{
    const char *text = pb_cli_text(cli, "prompt");
    pb_ids ids       = {0};
    if (s->tokenizer == NULL) {
        return PB_FAIL(PB_ERR_NOT_FOUND, "%s has no tokenizer: give ids with --ids-file",
                       pb_cli_text(cli, "model"));
    }
    pb_status status;
    PB_TRY_GOTO(status, pb_tokenizer_encode(s->tokenizer, text, strlen(text), true, &ids), done);
    if (ids.count == 0) {
        status = PB_FAIL(PB_ERR_USAGE, "the prompt is empty");
        goto done;
    }
    PB_TRY_GOTO(status, generate(cli, s, &(pb_sample){.ids = ids.items, .length = ids.count}, 1),
                done);
done:
    pb_ids_clear(&ids);
    return status;
}

static pb_status run(pb_cli *cli)
{
    session s         = {0};
    session_rows rows = {0};
    const char *file  = pb_cli_text(cli, "ids-file");
    if ((file == NULL) == (pb_cli_text(cli, "prompt") == NULL)) {
        return PB_FAIL(PB_ERR_USAGE, "give either --ids-file or --prompt");
    }
    PB_TRY(session_open(cli, NULL, 0, &s));
    pb_status status;
    if (file == NULL) {
        status = generate_prompt(cli, &s);
    } else {
        status = session_rows_read(file, false, pb_model_get_config(s.model)->vocab, &rows);
        if (status == PB_OK) {
            status = generate(cli, &s, rows.samples, rows.count);
        }
    }
    session_rows_clear(&rows);
    session_close(&s);
    return status;
}

/* Nothing is random: the largest logit is taken. */
static const char *const without[] = {"seed", NULL};

const pb_command command_generate = {
    .name = "generate",
    .help = "greedy continuations of token rows or of a prompt",
    .usage =
        "--model DIR [--adapter DIR] (--ids-file FILE.jsonl | --prompt TEXT) --max-new-tokens N",
    .details  = "Prints one line per row: {\"ids\": […], \"text\": …}; the text is null "
                "if the model has no tokenizer.\n",
    .options  = {session_options, options},
    .computes = true,
    .without  = without,
    .alone    = true,
    .run      = run,
};
