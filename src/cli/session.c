// SPDX-License-Identifier: Apache-2.0
/* Opens the objects of a single-process command. */
#include "session.h"

#include "pb/adapter.h"
#include "pb/file.h"
#include "pb/memory.h"
#include "pb/processors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const pb_option session_options[] = {
    PB_CLI_NEEDED("model", "DIR", "checkpoint in Hugging Face layout"),
    PB_CLI_TEXT("adapter", "DIR", NULL, "adapter as HF PEFT saves it"),
    PB_CLI_TEXT("init", "FILE", NULL, "the adapter's trainable tensors by name, safetensors"),
    PB_OPTION_END,
};

/* What --set may change of the file of --method. */
static const char *const method_group[] = {"method", NULL};

pb_status session_threads(const pb_cli *cli, int *out)
{
    pb_backend *backend = NULL;

    PB_TRY(pb_backend_open("cpu", 0, (int)pb_cli_int(cli, "threads"), &backend));
    *out = pb_backend_threads(backend);
    pb_processors_report(*out, pb_cli_int(cli, "threads") == 0);
    pb_backend_close(backend);
    return PB_OK;
}

pb_status session_check_groups(const pb_config *config)
{
    static const char *const groups[]   = {"method", "train", "data", "eval", NULL};
    static const pb_config_field none[] = {PB_FIELD_END};
    char nothing                        = 0;
    return PB_FRAME(pb_config_read(config, "", none, groups, &nothing));
}

static bool is_in(const char *assignment, const char *const *groups)
{
    for (; *groups != NULL; groups++) {
        size_t length = strlen(*groups);
        if (strncmp(assignment, *groups, length) == 0 && assignment[length] == '.') {
            return true;
        }
    }
    return false;
}

pb_status session_set_keys(const pb_cli *cli, const char *const *groups, pb_config *config)
{
    int64_t count           = 0;
    const char *const *sets = pb_cli_list(cli, "set", &count);

    for (int64_t i = 0; i < count; i++) {
        if (config == NULL || !is_in(sets[i], groups)) {
            return PB_FAIL(PB_ERR_USAGE,
                           "%s: --set %s: this command changes only keys like %s.KEY%s",
                           cli->command->name, sets[i], groups[0],
                           config == NULL ? " of the file of --method" : "");
        }
        PB_TRY(pb_config_set(config, sets[i]));
    }
    return PB_OK;
}

pb_status session_create_method(const pb_cli *cli, uint64_t seed, session *s)
{
    const pb_method_ops *ops = NULL;
    PB_TRY(session_set_keys(cli, method_group, s->config));
    PB_TRY(pb_method_find_in(s->config, "method", &ops));
    return pb_method_create(ops, s->config, "method", s->model, s->backend, seed, &s->method);
}

static pb_status open_adapter(const pb_cli *cli, const char *adapter, const char *init,
                              uint64_t seed, session *s)
{
    if (adapter == NULL) {
        return init == NULL ? PB_OK
                            : PB_FAIL(PB_ERR_USAGE,
                                      "%s: --init sets the values of an adapter, but there is none",
                                      cli->command->name);
    }
    return pb_method_load(adapter, init, s->model, s->backend, seed, &s->method);
}

static pb_status open_method(const pb_cli *cli, const char *config, uint64_t seed, session *s)
{
    const char *adapter = pb_cli_text(cli, "adapter");
    const char *init    = pb_cli_text(cli, "init");
    if (adapter != NULL && config != NULL) {
        return PB_FAIL(PB_ERR_USAGE, "--adapter and --method exclude each other");
    }
    if (config == NULL) {
        PB_TRY(session_set_keys(cli, method_group, s->config));
        return open_adapter(cli, adapter, init, seed, s);
    }
    PB_TRY(pb_config_open(config, &s->config));
    PB_TRY(session_check_groups(s->config));
    PB_TRY(session_create_method(cli, seed, s));
    if (init == NULL) {
        return PB_OK;
    }
    pb_safetensors *values = NULL;
    PB_TRY(pb_safetensors_open(init, &values));
    pb_status status = pb_method_set_values(s->method, values, init);
    pb_safetensors_close(values);
    return status;
}

