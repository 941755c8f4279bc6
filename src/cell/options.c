// SPDX-License-Identifier: Apache-2.0
/* The groups of a cell: model, dataset, method, train, data, eval. */
#include "internal.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

const pb_config_field pb_cell_model_fields[] = {
    PB_FIELD_PATH(pb_cell_model_options, path, NULL,
                  "folder of a checkpoint in Hugging Face layout"),
    PB_FIELD_TEXT(pb_cell_model_options, chat, "none",
                  "chat template: none, llama3, qwen3, gemma, mistral, chatml"),
    PB_FIELD_TEXT(pb_cell_model_options, hub, "", "repository on the hub, for jobs/fetch_data.py"),
    PB_FIELD_TEXT(pb_cell_model_options, revision, "", "its commit, for jobs/fetch_data.py"),
    PB_FIELD_TEXT_LIST(pb_cell_model_options, sha256, "",
                       "its files as \"file:hash\", for jobs/fetch_data.py"),
    PB_FIELD_TEXT(pb_cell_model_options, licence, "", "licence of the weights, for the reader"),
    PB_FIELD_END,
};

/* Where a model comes from changes no result: the hash of a cell holds that of its weights. */
static bool is_origin(const pb_config_field *fields, const char *key)
{
    static const char *const keys[] = {"hub", "revision", "sha256", "licence", NULL};
    for (int i = 0; fields == pb_cell_model_fields && keys[i] != NULL; i++) {
        if (strcmp(keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

const pb_config_field pb_cell_eval_fields[] = {
    PB_FIELD_INT(pb_cell_eval_options, batch, 8, 1, 1 << 20, "rows", "rows generated at once"),
    PB_FIELD_INT(pb_cell_eval_options, max_new_tokens, 0, 0, 1 << 20, "tokens",
                 "most new tokens, 0: as data set and protocol say"),
    PB_FIELD_END,
};

static const pb_config_field no_fields[] = {PB_FIELD_END};

static const pb_config_field *fields_of(const pb_method_ops *ops)
{
    return ops->fields != NULL ? ops->fields : no_fields;
}

static pb_status read_method(const pb_config *config, cell_options *out)
{
    static const char *const name_key[] = {"name", NULL};
    PB_TRY(pb_method_find_in(config, "method", &out->method));
    size_t size         = out->method->options_size;
    out->method_options = pb_memory_new(1, size > 0 ? size : 1);
    if (out->method_options == NULL) {
        return PB_ERR_MEMORY;
    }
    return pb_config_read(config, "method", fields_of(out->method), name_key, out->method_options);
}

/* What the paper's trainer does differently, unless the configuration says otherwise. */
static void apply_protocol(const pb_cell *cell, cell_options *o)
{
    if (cell->protocol != PB_PROTOCOL_PAPER) {
        return;
    }
    if (!pb_config_has(cell->config, "train.validation_mean")) {
        o->train.validation_mean = PB_MEAN_ROWS;
    }
    if (!pb_config_has(cell->config, "train.evaluate_last")) {
        o->train.evaluate_last = false;
    }
}

static pb_status read_groups(const pb_config *config, cell_options *out)
{
    PB_TRY(pb_config_read(config, "model", pb_cell_model_fields, NULL, &out->model));
    PB_TRY(pb_config_read(config, "dataset", pb_dataset_fields, NULL, &out->dataset));
    PB_TRY(pb_config_read(config, "train", pb_train_fields, NULL, &out->train));
    PB_TRY(pb_config_read(config, "data", pb_data_fields, NULL, &out->data));
    PB_TRY(pb_config_read(config, "eval", pb_cell_eval_fields, NULL, &out->eval));
    return read_method(config, out);
}

pb_status cell_options_read(const pb_cell *cell, cell_options *out)
{
    memset(out, 0, sizeof *out);
    pb_status status = read_groups(cell->config, out);
    if (status != PB_OK) {
        cell_options_clear(out);
        return pb_error_frame(status, __FILE__, __LINE__, __func__);
    }
    apply_protocol(cell, out);
    return PB_OK;
}

void cell_options_clear(cell_options *o)
{
    pb_config_clear(pb_cell_model_fields, &o->model);
    pb_config_clear(pb_dataset_fields, &o->dataset);
    pb_config_clear(pb_train_fields, &o->train);
    pb_config_clear(pb_data_fields, &o->data);
    pb_config_clear(pb_cell_eval_fields, &o->eval);
    if (o->method != NULL && o->method_options != NULL) {
        pb_config_clear(fields_of(o->method), o->method_options);
    }
    pb_memory_free(o->method_options);
    memset(o, 0, sizeof *o);
}

static pb_status write_group(const char *name, const char *first, const pb_config_field *fields,
                             const void *object, bool with_paths, pb_string *out)
{
    enum { FIELDS = 64 };
    pb_config_field kept[FIELDS];
    size_t count = 0;
    for (const pb_config_field *f = fields; f->key != NULL; f++) {
        PB_ASSERT(count < FIELDS - 1);
        if (with_paths || (f->type != PB_CONFIG_PATH && !is_origin(fields, f->key))) {
            kept[count++] = *f;
        }
    }
    kept[count] = (pb_config_field)PB_FIELD_END;
    PB_TRY(pb_string_printf(out, "%s = {\n%s", name, first));
    PB_TRY(pb_config_write(kept, object, "    ", out));
    return pb_string_puts(out, "};\n");
}

pb_status cell_options_write(const cell_options *o, const pb_cell *cell, bool with_paths,
                             pb_string *out)
{
    pb_string name   = {0};
    pb_status status = pb_string_printf(&name, "    name = \"%s\";\n", o->method->name);
    if (status == PB_OK) {
        status = write_group("method", name.data, fields_of(o->method), o->method_options,
                             with_paths, out);
    }
    pb_string_clear(&name);
    PB_TRY(status);
    PB_TRY(write_group("model", "", pb_cell_model_fields, &o->model, with_paths, out));
    PB_TRY(write_group("dataset", "", pb_dataset_fields, &o->dataset, with_paths, out));
    PB_TRY(write_group("train", "", pb_train_fields, &o->train, with_paths, out));
    PB_TRY(write_group("data", "", pb_data_fields, &o->data, with_paths, out));
    PB_TRY(write_group("eval", "", pb_cell_eval_fields, &o->eval, with_paths, out));
    return pb_string_printf(out, "protocol = \"%s\";\nseed = %" PRId64 "L;\n",
                            pb_protocol_names[cell->protocol], cell->seed);
}

pb_status pb_cell_check_config(const pb_cell *cell)
{
    cell_options options = {0};
    PB_TRY(cell_options_read(cell, &options));
    cell_options_clear(&options);
    return PB_OK;
}
