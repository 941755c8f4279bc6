// SPDX-License-Identifier: Apache-2.0
/* Writes and reads one cell. Single numbers and texts are attributes of the cell's group, in the
 * order of their tables; lists are groups of columns below it. */
#include "cell.h"

#include "nexus.h"
#include "seal.h"
#include "source.h"

#include "pb/clock.h"
#include "pb/file.h"
#include "pb/memory.h"
#include "pb/results.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

pb_status cell_path(const pb_record_key *key, pb_string *out)
{
    PB_TRY(pb_string_puts(out, "cells/"));
    PB_TRY(pb_results_escape(key->model != NULL ? key->model : "", out));
    PB_TRY(pb_string_puts(out, "/"));
    PB_TRY(pb_results_escape(key->dataset != NULL ? key->dataset : "", out));
    PB_TRY(pb_string_puts(out, "/"));
    PB_TRY(pb_results_escape(key->method != NULL ? key->method : "", out));
    return pb_string_printf(out, "/%" PRId64, key->seed);
}

pb_status cell_source(const pb_record *record, pb_string *out)
{
    return record->source_group != NULL ? pb_string_puts(out, record->source_group)
                                        : cell_path(&record->key, out);
}

pb_status cell_root_write(hid_t file, const char *kind)
{
    char now[32];

    pb_clock_iso8601(pb_clock_unix(), now, sizeof now);
    PB_TRY(seal_put(file, kind)); /* the first object */
    PB_TRY(hdf_put_i64(file, "schema", PB_RESULTS_SCHEMA));
    PB_TRY(hdf_put_text(file, "program", "peftbench " PB_VERSION, NULL));
    PB_TRY(hdf_put_text(file, "kind", kind, NULL));
    return hdf_put_text(file, "created", now, NULL);
}

pb_status cell_root_check(hid_t file)
{
    char *program    = NULL;
    int64_t schema   = 0;
    pb_status status = PB_OK;

    if (!hdf_has_attribute(file, "schema") || !hdf_has_attribute(file, "program")) {
        return PB_FAIL(PB_ERR_FORMAT, "not a results file of this program: the attributes schema "
                                      "and program are missing");
    }
    PB_TRY(hdf_get_text(file, "program", &program));
    PB_TRY_GOTO(status, hdf_get_i64(file, "schema", &schema), out);
    if (strncmp(program, "peftbench ", 10) != 0) {
        status =
            PB_FAIL(PB_ERR_FORMAT, "written by \"%.*s\", not by peftbench", PB_FIT(program, 60));
    } else if (schema != PB_RESULTS_SCHEMA) {
        status = PB_FAIL(PB_ERR_FORMAT, "schema %" PRId64 " of %.*s; this program reads schema %d",
                         schema, PB_FIT(program, 60), PB_RESULTS_SCHEMA);
    }
out:
    pb_memory_free(program);
    return status;
}

/* A new group on the path to a cell: its unescaped name, and the path to a first plot. */
static pb_status describe_group(hid_t group, const char *name, const char *below)
{
    char child[4096];

    (void)snprintf(child, sizeof child, "%.*s", (int)strcspn(below, "/"), below);
    if (name != NULL) {
        PB_TRY(hdf_put_text(group, "name", name, NULL));
    }
    return nexus_default(group, child);
}

/* Creates the missing groups of a path. */
static pb_status make_groups(hid_t file, const pb_record_key *key, const char *path, hid_t *out)
{
    const char *names[] = {NULL, key->model, key->dataset, key->method};
    hid_t group         = -1;
    char *part          = NULL;
    pb_status status    = PB_OK;

    PB_TRY(pb_record_set_text(&part, path));
    int level = 0;
    for (char *slash = strchr(part, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (!hdf_has(file, part)) {
            PB_TRY_GOTO(status, hdf_group_create(file, part, &group), out);
            PB_TRY_GOTO(status, describe_group(group, names[level], slash + 1), out);
            hdf_release(&group);
        }
        *slash = '/';
        level++;
    }
    if (hdf_has(file, path)) {
        status = PB_FAIL(PB_ERR_ARGUMENT, "two records for the cell %s", path);
        goto out;
    }
    PB_TRY_GOTO(status, hdf_group_create(file, path, out), out);
out:
    hdf_release(&group);
    pb_memory_free(part);
    return status;
}

static pb_status write_key(hid_t group, const pb_record *record, int64_t *escaped)
{
    PB_TRY(hdf_put_text(group, "model", record->key.model, escaped));
    PB_TRY(hdf_put_text(group, "dataset", record->key.dataset, escaped));
    PB_TRY(hdf_put_text(group, "method", record->key.method, escaped));
    PB_TRY(hdf_put_i64(group, "seed", record->key.seed));
    PB_TRY(hdf_put_text(group, "config_hash", record->key.config_hash, escaped));
    PB_TRY(hdf_put_text(group, "status", record->status == PB_OK ? "done" : "failed", NULL));
    PB_TRY(hdf_put_text(group, "status_code", pb_status_name(record->status), NULL));
    return hdf_put_i64(group, "valid", record->valid ? 1 : 0);
}

/* The first list with something to plot. */
static pb_status write_default(hid_t group, const pb_record *record)
{
    for (int l = 0; l < record_lists_count; l++) {
        const record_list *list = &record_lists[l];
        if (list->signal != NULL && record_list_count_of(record, list) > 0) {
            return nexus_default(group, list->name);
        }
    }
    return PB_OK;
}

static pb_status write_provenance(hid_t cell, const pb_record *record, int64_t *escaped)
{
    hid_t group      = -1;
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, hdf_group_create(cell, "provenance", &group), out);
    for (int64_t i = 0; i < record->provenance_count; i++) {
        const pb_record_pair *pair = &record->provenance[i];
        PB_TRY_GOTO(status, hdf_put_text(group, pair->name, pair->value, escaped), out);
    }
out:
    hdf_release(&group);
    return status;
}

