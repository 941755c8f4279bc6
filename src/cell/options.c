// SPDX-License-Identifier: Apache-2.0
/* The groups of a cell: model, dataset, method, train, data, eval. */
#include "internal.h"

#include "pb/network.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const pb_config_field pb_cell_model_fields[] = {
    PB_FIELD_PATH(cell_model_options, path, NULL, "folder of a checkpoint in Hugging Face layout"),
    PB_FIELD_TEXT(cell_model_options, chat, "auto",
                  "chat template: auto (by family and special tokens), none, llama3, qwen3, "
                  "gemma, mistral, phi3, chatml"),
    PB_FIELD_NOTE(cell_model_options, hub, "repository on the hub, for jobs/fetch_data.py"),
    PB_FIELD_NOTE(cell_model_options, revision, "its commit, for jobs/fetch_data.py"),
    PB_FIELD_NOTE_LIST(cell_model_options, sha256,
                       "its files as \"file:hash\", for jobs/fetch_data.py"),
    PB_FIELD_NOTE(cell_model_options, licence, "licence of the weights, for the reader"),
    PB_FIELD_END,
};

#define TYPICAL(member_, unit_, help_) \
    PB_FIELD_INT_FOR(PB_KEPT_ALL, cell_typical, member_, 0, 1, INT64_C(1) << 40, unit_, help_)

const pb_config_field pb_cell_typical_fields[] = {
    TYPICAL(train_rows, "rows", "of the training file, for a plan without the file"),
    TYPICAL(test_rows, "rows", "of the test file, likewise"),
    TYPICAL(tokens, "tokens", "of a prompt, mean, with the chat template"),
    TYPICAL(answer_tokens, "tokens", "of an answer, mean, with its end"),
    PB_FIELD_END,
};

static const char *const scoring_names[] = {"generation", "likelihood", NULL};

const pb_config_field pb_cell_eval_fields[] = {
    PB_FIELD_CHOICE(cell_eval_options, scoring, SCORING_GENERATION, scoring_names,
                    "what is predicted: generated text, or the most likely of dataset.labels"),
    PB_FIELD_INT(cell_eval_options, batch, 8, 1, 1 << 20, "rows",
                 "test rows at once: as many tokens as so many rows of mean length"),
    PB_FIELD_INT(cell_eval_options, max_new_tokens, 0, 0, 1 << 20, "tokens",
                 "maximum number of new tokens, 0: the default of data set and protocol"),
    PB_FIELD_TEXTS(
        PB_CONFIG_TEXT_LIST, PB_KEPT_BEFORE, cell_eval_options, without, "",
        "computed although no result needs it, to measure and to check: padding, prefix, "
        "head, last, lowest (in training, too); order, cache, leaving, drafts"),
    PB_FIELD_END,
};

static unsigned find_saving(const char *name)
{
    unsigned s = 0;
    while (s < PB_SAVING_COUNT && strcmp(name, pb_saving_names[s]) != 0) {
        s++;
    }
    return s;
}

unsigned cell_without(const cell_eval_options *o)
{
    unsigned without = 0;
    for (int64_t i = 0; i < o->without.count; i++) {
        without |= 1U << find_saving(o->without.items[i]);
    }
    return without;
}

/* An unknown metric is reported before anything runs, like an unknown method; so is a label metric
 * for a data set without labels. */
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

/* So is a scoring mode or a method that does not fit the data set. */
static pb_status check_fit(const pb_config *config, pb_protocol protocol, const cell_options *o)
{
    const pb_method_ops *m = o->method;
    const pb_baseline *b   = m->baseline;
    int64_t labels         = pb_dataset_options_labels(&o->dataset, protocol)->count;

    if (o->eval.scoring == SCORING_LIKELIHOOD && labels < 2) {
        return pb_config_at(
            config, "eval", "scoring", -1,
            PB_FAIL(PB_ERR_CONFIG,
                    "eval.scoring \"likelihood\" chooses among dataset.labels, but data "
                    "set %s has none; generate its answers (sweep.override)",
                    o->dataset.name));
    }
    if (b != NULL && b->labels > 0 && labels != b->labels) {
        return pb_config_at(config, "method", "name", -1,
                            PB_FAIL(PB_ERR_CONFIG,
                                    "method %s is for %d classes, but data set %s has %" PRId64
                                    "; leave the pair out (sweep.exclude)",
                                    m->name, b->labels, o->dataset.name, labels));
    }
    if (b != NULL && b->numbers && strcmp(o->dataset.metric, "pearsonr") != 0) {
        return pb_config_at(
            config, "method", "name", -1,
            PB_FAIL(PB_ERR_CONFIG,
                    "method %s needs answers that are single numbers (dataset.metric "
                    "\"pearsonr\"), but those of data set %s are not; leave the pair out "
                    "(sweep.exclude)",
                    m->name, o->dataset.name));
    }
    return PB_OK;
}

