// SPDX-License-Identifier: Apache-2.0
/* peftbench tokenize: converts texts to ids and back, one JSON object per line. */
#include "commands.h"
#include "bench/bench.h"
#include "lines.h"
#include "session.h"

#include "pb/json.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

static const pb_option options[] = {
    PB_CLI_NEEDED("model", "DIR",
                  "checkpoint in Hugging Face layout, or a folder with its tokenizer"),
    PB_CLI_FLAG("special", "add the special tokens of the tokenizer's post-processor"),
    PB_CLI_FLAG("decode", "from ids to text"),
    PB_CLI_FLAG("json-lines",
                "input and output are JSON lines (always the case; the option is optional)"),
    PB_CLI_FLAG("bench",
                "measure the speed of encoding, on one thread and on --threads; reads no input"),
    PB_CLI_TEXT("text", "FILE", NULL,
                "with --bench: the text; default: 20 MB of synthetic prose, code and scripts"),
    PB_CLI_INT("threads", "N", "0", 0, 4096,
               "with --bench: threads of the second run, 0: one per processor"),
    PB_CLI_INT("seed", "N", "42", 0, 1e15, "with --bench: seed of the synthetic text"),
    PB_CLI_FLAG("json", "with --bench: JSON lines"),
    PB_OPTION_END,
};

typedef struct job {
    const pb_cli *cli;
    pb_tokenizer *tokenizer;
    bool special, decode;
    pb_ids ids;
    pb_string text, line;
} job;

static pb_status encode(job *j, const json_t *row)
{
    const json_t *text = json_object_get(row, "text");

    if (!json_is_string(text)) {
        return PB_FAIL(PB_ERR_FORMAT, "expected {\"text\": \"…\"}");
    }
    j->ids.count = 0;
    PB_TRY(pb_tokenizer_encode(j->tokenizer, json_string_value(text), json_string_length(text),
                               j->special, &j->ids));
    pb_json json = pb_json_begin(&j->line, PB_JSON_INLINE, 0);
    pb_json_put_array(&json, "ids", PB_JSON_INLINE);
    for (int64_t i = 0; i < j->ids.count; i++) {
        pb_json_put_int(&json, NULL, j->ids.items[i]);
    }
    pb_json_end(&json);
    return pb_json_finish(&json, "\n");
}

/* Reads "ids" of a row; every one must be a token. */
static pb_status read_ids(job *j, const json_t *row)
{
    const json_t *list = json_object_get(row, "ids");

    if (!json_is_array(list)) {
        return PB_FAIL(PB_ERR_FORMAT, "expected {\"ids\": […]}");
    }
    j->ids.count = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        json_int_t id      = json_is_integer(item) ? json_integer_value(item) : -1;
        if (id < 0 || id > INT32_MAX || pb_tokenizer_token(j->tokenizer, (int32_t)id) == NULL) {
            return PB_FAIL(
                PB_ERR_FORMAT,
                "\"ids\"[%zu] is not an id of this tokenizer (whole numbers from 0 to %" PRId64 ")",
                i, pb_tokenizer_size(j->tokenizer) - 1);
        }
        PB_TRY(pb_ids_append(&j->ids, (int32_t)id));
    }
    return PB_OK;
}

static pb_status decode(job *j, const json_t *row)
{
    j->text.length = 0;
    PB_TRY(read_ids(j, row));
    PB_TRY(pb_tokenizer_decode(j->tokenizer, j->ids.items, j->ids.count, false, &j->text));
    pb_json json = pb_json_begin(&j->line, PB_JSON_INLINE, 0);
    pb_json_put_bytes(&json, "text", j->text.data, j->text.length);
    return pb_json_finish(&json, "\n");
}

static pb_status convert(void *context, json_t *row, int64_t number)
{
    job *j = context;

    (void)number;
    j->line.length = 0;
    PB_TRY(j->decode ? decode(j, row) : encode(j, row));
    return pb_cli_print(j->cli, j->line.data);
}

static pb_status run(pb_cli *cli)
{
    job j = {
        .cli     = cli,
        .special = pb_cli_flag(cli, "special"),
        .decode  = pb_cli_flag(cli, "decode"),
    };

    PB_TRY(pb_tokenizer_open(pb_cli_text(cli, "model"), &j.tokenizer));
    pb_status status = pb_cli_flag(cli, "bench")
                           ? bench_tokenize(cli, j.tokenizer)
                           : lines_each(j.decode ? "{\"ids\": […]}" : "{\"text\": \"…\"}",
                                        JSON_ALLOW_NUL, convert, &j);
    pb_ids_clear(&j.ids);
    pb_string_clear(&j.text);
    pb_string_clear(&j.line);
    pb_tokenizer_close(j.tokenizer);
    return status;
}

const pb_command command_tokenize = {
    .name  = "tokenize",
    .help  = "texts to token ids and back, on JSON lines",
    .usage = "--model DIR ([--special] [--decode] [--json-lines] < LINES | --bench [--text FILE])",
    .details = "Reads {\"text\": …} per line and prints {\"ids\": […]}; --decode works "
               "in the other direction and spells out special tokens. Special tokens spelled "
               "out in a text are recognised. Other keys of a line are ignored; a line that "
               "cannot be read, or has more than 64 MiB, ends the command.\n\n"
               "--bench prints megabytes (10^6 bytes) per second, the best of three rounds over "
               "rows of about 1 kB.\n",
    .options = {options},
    .alone   = true,
    .run     = run,
};