pb_status cell_write(hid_t file, const pb_record *record)
{
    pb_string path   = {0};
    int64_t escaped  = record->escaped_bytes;
    hid_t group      = -1;
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, cell_path(&record->key, &path), out);
    PB_TRY_GOTO(status, make_groups(file, &record->key, path.data, &group), out);
    PB_TRY_GOTO(status, write_key(group, record, &escaped), out);
    for (int t = 0; t < record_texts_count; t++) {
        const record_field *field = &record_texts[t];
        PB_TRY_GOTO(status, hdf_put_text(group, field->name, record_text(record, field), &escaped),
                    out);
    }
    for (int n = 0; n < record_numbers_count; n++) {
        const record_field *field = &record_numbers[n];
        PB_TRY_GOTO(status,
                    field->kind == RECORD_I64
                        ? hdf_put_i64(group, field->name, record_i64(record, field))
                        : hdf_put_f64(group, field->name, record_f64(record, field)),
                    out);
    }
    for (int l = 0; l < record_lists_count; l++) {
        const record_list *list = &record_lists[l];
        PB_TRY_GOTO(status,
                    hdf_list_write(group, list, record_list_rows_of(record, list),
                                   record_list_count_of(record, list), &escaped),
                    out);
    }
    PB_TRY_GOTO(status, write_default(group, record), out);
    PB_TRY_GOTO(status, write_provenance(group, record, &escaped), out);
    PB_TRY_GOTO(status, hdf_put_i64(group, "escaped_bytes", escaped), out);
out:
    hdf_release(&group);
    pb_string_clear(&path);
    return status;
}

/* "ERR_IO" → PB_ERR_IO. */
static pb_status parse_status(const char *name, pb_status *out)
{
    for (int code = 0; code < PB_STATUS_COUNT; code++) {
        if (strcmp(name, pb_status_name((pb_status)code)) == 0) {
            *out = (pb_status)code;
            return PB_OK;
        }
    }
    return PB_FAIL(PB_ERR_FORMAT, "status code \"%.*s\" is not known", PB_FIT(name, 40));
}

static pb_status read_key(hid_t group, pb_record *out)
{
    char *text       = NULL;
    int64_t valid    = 1;
    pb_status status = PB_OK;

    PB_TRY(hdf_get_text(group, "model", &out->key.model));
    PB_TRY(hdf_get_text(group, "dataset", &out->key.dataset));
    PB_TRY(hdf_get_text(group, "method", &out->key.method));
    PB_TRY(hdf_get_i64(group, "seed", &out->key.seed));
    PB_TRY(hdf_get_i64(group, "valid", &valid));
    PB_TRY(hdf_get_i64(group, "escaped_bytes", &out->escaped_bytes));
    out->valid = valid != 0;
    PB_TRY(hdf_get_text(group, "config_hash", &text));
    if (strlen(text) >= sizeof out->key.config_hash) {
        status = PB_FAIL(PB_ERR_FORMAT, "attribute \"config_hash\" is not a SHA-256");
        goto out;
    }
    strcpy(out->key.config_hash, text);
    PB_TRY_GOTO(status, hdf_get_text(group, "status_code", &text), out);
    PB_TRY_GOTO(status, parse_status(text, &out->status), out);
out:
    pb_memory_free(text);
    return status;
}

static pb_status read_provenance(hid_t cell, pb_record *out)
{
    hid_t group      = -1;
    char **names     = NULL;
    char *value      = NULL;
    size_t count     = 0;
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, hdf_group_open(cell, "provenance", &group), out);
    PB_TRY_GOTO(status, hdf_names(group, true, &names, &count), out);
    for (size_t i = 0; i < count; i++) {
        PB_TRY_GOTO(status, hdf_get_text(group, names[i], &value), out);
        PB_TRY_GOTO(status, pb_record_add_provenance(out, names[i], value), out);
    }
out:
    pb_memory_free(value);
    pb_memory_free_texts(names, count);
    hdf_release(&group);
    return status;
}