pb_status session_create_network(session *s)
{
    PB_TRY(pb_weights_open(s->model, s->backend, pb_backend_border(s->backend), &s->weights));
    return pb_network_create(s->weights, s->method, &s->net);
}

static pb_status open_tokenizer(const char *directory, session *s)
{
    static const char *const names[] = {"tokenizer.json", "vocab.json", "tokenizer.model"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bool there = false;
        PB_TRY(pb_path_has(directory, names[i], &there));
        if (there) {
            return pb_tokenizer_open(directory, &s->tokenizer);
        }
    }
    return PB_OK;
}

pb_status session_open_backend(const pb_cli *cli, session *s)
{
    const char *device = NULL;
    int number         = 0;
    PB_TRY(pb_cli_device(cli, &device, &number));
    PB_TRY(pb_backend_open(device, number, (int)pb_cli_int(cli, "threads"), &s->backend));
    pb_backend_warn(s->backend);
    pb_processors_report(pb_backend_threads(s->backend), pb_cli_int(cli, "threads") == 0);
    PB_TRY(pb_backend_use_dtype(s->backend, pb_cli_dtype(cli)));
    const char *products = pb_cli_text(cli, "products");
    return products != NULL ? pb_backend_use_products(s->backend, products) : PB_OK;
}

static pb_status open_parts(const pb_cli *cli, const char *method, uint64_t seed, session *s)
{
    PB_TRY(session_open_backend(cli, s));
    PB_TRY(
        pb_model_open(pb_cli_text(cli, "model"), NULL, pb_backend_threads(s->backend), &s->model));
    PB_TRY(open_tokenizer(pb_cli_text(cli, "model"), s));
    PB_TRY(open_method(cli, method, seed, s));
    return session_create_network(s);
}

pb_status session_open(const pb_cli *cli, const char *method, uint64_t seed, session *s)
{
    memset(s, 0, sizeof *s);
    pb_status status = open_parts(cli, method, seed, s);
    if (status != PB_OK) {
        session_close(s);
        return PB_FRAME(status);
    }
    return PB_OK;
}

void session_close(session *s)
{
    pb_network_destroy(s->net);
    pb_weights_close(s->weights);
    pb_method_destroy(s->method);
    pb_config_close(s->config);
    pb_tokenizer_close(s->tokenizer);
    pb_model_close(s->model);
    pb_backend_close(s->backend);
    memset(s, 0, sizeof *s);
}

pb_status session_parse_ids(const char *text, int64_t vocab, pb_ids *out)
{
    const char *at = text;
    for (bool more = true; more;) {
        char *end = NULL;
        errno     = 0;
        long id   = strtol(at, &end, 10);
        if (end == at || errno != 0 || id < 0 || id >= vocab || (*end != ',' && *end != '\0')) {
            return PB_FAIL(PB_ERR_USAGE,
                           "\"%s\" is not a list of ids between 0 and %" PRId64 " like 1,2,3", text,
                           vocab - 1);
        }
        PB_TRY(pb_ids_append(out, (int32_t)id));
        more = *end == ',';
        at   = end + 1;
    }
    return PB_OK;
}

pb_status session_tokenizer(const char *directory, const char *tpl, pb_tokenizer **tokenizer,
                            const pb_template **out)
{
    bool by_model            = strcmp(tpl, "auto") == 0;
    pb_model_config *config  = NULL;
    pb_tokenizer *opened     = NULL;
    const pb_template *found = NULL;
    pb_status status;

    PB_TRY(pb_error_prefix(pb_template_find(by_model ? "none" : tpl, &found), "--template"));
    PB_TRY(pb_tokenizer_open(directory, &opened));
    if (by_model) {
        PB_TRY_GOTO(status, PB_ALLOC(config, 1), err_tokenizer);
        status = pb_model_config_read(directory, config);
        if (status != PB_OK) {
            pb_error_prefix(status, "--template auto needs the model's config.json (or name one)");
            goto err_tokenizer;
        }
        found  = pb_template_for(pb_model_architecture(config), opened);
        status = pb_template_warn(pb_model_architecture(config), opened, directory);
        PB_TRY_GOTO(status, status, err_tokenizer);
        pb_memory_free(config);
    }
    *tokenizer = opened;
    *out       = found;
    return PB_OK;

err_tokenizer:
    pb_memory_free(config);
    pb_tokenizer_close(opened);
    return status;
}
