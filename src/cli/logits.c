// SPDX-License-Identifier: Apache-2.0
/* peftbench logits: the logits of given ids, for comparison with other programs. */
#include "commands.h"
#include "session.h"

#include "pb/json.h"
#include "pb/memory.h"

#include <stdio.h>
#include <string.h>

static const pb_option options[] = {
    PB_CLI_FLAG("merge", "merge the adapter into the weights first"),
    PB_CLI_NEEDED("ids", "1,2,3", "token ids"),
    PB_CLI_OUTPUT("FILE", true, "safetensors file to write"),
    PB_CLI_FLAG(
        "hidden",
        "also the hidden states: hidden.0 is the embedding, the last one follows the final norm"),
    PB_OPTION_END,
};

typedef struct outputs {
    float *block;
    float **hidden;
    pb_named_tensor *tensors;
    char *names;
    int64_t count;
} outputs;

enum { NAME_SIZE = 32 };

/* Virtual rows are not part of the output: hidden states are computed for all rows and viewed from
 * the first token on. */
static pb_status open_outputs(const session *s, const pb_batch *batch, bool hidden, outputs *out)
{
    const pb_model_config *c = pb_model_get_config(s->model);
    int64_t rows             = batch->forest.rows;
    int64_t tokens           = batch->tokens;
    int64_t states           = hidden ? c->layers + 1 : 0;
    PB_TRY(PB_ALLOC(out->block, tokens * c->vocab + states * rows * c->width));
    PB_TRY(PB_ALLOC(out->hidden, c->layers + 1));
    PB_TRY(PB_ALLOC(out->tensors, 1 + states));
    PB_TRY(PB_ALLOC(out->names, NAME_SIZE * (1 + states)));
    strcpy(out->names, "logits");
    out->tensors[0] =
        (pb_named_tensor){out->names, pb_tensor_2d(out->block, PB_DTYPE_F32, tokens, c->vocab)};
    for (int64_t i = 0; i < states; i++) {
        char *name     = out->names + NAME_SIZE * (i + 1);
        out->hidden[i] = out->block + tokens * c->vocab + i * rows * c->width;
        snprintf(name, NAME_SIZE, "hidden.%lld", (long long)i);
        out->tensors[i + 1] =
            (pb_named_tensor){name, pb_tensor_2d(out->hidden[i] + batch->virtual_rows * c->width,
                                                 PB_DTYPE_F32, tokens, c->width)};
    }
    out->count = 1 + states;
    return PB_OK;
}

static void close_outputs(outputs *out)
{
    pb_memory_free(out->block);
    pb_memory_free(out->hidden);
    pb_memory_free(out->tensors);
    pb_memory_free(out->names);
}

static pb_status put_json(const pb_tensor *logits, const char *path, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 0);
    pb_json_put_int(&json, "rows", logits->shape[0]);
    pb_json_put_int(&json, "vocab", logits->shape[1]);
    pb_json_put_text(&json, "path", path);
    return pb_json_finish(&json, "\n");
}

static pb_status print_json(const pb_cli *cli, const pb_tensor *logits)
{
    pb_string text = {0};

    return cli_print_made(cli, put_json(logits, pb_cli_text(cli, "output"), &text), &text);
}

static pb_status compute(const pb_cli *cli, session *s, const pb_batch *batch)
{
    outputs out   = {0};
    int32_t *rows = NULL;
    bool hidden   = pb_cli_flag(cli, "hidden");
    pb_status status;
    PB_TRY_GOTO(status, open_outputs(s, batch, hidden, &out), done);
    PB_TRY_GOTO(status, PB_ALLOC(rows, batch->tokens), done);
    for (int64_t t = 0; t < batch->tokens; t++) {
        rows[t] = (int32_t)(batch->virtual_rows + t);
    }
    PB_TRY_GOTO(status,
                pb_network_logits(s->net, batch, rows, batch->tokens, out.block,
                                  hidden ? out.hidden : NULL),
                done);
    PB_TRY_GOTO(status,
                pb_safetensors_write(pb_cli_text(cli, "output"), out.tensors, out.count, NULL),
                done);
    if (pb_cli_flag(cli, "json")) {
        PB_TRY_GOTO(status, print_json(cli, &out.tensors[0].tensor), done);
    }
done:
    pb_memory_free(rows);
    close_outputs(&out);
    return status;
}

static pb_status run(pb_cli *cli)
{
    session s      = {0};
    pb_ids ids     = {0};
    pb_batch batch = {0};
    pb_status status;
    if (pb_cli_flag(cli, "merge") && pb_cli_text(cli, "adapter") == NULL) {
        return PB_FAIL(PB_ERR_USAGE, "logits: --merge needs an adapter to merge: give --adapter");
    }
    PB_TRY(session_open(cli, NULL, 0, &s));
    PB_TRY_GOTO(
        status,
        session_parse_ids(pb_cli_text(cli, "ids"), pb_model_get_config(s.model)->vocab, &ids),
        done);
    if (pb_cli_flag(cli, "merge")) {
        PB_TRY_GOTO(status, pb_network_merge(s.net), done);
    }
    pb_batch_options packing = pb_network_batch_options(s.net, false);
    packing.trim             = false;
    pb_sample sample         = {.ids = ids.items, .length = ids.count};
    PB_TRY_GOTO(status, pb_batch_build(&sample, 1, &packing, &batch), done);
    PB_TRY_GOTO(status, compute(cli, &s, &batch), done);
done:
    pb_batch_clear(&batch);
    pb_ids_clear(&ids);
    session_close(&s);
    return status;
}

/* Nothing is random. */
static const char *const without[] = {"seed", NULL};

const pb_command command_logits = {
    .name     = "logits",
    .help     = "logits and hidden states of token ids",
    .usage    = "--model DIR [--adapter DIR] [--merge] --ids 1,2,3 -o OUT.safetensors [--hidden]",
    .details  = "With --json it prints {\"rows\", \"vocab\", \"path\"}: the shape of the "
                "logits and the file they are in.\n",
    .options  = {session_options, options},
    .computes = true,
    .without  = without,
    .alone    = true,
    .run      = run,
};