static pb_status read_lists(hid_t group, bool always, pb_record *record)
{
    for (int l = 0; l < record_lists_count; l++) {
        const record_list *list = &record_lists[l];
        void *rows              = NULL;
        int64_t count           = 0;

        if (list->always != always) {
            continue;
        }
        PB_TRY(hdf_list_read(group, list, &rows, &count));
        *record_list_rows(record, list)  = rows;
        *record_list_count(record, list) = count;
    }
    return PB_OK;
}

static pb_status read_parts(hid_t group, pb_record_parts parts, pb_record *out)
{
    PB_TRY(read_key(group, out));
    out->complete = parts == PB_RECORD_ALL;
    if (parts == PB_RECORD_HEAD) {
        PB_TRY(hdf_get_text(group, "model_hash", &out->model_hash));
        PB_TRY(hdf_get_text(group, "tokenizer_hash", &out->tokenizer_hash));
        PB_TRY(hdf_get_text(group, "created", &out->created));
        return hdf_get_text(group, "data_hash", &out->data_hash);
    }
    for (int t = 0; t < record_texts_count; t++) {
        const record_field *field = &record_texts[t];
        if (out->complete || field->offset != offsetof(pb_record, config)) {
            PB_TRY(hdf_get_text(group, field->name, record_text_slot(out, field)));
        }
    }
    for (int n = 0; n < record_numbers_count; n++) {
        const record_field *field = &record_numbers[n];
        char *at                  = (char *)out + field->offset;
        if (H5Aexists(group, field->name) == 0) {
            continue; /* the program that wrote it did not know this number */
        }
        PB_TRY(field->kind == RECORD_I64 ? hdf_get_i64(group, field->name, (int64_t *)at)
                                         : hdf_get_f64(group, field->name, (double *)at));
    }
    if (parts == PB_RECORD_ROW) {
        return PB_OK;
    }
    PB_TRY(read_lists(group, true, out));
    PB_TRY(read_provenance(group, out));
    return out->complete ? read_lists(group, false, out) : PB_OK;
}

pb_status cell_read(hid_t file, const char *path, pb_record_parts parts, pb_record *out)
{
    hid_t group      = -1;
    pb_string usual  = {0};
    pb_status status = PB_OK;

    pb_record_init(out);
    PB_TRY_GOTO(status, hdf_group_open(file, path, &group), out);
    PB_TRY_GOTO(status, read_parts(group, parts, out), out);
    PB_TRY_GOTO(status, cell_path(&out->key, &usual), out);
    if (strcmp(usual.data, path) != 0) {
        PB_TRY_GOTO(status, pb_record_set_text(&out->source_group, path), out);
    }
out:
    pb_string_clear(&usual);
    hdf_release(&group);
    if (status != PB_OK) {
        pb_record_clear(out);
        return pb_error_prefix(status, "%s", path);
    }
    return PB_OK;
}

/* Walks the four levels below "cells". */
static pb_status visit_level(hid_t file, const char *path, int level,
                             pb_status (*visit)(void *context, hid_t file, const char *group),
                             void *context)
{
    hid_t group      = -1;
    char **names     = NULL;
    size_t count     = 0;
    pb_string below  = {0};
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, hdf_group_open(file, path, &group), out);
    PB_TRY_GOTO(status, hdf_names(group, false, &names, &count), out);
    hdf_release(&group);
    for (size_t i = 0; i < count; i++) {
        below.length = 0;
        PB_TRY_GOTO(status, pb_string_printf(&below, "%s/%s", path, names[i]), out);
        PB_TRY_GOTO(status,
                    level == 3 ? visit(context, file, below.data)
                               : visit_level(file, below.data, level + 1, visit, context),
                    out);
    }
out:
    pb_string_clear(&below);
    pb_memory_free_texts(names, count);
    hdf_release(&group);
    return status;
}

pb_status cell_each(hid_t file, pb_status (*visit)(void *context, hid_t file, const char *group),
                    void *context)
{
    if (!hdf_has(file, "cells")) {
        return PB_OK;
    }
    return visit_level(file, "cells", 0, visit, context);
}

static pb_status load(const pb_record *shallow, pb_record *out)
{
    pb_record_source *source = NULL;
    pb_string group          = {0};
    pb_status status;

    PB_TRY_GOTO(status, cell_source(shallow, &group), done);
    PB_TRY_GOTO(status, source_of(shallow, &source), done);
    status = cell_read(source_file(source), group.data, PB_RECORD_ALL, out);
    record_source_release(source);
    pb_error_prefix(status, "%s", shallow->source_file);
done:
    pb_string_clear(&group);
    return status;
}

pb_status pb_record_visit(const pb_record *record, pb_record_visitor visit, void *context)
{
    pb_record whole = {0};

    if (record->complete || record->source_file == NULL) {
        return visit(context, record);
    }
    PB_TRY(load(record, &whole));
    pb_status status = visit(context, &whole);
    pb_record_clear(&whole);
    return status;
}
