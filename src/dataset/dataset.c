// SPDX-License-Identifier: Apache-2.0
/* Opening a data set: options, instruction, rows. The texts of a split lie one behind the other in
 * one block; an example is a pair of offsets into it. */
#include "builders.h"
#include "columns.h"
#include "instruction.h"
#include "reader.h"

#include "pb/log.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

enum { PAPER_NEW_TOKENS = 1024, MESSAGE_BYTES = 600 };

typedef struct example {
    size_t user, answer; /* offsets into the texts */
    int64_t row, line;
} example;

typedef struct split_rows {
    pb_string texts;
    example *examples;
    int64_t count;
    pb_row_counts counts;
    char sha[PB_HASH_TEXT];
} split_rows;

struct pb_dataset {
    pb_dataset_options options;
    pb_protocol protocol;
    const pb_dataset_builder *ops;
    split_rows splits[PB_SPLIT_COUNT];
};

static pb_status add_example(split_rows *rows, const pb_row_text *text, int64_t row, int64_t line)
{
    PB_TRY(PB_GROW(rows->examples, rows->count + 1));
    example *e = &rows->examples[rows->count];
    *e         = (example){.row = row, .line = line, .user = rows->texts.length};
    /* Texts hold no NUL: the reader refuses them. */
    PB_TRY(pb_string_append(&rows->texts, text->user.data, text->user.length + 1));
    e->answer = rows->texts.length;
    PB_TRY(pb_string_append(&rows->texts, text->answer.data, text->answer.length + 1));
    rows->count++;
    return PB_OK;
}

static void clear_split(split_rows *rows)
{
    pb_string_clear(&rows->texts);
    pb_memory_free(rows->examples);
    rows->examples = NULL;
    rows->count    = 0;
}

static void empty_text(pb_row_text *text)
{
    text->user.length   = 0;
    text->answer.length = 0;
    text->has_answer    = false;
    text->unlabelled    = false;
}

static pb_status keep_row(split_rows *rows, pb_split split, const pb_row_text *text, int64_t row,
                          int64_t line)
{
    rows->counts.unlabelled += text->unlabelled;
    rows->counts.no_answer += !text->has_answer;
    if (!text->has_answer && split == PB_SPLIT_TRAIN) {
        return PB_OK;
    }
    return add_example(rows, text, row, line);
}

/* Counts a bad row when `allowed`; otherwise, and for every other failure, gives the status back.
 */
static pb_status judge(pb_status status, bool in_json, bool allowed, pb_row_counts *counts,
                       char *first)
{
    bool is_bad = status == PB_ERR_FORMAT || status == PB_ERR_NOT_FOUND;

    if (status == PB_OK || !is_bad || !allowed) {
        return status;
    }
    counts->bad_json += in_json;
    counts->bad_column += !in_json && status == PB_ERR_FORMAT;
    counts->bad_label += !in_json && status == PB_ERR_NOT_FOUND;
    if (*first == '\0') {
        size_t length = strlen(pb_error_message());
        length        = length < MESSAGE_BYTES - 1 ? length : MESSAGE_BYTES - 1;
        memcpy(first, pb_error_message(), length);
        first[length] = '\0';
    }
    pb_error_clear();
    return PB_OK;
}

/* Parses and builds one record; *in_json is set when it fails before its columns are looked at. */
static pb_status build_row(pb_dataset *ds, pb_row_builder *builder, const pb_reader *reader,
                           const pb_columns *columns, const pb_string *record, pb_row_text *text,
                           bool *in_json)
{
    json_t *row = NULL;

    *in_json = true;
    PB_TRY(pb_reader_parse(reader, record->data, record->length, &row));
    *in_json = false;
    empty_text(text);
    pb_status status = pb_reader_is_text(reader) ? pb_columns_convert(columns, row) : PB_OK;
    if (status == PB_OK) {
        status = ds->ops->build(builder, row, text);
    }
    json_decref(row);
    return status;
}

static pb_status read_rows(pb_dataset *ds, pb_split split, pb_row_builder *builder,
                           const pb_data_options *data, pb_reader *reader, char *first)
{
    split_rows *rows = &ds->splits[split];
    const char *path = split == PB_SPLIT_TRAIN ? ds->options.train_file : ds->options.test_file;
    int64_t limit    = split == PB_SPLIT_TRAIN ? data->train_rows : data->test_rows;
    bool allowed     = data->max_bad_share > 0;
    pb_row_text text = {0};
    pb_string record = {0};
    pb_columns columns;
    pb_status status;

    PB_TRY(pb_columns_open(&ds->options, ds->protocol, &columns));
    while (limit == 0 || rows->counts.rows < limit) {
        int64_t line  = 0;
        bool has      = false;
        bool in_json  = true;
        record.length = 0;
        status        = pb_reader_next(reader, &record, &line, &has);
        if (status == PB_OK && !has) {
            break;
        }
        int64_t number = rows->counts.rows++;
        if (status == PB_OK) {
            status = build_row(ds, builder, reader, &columns, &record, &text, &in_json);
            if (status == PB_OK) {
                PB_TRY_GOTO(status, keep_row(rows, split, &text, number, line), out_text);
                continue;
            }
            pb_error_prefix(status, "%s:%" PRId64, path, line);
        }
        PB_TRY_GOTO(status, judge(status, in_json, allowed, &rows->counts, first), out_text);
    }
    PB_TRY_GOTO(status, pb_reader_finish(reader), out_text);
    memcpy(rows->sha, pb_reader_sha(reader), sizeof rows->sha);
out_text:
    pb_columns_close(&columns);
    pb_string_clear(&record);
    pb_string_clear(&text.user);
    pb_string_clear(&text.answer);
    return status;
}

