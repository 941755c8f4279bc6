// SPDX-License-Identifier: Apache-2.0
/* peftbench train: a training run over given token rows, for comparison with other programs. */
#include "commands.h"
#include "session.h"

#include "pb/adapter.h"
#include "pb/file.h"
#include "pb/json.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/train.h"

#include <stdio.h>

static const pb_option options[] = {
    PB_CLI_TEXT("method", "FILE.cfg", NULL,
                "a new adapter from the group method of this file; its group train counts too"),
    PB_CLI_NEEDED(
        "batches", "FILE.jsonl",
        "rows {\"input_ids\", \"labels\"}, used in file order, wrapping around at the end; "
        "padding that \"attention_mask\" marks is cut"),
    {.name     = "steps",
     .kind     = PB_OPTION_INT,
     .value    = "N",
     .required = true,
     .minimum  = 1,
     .maximum  = 1e9,
     .help     = "steps of the run"},
    {.name = "batch", .fields = pb_train_fields, .key = "batch"},
    {.name = "accumulate", .fields = pb_train_fields, .key = "accumulate"},
    {.name = "lr", .fields = pb_train_fields, .key = "learning_rate"},
    {.name = "beta1", .fields = pb_train_fields, .key = "beta1"},
    {.name = "beta2", .fields = pb_train_fields, .key = "beta2"},
    {.name = "eps", .fields = pb_train_fields, .key = "eps"},
    {.name = "weight-decay", .fields = pb_train_fields, .key = "weight_decay"},
    {.name = "decay-all", .fields = pb_train_fields, .key = "decay_all"},
    {.name = "warmup-ratio", .fields = pb_train_fields, .key = "warmup_ratio"},
    {.name = "clip", .fields = pb_train_fields, .key = "clip"},
    PB_CLI_TEXT("dump-grads", "FILE", NULL, "write the first step's gradients, before clipping"),
    PB_CLI_TEXT("dump-final", "FILE", NULL, "write the trained tensors by name"),
    PB_CLI_TEXT("save", "DIR", NULL, "write an HF adapter (full: a checkpoint)"),
    PB_OPTION_END,
};

typedef struct context {
    const pb_cli *cli;
    session *session;
} context;

static pb_status on_gradients(void *opaque, int64_t step)
{
    const context *c = opaque;
    const char *path = pb_cli_text(c->cli, "dump-grads");
    return step == 1 && path != NULL
               ? pb_method_write_tensors(c->session->method, PB_LIST_GRADIENTS, path)
               : PB_OK;
}

static pb_status put_step(const pb_train_step *s, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 0);
    pb_json_put_int(&json, "step", s->step - 1);
    pb_json_put_number(&json, "loss", s->loss, PB_JSON_EXACT);
    pb_json_put_number(&json, "lr", s->lr, PB_JSON_EXACT);
    pb_json_put_number(&json, "grad_norm", s->grad_norm, PB_JSON_EXACT);
    pb_json_put_int(&json, "tokens", s->tokens);
    pb_json_put_int(&json, "label_tokens", s->label_tokens);
    pb_json_put_fixed(&json, "seconds", s->seconds, 6);
    return pb_json_finish(&json, "\n");
}

static pb_status on_step(void *opaque, const pb_train_step *s)
{
    const context *c = opaque;
    pb_string line   = {0};

    return cli_print_made(c->cli, put_step(s, &line), &line);
}

/* Logs which keys the group `train` of the method's file sets. */
static pb_status tell_group(const pb_config *config)
{
    pb_string keys  = {0};
    const char *key = NULL;
    pb_status status;
    PB_TRY_GOTO(status, pb_config_key(config, "train", 0, &key), done);
    for (int64_t i = 1; key != NULL; i++) {
        PB_TRY_GOTO(status, pb_string_printf(&keys, "%s%s", i > 1 ? ", " : "", key), done);
        PB_TRY_GOTO(status, pb_config_key(config, "train", i, &key), done);
    }
    if (keys.length > 0) {
        pb_log_info("%s: its group train sets %s, unless an option does", pb_config_path(config),
                    keys.data);
    }
done:
    pb_string_clear(&keys);
    return status;
}

/* Options of the command line override the group `train` of the method's file, which overrides the
 * defaults. */
