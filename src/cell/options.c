// SPDX-License-Identifier: Apache-2.0
/* The groups of a cell: model, dataset, method, train, data, eval. */
#include "internal.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

const pb_config_field pb_cell_model_fields[] = {
    PB_FIELD_PATH(pb_cell_model_options, path, NULL,
                  "folder of a checkpoint in Hugging Face layout"),
    PB_FIELD_TEXT(pb_cell_model_options, chat, "auto",
                  "chat template: auto (by family and special tokens), none, llama3, qwen3, "
                  "gemma, mistral, phi3, chatml"),
    PB_FIELD_NOTE(pb_cell_model_options, hub, "repository on the hub, for jobs/fetch_data.py"),
    PB_FIELD_NOTE(pb_cell_model_options, revision, "its commit, for jobs/fetch_data.py"),
    PB_FIELD_NOTE_LIST(pb_cell_model_options, sha256,
                       "its files as \"file:hash\", for jobs/fetch_data.py"),
    PB_FIELD_NOTE(pb_cell_model_options, licence, "licence of the weights, for the reader"),
    PB_FIELD_END,
};

static const char *const scoring_names[] = {"generation", "likelihood", NULL};

const pb_config_field pb_cell_eval_fields[] = {
    PB_FIELD_CHOICE(pb_cell_eval_options, scoring, PB_SCORING_GENERATION, scoring_names,
                    "what is predicted: generated text, or the likeliest of dataset.labels"),
    PB_FIELD_INT(pb_cell_eval_options, batch, 8, 1, 1 << 20, "rows", "rows generated at once"),
    PB_FIELD_INT(pb_cell_eval_options, max_new_tokens, 0, 0, 1 << 20, "tokens",
                 "most new tokens, 0: as data set and protocol say"),
    PB_FIELD_END,
};

/* An unknown metric is reported before anything runs, like an unknown method, and so is one of
 * labels where there are none. */
static pb_status check_metric(const pb_config *config, pb_protocol protocol, const cell_options *o)
{
    const pb_metric *metric = NULL;
    int64_t labels          = pb_dataset_options_labels(&o->dataset, protocol)->count;

    PB_TRY(pb_config_at(config, "dataset", "metric", -1,
                        pb_metric_require(o->dataset.metric, &metric)));
    if (!metric->needs_labels || labels >= 2) {
        return PB_OK;
    }
    return pb_config_at(config, "dataset", "metric", -1,
                        PB_FAIL(PB_ERR_CONFIG,
                                "metric %s needs at least two labels, data set %s has %" PRId64
                                " (dataset.labels)",
                                metric->name, o->dataset.name, labels));
}

