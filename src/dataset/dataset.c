// SPDX-License-Identifier: Apache-2.0
/* Opening a data set: options, instructions, and the builder prepared for each split. */
#include "columns.h"
#include "instruction.h"
#include "internal.h"

#include "pb/memory.h"
#include "pb/registry.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PAPER_NEW_TOKENS = 1024 };

static const char *const key_names[KEY_COUNT] = {"train_file", "test_file", "header"};

static pb_status keep_places(pb_dataset *ds)
{
    const pb_dataset_options *o = &ds->options;
    char key[256], place[512];

    for (int k = 0; k < KEY_COUNT && o->config != NULL; k++) {
        (void)snprintf(key, sizeof key, "%s.%s", o->group, key_names[k]);
        /* A default has no place of its own: then the group's. */
        key[pb_config_has(o->config, key) ? strlen(key) : strlen(o->group)] = '\0';
        PB_TRY(PB_TEXT(ds->places[k], pb_config_where(o->config, key, place, sizeof place)));
    }
    return PB_OK;
}

static pb_status open_split(pb_dataset *ds, pb_split split, const char *info)
{
    PB_TRY(instruction_read(&ds->options, ds->protocol, split, info, &ds->instructions[split]));
    return ds->ops->open(&ds->options, ds->protocol, split, ds->instructions[split],
                         &ds->builders[split]);
}

static pb_status find_builder(pb_dataset *ds)
{
    static const char *const tasks[] = {"label", "number", "text", "code", NULL};
    static const pb_registry known   = {.kind = "task", .entries = tasks, .stride = sizeof *tasks};
    size_t task;

    PB_TRY(dataset_at(&ds->options, "task", -1, pb_registry_find(&known, ds->options.task, &task)));
    return dataset_at(&ds->options, "builder", -1, pb_dataset_find(ds->options.builder, &ds->ops));
}

static pb_status check_columns(const pb_dataset *ds)
{
    dataset_columns columns = {0};

    if (ds->ops->columns == NULL) {
        return PB_OK;
    }
    PB_TRY(columns_open(&ds->options, ds->protocol, &columns));
    pb_status status = columns_need_all(&columns, ds->ops->name, ds->ops->columns);
    columns_close(&columns);
    return dataset_at(&ds->options, "columns", -1, status);
}

/* A class is identified by its index, whatever its name in the protocol. */
static pb_status check_labels(const pb_dataset_options *o)
{
    if (o->paper_labels.count > 0 && o->paper_labels.count != o->labels.count) {
        return dataset_at(o, "paper_labels", -1,
                          PB_FAIL(PB_ERR_CONFIG,
                                  "dataset.paper_labels has %" PRId64 " names for the %" PRId64
                                  " classes of dataset.labels",
                                  o->paper_labels.count, o->labels.count));
    }
    return PB_OK;
}

pb_status pb_dataset_open_take(pb_dataset_options *options, pb_protocol protocol,
                               const pb_data_options *data, pb_dataset **out)
{
    pb_dataset *ds   = NULL;
    const char *info = data->peftbench_info != NULL ? data->peftbench_info : "";
    pb_status status;

    PB_TRY_GOTO(status, PB_ALLOC(ds, 1), err_options);
    ds->protocol            = protocol;
    ds->data                = *data;
    ds->data.peftbench_info = NULL;
    ds->options             = *options;
    *options                = (pb_dataset_options){0};
    PB_TRY_GOTO(status, keep_places(ds), err_dataset);
    PB_TRY_GOTO(status, find_builder(ds), err_dataset);
    PB_TRY_GOTO(status, check_columns(ds), err_dataset);
    PB_TRY_GOTO(status, check_labels(&ds->options), err_dataset);
    for (int split = 0; split < PB_SPLIT_COUNT; split++) {
        PB_TRY_GOTO(status, open_split(ds, (pb_split)split, info), err_dataset);
    }
    ds->options.config = NULL;
    ds->options.group  = NULL;
    *out               = ds;
    return PB_OK;

err_dataset:
    pb_dataset_close(ds);
    return status;
err_options:
    pb_config_clear(pb_dataset_fields, options);
    return status;
}

pb_status pb_dataset_open(const pb_config *config, const char *group, pb_protocol protocol,
                          const pb_data_options *data, pb_dataset **out)
{
    pb_dataset_options options = {0};

    if (!pb_config_has(config, group)) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: group \"%s\" is missing", pb_config_path(config), group);
    }
    PB_TRY(pb_config_read(config, group, pb_dataset_fields, pb_dataset_groups, &options));
    options.config = config;
    options.group  = group;
    return PB_FRAME(pb_dataset_open_take(&options, protocol, data, out));
}

void pb_dataset_close(pb_dataset *ds)
{
    if (ds == NULL) {
        return;
    }
    for (int split = 0; split < PB_SPLIT_COUNT; split++) {
        if (ds->ops != NULL) {
            ds->ops->close(ds->builders[split]);
        }
        pb_memory_free(ds->instructions[split]);
    }
    for (int k = 0; k < KEY_COUNT; k++) {
        pb_memory_free(ds->places[k]);
    }
    pb_config_clear(pb_dataset_fields, &ds->options);
    pb_memory_free(ds);
}

void pb_dataset_check_answers(pb_dataset *ds, pb_answer_check *check)
{
    ds->check = check;
}

const pb_dataset_options *pb_dataset_get_options(const pb_dataset *ds)
{
    return &ds->options;
}

pb_protocol pb_dataset_protocol(const pb_dataset *ds)
{
    return ds->protocol;
}

const pb_config_list *pb_dataset_labels(const pb_dataset *ds)
{
    return pb_dataset_options_labels(&ds->options, ds->protocol);
}

int64_t pb_dataset_max_new_tokens(const pb_dataset *ds)
{
    bool paper = ds->protocol == PB_PROTOCOL_PAPER && *ds->options.instruction_sha != '\0';
    return paper ? PAPER_NEW_TOKENS : ds->options.max_new_tokens;
}

pb_status pb_dataset_build(const pb_dataset *ds, pb_split split, const struct json_t *row,
                           pb_row_texts *out)
{
    if (ds->ops->build == NULL) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "data set %s: builder %s makes up its rows and reads none", ds->options.name,
                       ds->ops->name);
    }
    pb_row_texts_empty(out);
    return ds->ops->build(ds->builders[split], row, out);
}