static pb_status check_savings(const pb_config *config, const cell_options *o)
{
    for (int64_t i = 0; i < o->eval.without.count; i++) {
        if (find_saving(o->eval.without.items[i]) == PB_SAVING_COUNT) {
            return pb_config_at(config, "eval", "without", i,
                                PB_FAIL(PB_ERR_CONFIG,
                                        "eval.without: \"%s\" is unknown; there are padding, "
                                        "prefix, head, last, lowest, cache, leaving, drafts and "
                                        "order",
                                        o->eval.without.items[i]));
        }
    }
    return PB_OK;
}

/* Defaults in which the paper's trainer differs. */
static void apply_protocol(const pb_config *config, pb_protocol protocol, cell_options *o)
{
    if (protocol != PB_PROTOCOL_PAPER) {
        return;
    }
    if (!pb_config_has(config, "train.validation_mean")) {
        o->train.validation_mean = PB_MEAN_ROWS;
    }
    if (!pb_config_has(config, "train.evaluate_last")) {
        o->train.evaluate_last = false;
    }
}

/* All groups except `method`, whose fields depend on its name. */
static const struct group {
    const char *name;
    const pb_config_field *fields;
    size_t offset, size;       /* of the options in cell_options */
    const char *const *within; /* groups within it, NULL: none */
} groups[CELL_GROUPS] = {
#define GROUP(name_, fields_, member_, within_)                                                   \
    {                                                                                             \
        name_, fields_, offsetof(cell_options, member_), sizeof(((cell_options *)NULL)->member_), \
            within_                                                                               \
    }
    GROUP("model", pb_cell_model_fields, model, NULL),
    GROUP("dataset", pb_dataset_fields, dataset, pb_dataset_groups),
    GROUP("train", pb_train_fields, train, NULL),
    GROUP("data", pb_data_fields, data, NULL),
    GROUP("eval", pb_cell_eval_fields, eval, NULL),
    GROUP("dataset.typical", pb_cell_typical_fields, typical, NULL),
#undef GROUP
};

/* No result depends on the last one. */
enum { WRITTEN_GROUPS = CELL_GROUPS - 1 };

static void *part(const cell_options *o, const struct group *group)
{
    return (char *)o + group->offset;
}

/* The options of a group are read once for both when they come from the same file, without
 * overrides. */
static pb_status read_group(cell_plan *plan, cell_plan *like, int g)
{
    const struct group *group = &groups[g];
    void *options             = part(&plan->options, group);
    if (like == NULL || like->status != PB_OK || like->protocol != plan->protocol ||
        !pb_config_shares(plan->config, like->config, group->name)) {
        return pb_config_read(plan->config, group->name, group->fields, group->within, options);
    }
    cell_plan *lender = like->lenders[g] != NULL ? like->lenders[g] : like;
    memcpy(options, part(&lender->options, group), group->size);
    lender->users++;
    plan->lenders[g] = lender;
    return PB_OK;
}

pb_status cell_options_read(cell_plan *plan, cell_plan *like)
{
    const pb_config *config = plan->config;
    cell_options *o         = &plan->options;
    for (int g = 0; g < CELL_GROUPS; g++) {
        PB_TRY(read_group(plan, like, g));
    }
    PB_TRY(check_metric(config, plan->protocol, o));
    PB_TRY(pb_method_find_in(config, "method", &o->method));
    PB_TRY(check_fit(config, plan->protocol, o));
    PB_TRY(check_savings(config, o));
    PB_TRY(pb_method_options_read(o->method, config, "method", &o->method_options));
    apply_protocol(config, plan->protocol, o);
    return PB_OK;
}

void cell_options_clear(cell_plan *plan)
{
    cell_options *o = &plan->options;
    for (int g = 0; g < CELL_GROUPS; g++) {
        if (plan->lenders[g] == NULL) {
            pb_config_clear(groups[g].fields, part(o, &groups[g]));
        }
    }
    pb_method_options_free(o->method, o->method_options);
}

static pb_status write_group(const char *name, const char *first, const pb_config_field *fields,
                             const void *object, unsigned kept, pb_string *out)
{
    PB_TRY(pb_string_printf(out, "%s = {\n%s", name, first));
    PB_TRY(pb_config_write(fields, object, "    ", kept, out));
    return pb_string_puts(out, "};\n");
}

pb_status cell_options_write(const cell_options *o, unsigned kept, pb_string *out)
{
    char name[128];
    snprintf(name, sizeof name, "    name = \"%s\";\n", o->method->name);
    PB_TRY(write_group("method", name, pb_method_fields(o->method), o->method_options, kept, out));
    for (int g = 0; g < WRITTEN_GROUPS; g++) {
        PB_TRY(write_group(groups[g].name, "", groups[g].fields, part(o, &groups[g]), kept, out));
    }
    return PB_OK;
}

pb_status cell_options_write_data(const cell_options *o, pb_string *out)
{
    PB_TRY(write_group("dataset", "", pb_dataset_fields, &o->dataset, 0, out));
    PB_TRY(write_group("dataset.typical", "", pb_cell_typical_fields, &o->typical, 0, out));
    return write_group("data", "", pb_data_fields, &o->data, 0, out);
}
