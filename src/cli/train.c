// SPDX-License-Identifier: Apache-2.0
/* peftbench train: an adapter trained on a data set as a cell of a sweep is, or over given token
 * rows, for comparison with other programs. */
#include "commands.h"
#include "one_cell.h"
#include "session.h"

#include "pb/adapter.h"
#include "pb/file.h"
#include "pb/json.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/protocol.h"
#include "pb/train.h"

#include <inttypes.h>
#include <stdio.h>

static const pb_option options[] = {
    PB_CLI_TEXT("method", "FILE.cfg", NULL,
                "a new adapter from the group method of this file; its group train counts too"),
    PB_CLI_TEXT(
        "dataset", "NAME", NULL,
        "train on a data set, a name from configs/dataset or a path that ends in .cfg, with "
        "template, validation and best values, and test"),
    PB_CLI_CHOICE("protocol", "paper|corrected", "corrected", pb_protocol_names,
                  "whose rules apply to --dataset"),
    PB_CLI_TEXT("batches", "FILE.jsonl", NULL,
                "rows {\"input_ids\", \"labels\"}, used in file order, wrapping around at the end; "
                "padding that \"attention_mask\" marks is cut"),
    PB_CLI_INT("steps", "N", NULL, 1, 1e9,
               "steps of the run; with --dataset at most as many, and as configured without it"),
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

static pb_status train_on_rows(const pb_cli *cli)
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

static pb_status print_step(void *opaque, const pb_cell *cell, const pb_train_step *step)
{
    (void)cell;
    pb_string line = {0};
    return cli_print_made(opaque, put_step(step, &line), &line);
}

static pb_status print_validation(void *opaque, const pb_cell *cell, int64_t step, double loss)
{
    (void)cell;
    pb_string line = {0};
    pb_json json   = pb_json_begin(&line, PB_JSON_INLINE, 0);
    pb_json_put_int(&json, "step", step);
    pb_json_put_number(&json, "validation_loss", loss, PB_JSON_EXACT);
    return cli_print_made(opaque, pb_json_finish(&json, "\n"), &line);
}

static bool nobody_reads(void *opaque)
{
    const pb_cli *cli = opaque;
    return !pb_cli_is_heard() && pb_cli_text(cli, "save") == NULL;
}

/* The options of the command line that set fields, as a group `train`. */
static pb_status write_options(const pb_cli *cli, pb_string *out)
{
    pb_config_field given[sizeof options / sizeof *options + 1] = {0};
    pb_train_options o                                          = {0};
    int count                                                   = 0;
    for (const pb_option *option = options; option->name != NULL; option++) {
        if (option->fields != NULL && pb_cli_given(cli, option->name)) {
            given[count++] = *option_field(option);
        }
    }
    PB_TRY(pb_config_defaults(pb_train_fields, &o));
    pb_cli_overlay(cli, pb_train_fields, &o);
    pb_status status;
    PB_TRY_GOTO(status, pb_string_puts(out, "train = {\n"), done);
    PB_TRY_GOTO(status, pb_config_write(given, &o, "", 0, out), done);
    if (pb_cli_given(cli, "steps")) {
        PB_TRY_GOTO(status,
                    pb_string_printf(out, "max_steps = %" PRId64 ";\n", pb_cli_int(cli, "steps")),
                    done);
    }
    status = pb_string_puts(out, "};\n");
done:
    pb_config_clear(pb_train_fields, &o);
    return status;
}

static pb_status train_on_dataset(pb_cli *cli)
{
    const char *method              = pb_cli_text(cli, "method");
    const pb_cell_own own           = {.adapter = pb_cli_text(cli, "adapter"),
                                       .save    = pb_cli_text(cli, "save")};
    const pb_cell_observer observer = {
        .context = cli, .stop = nobody_reads, .step = print_step, .validation = print_validation};
    pb_config *config = NULL;
    pb_record record  = {0};
    pb_string text    = {0};
    pb_status status;
    PB_TRY(check_outputs(cli));
    PB_TRY_GOTO(status, write_options(cli, &text), done);
    PB_TRY_GOTO(status, pb_config_parse(text.data, "options", &config), done);
    status = one_cell_run(cli, method, config, &own, &observer, &record);
    if (status == PB_STOPPED) { /* nobody reads */
        pb_error_clear();
        status = PB_OK;
        goto done;
    }
    PB_TRY_GOTO(status, status, done);
    status = one_cell_print(cli, &record);
done:
    pb_record_clear(&record);
    pb_config_close(config);
    pb_string_clear(&text);
    return status;
}

/* Options that belong to the other kind of rows. */
static pb_status check_kind(const pb_cli *cli, bool dataset)
{
    static const char *const of_rows[] = {"init", "dump-grads", "dump-final", NULL};
    if (dataset == (pb_cli_text(cli, "batches") != NULL)) {
        return PB_FAIL(PB_ERR_USAGE, "train: give either --dataset or --batches");
    }
    if (!dataset && !pb_cli_given(cli, "steps")) {
        return PB_FAIL(PB_ERR_USAGE, "train: --batches needs --steps N");
    }
    if (!dataset && pb_cli_given(cli, "protocol")) {
        return PB_FAIL(PB_ERR_USAGE, "train: --protocol goes with --dataset");
    }
    for (int i = 0; dataset && of_rows[i] != NULL; i++) {
        if (pb_cli_given(cli, of_rows[i])) {
            return PB_FAIL(PB_ERR_USAGE, "train: --%s goes with --batches", of_rows[i]);
        }
    }
    if (dataset && (pb_cli_text(cli, "method") == NULL) == (pb_cli_text(cli, "adapter") == NULL)) {
        return PB_FAIL(PB_ERR_USAGE, "train: give either --method or --adapter");
    }
    return PB_OK;
}

static pb_status run(pb_cli *cli)
{
    bool dataset = pb_cli_text(cli, "dataset") != NULL;
    PB_TRY(check_kind(cli, dataset));
    return dataset ? train_on_dataset(cli) : train_on_rows(cli);
}

const pb_command command_train = {
    .name     = "train",
    .help     = "train an adapter on a data set or on token rows",
    .usage    = "--model DIR (--method FILE.cfg | --adapter DIR) (--dataset NAME | --batches "
                "FILE.jsonl --steps N) [--save DIR]",
    .details  = "Prints one JSON line per step. \"step\" counts the steps before "
                "it, from 0; loss and grad_norm are those before the update (and before "
                "clipping), lr is that of the update; tokens are real ones, without "
                "padding and virtual ones.\n"
                "With --dataset, what a cell of a sweep computes: the groups train, data and eval "
                "of both files count, then options, then --set; lines of validation lie between "
                "those of steps, and the last line has the scores of the test.\n",
    .options  = {session_options, options},
    .computes = true,
    .alone    = true,
    .run      = run,
};