static pb_status check_share(const pb_dataset *ds, const split_rows *rows, const char *path,
                             double share, const char *first)
{
    const pb_row_counts *c = &rows->counts;
    int64_t bad            = c->bad_json + c->bad_column + c->bad_label;

    if ((double)bad > share * (double)c->rows) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: %" PRId64 " of %" PRId64 " rows are bad (%" PRId64 " JSON, %" PRId64
                       " columns, %" PRId64 " labels), data.max_bad_share allows %g; the first: %s",
                       path, bad, c->rows, c->bad_json, c->bad_column, c->bad_label, share, first);
    }
    if (bad > 0) {
        pb_log_warn("data set %s: %" PRId64 " of %" PRId64 " rows left out, the first: %s",
                    ds->options.name, bad, c->rows, first);
    }
    return PB_OK;
}

static pb_status read_file(pb_dataset *ds, pb_split split, pb_row_builder *builder,
                           const pb_data_options *data)
{
    const char *path = split == PB_SPLIT_TRAIN ? ds->options.train_file : ds->options.test_file;
    char first[MESSAGE_BYTES] = "";
    split_rows *rows          = &ds->splits[split];
    pb_reader *reader         = NULL;
    pb_status status;

    if (*path == '\0') {
        const char *key = split == PB_SPLIT_TRAIN ? "train_file" : "test_file";
        return pb_dataset_at(&ds->options, key, -1,
                             PB_FAIL(PB_ERR_CONFIG,
                                     "dataset.%s is empty; builder %s needs a file of rows", key,
                                     ds->ops->name));
    }
    status = pb_reader_open_as(path, (pb_format)ds->options.format, &ds->options.header, &reader);
    if (status != PB_OK) {
        status = pb_dataset_at(&ds->options, "header", -1, status);
        return pb_error_prefix(status, "data set %s", ds->options.name);
    }
    PB_TRY_GOTO(status, read_rows(ds, split, builder, data, reader, first), out_reader);
    PB_TRY_GOTO(status, check_share(ds, rows, path, data->max_bad_share, first), out_reader);
    if (rows->count == 0) {
        status = PB_FAIL(PB_ERR_FORMAT, "%s: none of its %" PRId64 " rows can be used", path,
                         rows->counts.rows);
    }
out_reader:
    pb_reader_close(reader);
    return status;
}

/* Rows without a file; the hash is over the texts. */
static pb_status generate_rows(pb_dataset *ds, pb_split split, pb_row_builder *builder,
                               const pb_data_options *data)
{
    split_rows *rows = &ds->splits[split];
    int64_t limit    = split == PB_SPLIT_TRAIN ? data->train_rows : data->test_rows;
    pb_row_text text = {0};
    pb_status status = PB_OK;

    while (limit == 0 || rows->counts.rows < limit) {
        bool done = false;
        empty_text(&text);
        PB_TRY_GOTO(status, ds->ops->generate(builder, split, rows->counts.rows, &text, &done),
                    out_text);
        if (done) {
            break;
        }
        int64_t number = rows->counts.rows++;
        PB_TRY_GOTO(status, keep_row(rows, split, &text, number, number + 1), out_text);
    }
    PB_TRY_GOTO(status, pb_hash_bytes(rows->texts.data, rows->texts.length, rows->sha), out_text);
out_text:
    pb_string_clear(&text.user);
    pb_string_clear(&text.answer);
    return status;
}