/* What only fits some data sets is reported before anything runs, too. */
static pb_status check_fit(const pb_config *config, pb_protocol protocol, const cell_options *o)
{
    const pb_method_ops *m = o->method;
    const pb_baseline *b   = m->baseline;
    int64_t labels         = pb_dataset_options_labels(&o->dataset, protocol)->count;

    if (o->eval.scoring == PB_SCORING_LIKELIHOOD && labels < 2) {
        return pb_config_at(
            config, "eval", "scoring", -1,
            PB_FAIL(PB_ERR_CONFIG,
                    "eval.scoring \"likelihood\" chooses among dataset.labels, and data "
                    "set %s has none; generate its answers (sweep.override)",
                    o->dataset.name));
    }
    if (b != NULL && b->labels > 0 && labels != b->labels) {
        return pb_config_at(config, "method", "name", -1,
                            PB_FAIL(PB_ERR_CONFIG,
                                    "method %s is for %d classes, data set %s has %" PRId64
                                    "; leave the pair out (sweep.exclude)",
                                    m->name, b->labels, o->dataset.name, labels));
    }
    if (b != NULL && b->numbers && strcmp(o->dataset.metric, "pearsonr") != 0) {
        return pb_config_at(
            config, "method", "name", -1,
            PB_FAIL(PB_ERR_CONFIG,
                    "method %s needs answers that are single numbers (dataset.metric "
                    "\"pearsonr\"), data set %s has others; leave the pair out "
                    "(sweep.exclude)",
                    m->name, o->dataset.name));
    }
    return PB_OK;
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

static pb_status read_groups(const pb_config *config, pb_protocol protocol, cell_options *out)
{
    PB_TRY(pb_config_read(config, "model", pb_cell_model_fields, NULL, &out->model));
    PB_TRY(pb_config_read(config, "dataset", pb_dataset_fields, NULL, &out->dataset));
    PB_TRY(pb_config_read(config, "train", pb_train_fields, NULL, &out->train));
    PB_TRY(pb_config_read(config, "data", pb_data_fields, NULL, &out->data));
    PB_TRY(pb_config_read(config, "eval", pb_cell_eval_fields, NULL, &out->eval));
    PB_TRY(check_metric(config, protocol, out));
    PB_TRY(pb_method_find_in(config, "method", &out->method));
    PB_TRY(check_fit(config, protocol, out));
    return pb_method_options_read(out->method, config, "method", &out->method_options);
}

pb_status cell_options_read(const pb_cell *cell, cell_options *out)
{
    memset(out, 0, sizeof *out);
    pb_status status = read_groups(cell->config, cell->protocol, out);
    if (status != PB_OK) {
        cell_options_clear(out);
        return PB_FRAME(status);
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
    pb_method_options_free(o->method, o->method_options);
    memset(o, 0, sizeof *o);
}

static pb_status write_group(const char *name, const char *first, const pb_config_field *fields,
                             const void *object, bool whole, pb_string *out)
{
    PB_TRY(pb_string_printf(out, "%s = {\n%s", name, first));
    PB_TRY(pb_config_write_key(fields, object, "    ", whole ? 0 : PB_KEPT_RESULT, out));
    return pb_string_puts(out, "};\n");
}

pb_status cell_options_write(const cell_options *o, const pb_cell *cell, bool whole, pb_string *out)
{
    pb_string name   = {0};
    pb_status status = pb_string_printf(&name, "    name = \"%s\";\n", o->method->name);
    if (status == PB_OK) {
        status = write_group("method", name.data, pb_method_fields(o->method), o->method_options,
                             whole, out);
    }
    pb_string_clear(&name);
    PB_TRY(status);
    PB_TRY(write_group("model", "", pb_cell_model_fields, &o->model, whole, out));
    PB_TRY(write_group("dataset", "", pb_dataset_fields, &o->dataset, whole, out));
    PB_TRY(write_group("train", "", pb_train_fields, &o->train, whole, out));
    PB_TRY(write_group("data", "", pb_data_fields, &o->data, whole, out));
    PB_TRY(write_group("eval", "", pb_cell_eval_fields, &o->eval, whole, out));
    return pb_string_printf(out, "protocol = \"%s\";\nseed = %" PRId64 "L;\n",
                            pb_protocol_names[cell->protocol], cell->seed);
}

static pb_status check_answer(const pb_dataset *ds, const char *answer)
{
    const pb_config_list *labels = pb_dataset_labels(ds);

    return pb_metric_check_reference(pb_dataset_get_options(ds)->metric, labels->items,
                                     labels->count, answer);
}

void pb_cell_check_answers(pb_dataset *ds)
{
    pb_dataset_check_answers(ds, check_answer);
}

pb_status pb_cell_text(const pb_cell *cell, pb_string *out)
{
    cell_options options = {0};
    PB_TRY(cell_options_read(cell, &options));
    pb_status status = cell_options_write(&options, cell, false, out);
    cell_options_clear(&options);
    return status;
}

pb_status cell_options_open_dataset(cell_options *o, const pb_cell *cell, pb_dataset **out)
{
    o->dataset.config = cell->config;
    o->dataset.group  = "dataset";
    PB_TRY(pb_dataset_open_take(&o->dataset, cell->protocol, &o->data, out));
    pb_cell_check_answers(*out);
    return PB_OK;
}

pb_status pb_cell_check_config(const pb_cell *cell)
{
    cell_options options = {0};
    PB_TRY(cell_options_read(cell, &options));
    cell_options_clear(&options);
    return PB_OK;
}

pb_status pb_cell_data_text(const pb_cell *cell, pb_string *out)
{
    cell_options options = {0};
    pb_status status;
    PB_TRY(cell_options_read(cell, &options));
    PB_TRY_GOTO(status, write_group("dataset", "", pb_dataset_fields, &options.dataset, true, out),
                done);
    PB_TRY_GOTO(status, write_group("data", "", pb_data_fields, &options.data, true, out), done);
done:
    cell_options_clear(&options);
    return status;
}
