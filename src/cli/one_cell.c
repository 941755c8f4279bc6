// SPDX-License-Identifier: Apache-2.0
/* Composes the configuration of one cell from the files and options of a command, and runs it. */
#include "one_cell.h"
#include "commands.h"
#include "dataset_config.h"
#include "session.h"

#include "pb/json.h"
#include "pb/memory.h"

#include <string.h>

const char *const one_cell_groups[] = {"train", "data", "eval", "method", "model", "dataset", NULL};

/* The group `model`. */
typedef struct model_group {
    char *path;
} model_group;

static const pb_config_field model_fields[] = {
    PB_FIELD_TEXT(model_group, path, NULL, "folder of the checkpoint"),
    PB_FIELD_END,
};

static pb_status lay_over(pb_config *config, const pb_config *layer)
{
    for (int g = 0; one_cell_groups[g] != NULL && layer != NULL; g++) {
        PB_TRY(pb_config_merge(config, one_cell_groups[g], layer, one_cell_groups[g]));
    }
    return PB_OK;
}

/* --model, and a method that trains nothing, under everything else. */
static pb_status begin(const char *model, pb_config **out)
{
    const model_group group = {.path = (char *)model};
    pb_string text          = {0};
    pb_status status;
    PB_TRY_GOTO(status, pb_string_puts(&text, "method = { name = \"none\"; };\nmodel = {\n"), done);
    PB_TRY_GOTO(status, pb_config_write(model_fields, &group, "", 0, &text), done);
    PB_TRY_GOTO(status, pb_string_puts(&text, "};\n"), done);
    PB_TRY_GOTO(status, pb_config_parse(text.data, "--model", out), done);
done:
    pb_string_clear(&text);
    return status;
}

static pb_status lay_files(const pb_cli *cli, const char *method, const pb_config *options,
                           pb_config *config)
{
    pb_config *dataset = NULL;
    pb_config *file    = NULL;
    pb_config *sets    = NULL;
    pb_status status;
    PB_TRY_GOTO(status,
                dataset_config_open(cli, "--dataset", pb_cli_text(cli, "dataset"), one_cell_groups,
                                    true, &dataset),
                done);
    PB_TRY_GOTO(status, lay_over(config, dataset), done);
    if (method != NULL) {
        PB_TRY_GOTO(status, pb_config_open(method, &file), done);
        PB_TRY_GOTO(status, session_check_groups(file), done);
        PB_TRY_GOTO(status, lay_over(config, file), done);
    }
    PB_TRY_GOTO(status, lay_over(config, options), done);
    PB_TRY_GOTO(status, pb_config_parse("", "--set", &sets), done);
    PB_TRY_GOTO(status, session_set_keys(cli, one_cell_groups, sets), done);
    PB_TRY_GOTO(status, lay_over(config, sets), done);
done:
    pb_config_close(sets);
    pb_config_close(file);
    pb_config_close(dataset);
    return status;
}

static pb_status open_cell(const pb_cli *cli, const char *method, const pb_config *options,
                           pb_cell **out)
{
    const pb_cell_name name = {.model    = pb_cli_text(cli, "model"),
                               .dataset  = pb_cli_text(cli, "dataset"),
                               .method   = method != NULL ? method : "adapter",
                               .seed     = pb_cli_int(cli, "seed"),
                               .protocol = dataset_config_protocol(cli)};
    pb_config *config       = NULL;
    PB_TRY(begin(name.model, &config));
    pb_status status = lay_files(cli, method, options, config);
    if (status != PB_OK) {
        pb_config_close(config);
        return status;
    }
    PB_TRY(pb_cell_open_take(&name, config, NULL, out));
    return pb_cell_check(*out);
}

static pb_status open_environment(const pb_cli *cli, const pb_cell *cell, pb_cell_env **out)
{
    pb_cell_setup setup = {.threads  = (int)pb_cli_int(cli, "threads"),
                           .dtype    = pb_cli_dtype(cli),
                           .graphs   = true,
                           .products = pb_cli_text(cli, "products")};
    PB_TRY(pb_cli_device(cli, &setup.backend, &setup.device));
    PB_TRY(pb_cell_env_open(&setup, cli->comm, out));
    PB_TRY(pb_cell_env_add_model(*out, cell));
    return pb_cell_env_check_model(*out, pb_cli_text(cli, "model"));
}

/* Takes the record over. */
static pb_status keep(void *context, int64_t index, pb_record *record)
{
    (void)index;
    *(pb_record *)context = *record;
    *record               = (pb_record){0};
    return PB_OK;
}

pb_status one_cell_run(const pb_cli *cli, const char *method, const pb_config *options,
                       const pb_cell_own *own, const pb_cell_observer *observer, pb_record *out)
{
    pb_cell_env *env = NULL;
    pb_cell *cell    = NULL;
    pb_status status;
    PB_TRY_GOTO(status, open_cell(cli, method, options, &cell), done);
    pb_cell_set_own(cell, own);
    PB_TRY_GOTO(status, open_environment(cli, cell, &env), done);
    PB_TRY_GOTO(status, pb_cell_run(env, (const pb_cell *const *)&cell, 1, observer, keep, out),
                done);
    if (out->status != PB_OK) {
        status = PB_FAIL(out->status, "%s", out->message);
    }
done:
    pb_cell_close(cell);
    pb_cell_env_close(env);
    return status;
}

pb_status one_cell_print(const pb_cli *cli, const pb_record *record)
{
    pb_string line = {0};
    pb_json json   = pb_json_begin(&line, PB_JSON_INLINE, 0);
    pb_json_put_text(&json, "dataset", record->key.dataset);
    pb_json_put_text(&json, "protocol", record->protocol);
    pb_json_put_text(&json, "metric", record->metric_name);
    pb_json_put_number(&json, "score", record->score, PB_JSON_EXACT);
    pb_json_put_number(&json, "score_low", record->score_low, PB_JSON_EXACT);
    pb_json_put_number(&json, "score_high", record->score_high, PB_JSON_EXACT);
    pb_json_put_number(&json, "validation_loss", record->validation_loss, PB_JSON_EXACT);
    pb_json_put_int(&json, "rows", record->rows_test);
    pb_json_put_object(&json, "metrics", PB_JSON_INLINE);
    for (int64_t i = 0; i < record->metrics_count; i++) {
        pb_json_put_number(&json, record->metrics[i].name, record->metrics[i].value, PB_JSON_EXACT);
    }
    pb_json_end(&json);
    return cli_print_made(cli, pb_json_finish(&json, "\n"), &line);
}