static pb_status open_split(pb_dataset *ds, pb_split split, const pb_data_options *data)
{
    pb_row_builder *builder = NULL;
    char *instruction       = NULL;
    const char *info        = data->peftbench_info != NULL ? data->peftbench_info : "";
    pb_status status;

    PB_TRY(pb_instruction_read(&ds->options, ds->protocol, split, info, &instruction));
    PB_TRY_GOTO(status, ds->ops->open(&ds->options, ds->protocol, instruction, &builder),
                out_instruction);
    if (ds->ops->generate != NULL) {
        PB_TRY_GOTO(status, generate_rows(ds, split, builder, data), out_builder);
    } else {
        PB_TRY_GOTO(status, read_file(ds, split, builder, data), out_builder);
    }
    pb_row_counts *counts = &ds->splits[split].counts;
    if (counts->unlabelled > 0 || counts->no_answer > 0) {
        pb_log_warn("data set %s, %s: %" PRId64 " rows unlabelled, %" PRId64 " without an answer",
                    ds->options.name, split == PB_SPLIT_TRAIN ? "training" : "testing",
                    counts->unlabelled, counts->no_answer);
    }
out_builder:
    ds->ops->close(builder);
out_instruction:
    pb_memory_free(instruction);
    return status;
}

static pb_status find_builder(pb_dataset *ds)
{
    static const char *const tasks[] = {"label", "number", "text", "code", NULL};
    const char *names[64]            = {0};
    size_t known                     = 0;

    while (tasks[known] != NULL && strcmp(tasks[known], ds->options.task) != 0) {
        known++;
    }
    if (tasks[known] == NULL) {
        return pb_dataset_at(&ds->options, "task", -1,
                             PB_FAIL(PB_ERR_CONFIG,
                                     "dataset.task \"%s\" is none of label, number, text, code",
                                     ds->options.task));
    }
    ds->ops = pb_builder_find(ds->options.builder);
    if (ds->ops != NULL) {
        return PB_OK;
    }
    const pb_dataset_builder *const *all = pb_dataset_registry();
    for (size_t i = 0; all[i] != NULL && i + 1 < sizeof names / sizeof *names; i++) {
        names[i] = all[i]->name;
    }
    const char *near = pb_string_nearest(ds->options.builder, names);
    pb_status status =
        PB_FAIL(PB_ERR_CONFIG, "there is no dataset.builder \"%s\"%s%s%s", ds->options.builder,
                near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                near != NULL ? "\"?" : "; template and synthetic are");
    return pb_dataset_at(&ds->options, "builder", -1, status);
}

pb_status pb_dataset_open_take(pb_dataset_options *options, pb_protocol protocol,
                               const pb_data_options *data, pb_dataset **out)
{
    pb_dataset *ds = NULL;
    pb_status status;

    PB_TRY_GOTO(status, PB_ALLOC(ds, 1), err_options);
    ds->protocol = protocol;
    ds->options  = *options;
    *options     = (pb_dataset_options){0};
    PB_TRY_GOTO(status, find_builder(ds), err_dataset);
    for (int split = 0; split < PB_SPLIT_COUNT; split++) {
        PB_TRY_GOTO(status, open_split(ds, (pb_split)split, data), err_dataset);
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
        return PB_FAIL(PB_ERR_CONFIG, "%s: there is no group \"%s\"", pb_config_path(config),
                       group);
    }
    PB_TRY(pb_config_read(config, group, pb_dataset_fields, NULL, &options));
    options.config = config;
    options.group  = group;
    PB_TRY(pb_dataset_open_take(&options, protocol, data, out));
    return PB_OK;
}

void pb_dataset_close(pb_dataset *ds)
{
    if (ds == NULL) {
        return;
    }
    for (int split = 0; split < PB_SPLIT_COUNT; split++) {
        clear_split(&ds->splits[split]);
    }
    pb_config_clear(pb_dataset_fields, &ds->options);
    pb_memory_free(ds);
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
    bool paper = ds->protocol == PB_PROTOCOL_PAPER && ds->options.paper_labels.count > 0;
    return paper ? &ds->options.paper_labels : &ds->options.labels;
}

int64_t pb_dataset_max_new_tokens(const pb_dataset *ds)
{
    bool paper = ds->protocol == PB_PROTOCOL_PAPER && *ds->options.instruction_sha != '\0';
    return paper ? PAPER_NEW_TOKENS : ds->options.max_new_tokens;
}

int64_t pb_dataset_count(const pb_dataset *ds, pb_split split)
{
    return ds->splits[split].count;
}

pb_example pb_dataset_example(const pb_dataset *ds, pb_split split, int64_t index)
{
    const split_rows *rows = &ds->splits[split];

    PB_ASSERT(index >= 0 && index < rows->count);
    const example *e = &rows->examples[index];
    return (pb_example){.user   = rows->texts.data + e->user,
                        .answer = rows->texts.data + e->answer,
                        .row    = e->row,
                        .line   = e->line};
}

pb_row_counts pb_dataset_row_counts(const pb_dataset *ds, pb_split split)
{
    return ds->splits[split].counts;
}

const char *pb_dataset_sha(const pb_dataset *ds, pb_split split)
{
    return ds->splits[split].sha;
}

void pb_dataset_drop_train(pb_dataset *ds)
{
    clear_split(&ds->splits[PB_SPLIT_TRAIN]);
}