static pb_status read_options(const pb_cli *cli, const pb_config *config, pb_train_options *o)
{
    PB_TRY(pb_config_defaults(pb_train_fields, o));
    if (config != NULL && pb_config_has(config, "train")) {
        PB_TRY(pb_config_overlay(config, "train", pb_train_fields, NULL, o));
        PB_TRY(tell_group(config));
    }
    pb_cli_overlay(cli, pb_train_fields, o);
    o->max_steps = pb_cli_int(cli, "steps");
    o->epochs    = 1e6;
    o->shuffle   = false;
    return PB_OK;
}

/* Creates and removes the temporary file with which writing `path` will begin. */
static pb_status probe(const char *path)
{
    char *temporary = NULL;
    if (pb_path_is_directory(path)) {
        return PB_FAIL(PB_ERR_IO, "%s is a directory; name a file", path);
    }
    PB_TRY(pb_file_temporary_create(path, &temporary));
    (void)remove(temporary);
    pb_memory_free(temporary);
    return PB_OK;
}

/* All outputs written at the end of the run are tried before its first step. */
static pb_status check_outputs(const pb_cli *cli)
{
    static const char *const files[] = {"dump-grads", "dump-final"};
    const char *directory            = pb_cli_text(cli, "save");
    char *inside                     = NULL;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = pb_cli_text(cli, files[i]);
        PB_TRY(pb_error_prefix(path != NULL ? probe(path) : PB_OK, "--%s", files[i]));
    }
    if (directory == NULL) {
        return PB_OK;
    }
    pb_status status;
    PB_TRY_GOTO(status, pb_path_make_directories(directory), done);
    PB_TRY_GOTO(status, pb_path_join(directory, "adapter", &inside), done);
    PB_TRY_GOTO(status, probe(inside), done);
done:
    pb_memory_free(inside);
    return pb_error_prefix(status, "--save");
}

/* True if the reader of standard output is gone and there are no files to write. */
static bool is_in_vain(void *opaque)
{
    const context *c = opaque;
    return !pb_cli_is_heard() && pb_cli_text(c->cli, "save") == NULL &&
           pb_cli_text(c->cli, "dump-final") == NULL;
}

static pb_status train(const pb_cli *cli, session *s, const session_rows *rows)
{
    context c                  = {.cli = cli, .session = s};
    pb_train_data data         = {.train = rows->samples, .train_count = rows->count};
    pb_train_observer observer = {
        .context = &c, .step = on_step, .gradients = on_gradients, .stop = is_in_vain};
    pb_train_options how = {0};
    pb_train_result result;
    const char *final = pb_cli_text(cli, "dump-final");
    const char *save  = pb_cli_text(cli, "save");
    PB_TRY(read_options(cli, s->config, &how));
    pb_status status = pb_train_run(s->net, s->method, &how, (uint64_t)pb_cli_int(cli, "seed"),
                                    &data, &observer, &result);
    pb_config_clear(pb_train_fields, &how);
    if (status == PB_STOPPED) {
        pb_error_clear();
        return PB_OK;
    }
    PB_TRY(status);
    if (final != NULL) {
        PB_TRY(pb_method_write_tensors(s->method, PB_LIST_TRAINED, final));
    }
    return save != NULL ? pb_method_save(s->method, save) : PB_OK;
}

static pb_status run(pb_cli *cli)
{
    session s         = {0};
    session_rows rows = {0};
    pb_status status;
    PB_TRY(session_open(cli, pb_cli_text(cli, "method"), (uint64_t)pb_cli_int(cli, "seed"), &s));
    if (s.method == NULL || s.method->parameters == 0) {
        status = PB_FAIL(PB_ERR_USAGE,
                         "nothing to train: give --method or --adapter with trainable tensors");
        goto done;
    }
    PB_TRY_GOTO(status,
                session_rows_read(pb_cli_text(cli, "batches"), true,
                                  pb_model_get_config(s.model)->vocab, &rows),
                done);
    PB_TRY_GOTO(status, check_outputs(cli), done);
    PB_TRY_GOTO(status, train(cli, &s, &rows), done);
done:
    session_rows_clear(&rows);
    session_close(&s);
    return status;
}

const pb_command command_train = {
    .name     = "train",
    .help     = "train an adapter on token rows",
    .usage    = "--model DIR (--method FILE.cfg | --adapter DIR) --batches FILE.jsonl --steps N",
    .details  = "Prints one JSON line per step. \"step\" counts the steps before "
                "it, from 0; loss and grad_norm are those before the update (and before "
                "clipping), lr is that of the update; tokens are real ones, without "
                "padding and virtual ones.\n",
    .options  = {session_options, options},
    .computes = true,
    .alone    = true,
    .run      = run,
};
