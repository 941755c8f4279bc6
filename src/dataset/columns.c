// SPDX-License-Identifier: Apache-2.0
/* Columns: the declarations "name:type" and "name=source:type" of a data set's configuration, and
 * the check of a row against them. */
#include "columns.h"

#include "pb/json.h"
#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {
    [COLUMN_STRING] = "string",   [COLUMN_INT] = "int",
    [COLUMN_FLOAT32] = "float32", [COLUMN_LABEL] = "label",
    [COLUMN_STRINGS] = "strings", [COLUMN_STRINGS_TEXT] = "strings_text",
    [COLUMN_TYPE_COUNT] = NULL,
};

static char *copy_part(const char *begin, const char *end)
{
    char *copy = pb_memory_new((size_t)(end - begin) + 1, 1);

    if (copy != NULL) {
        memcpy(copy, begin, (size_t)(end - begin));
    }
    return copy;
}

static pb_status parse_declaration(const char *text, dataset_column *out)
{
    const char *colon  = strrchr(text, ':');
    const char *equals = strchr(text, '=');
    char type[16]      = "";

    equals = colon != NULL && equals != NULL && equals < colon ? equals : NULL;
    if (colon == NULL || colon == text || strlen(colon + 1) >= sizeof type || equals == text ||
        (equals != NULL && equals + 1 == colon)) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "dataset.columns: \"%s\" is not \"name:type\" (or \"name=source:type\")",
                       text);
    }
    strcpy(type, colon + 1);
    size_t length = strlen(type);
    out->nullable = length > 0 && type[length - 1] == '?';
    if (out->nullable) {
        type[length - 1] = '\0';
    }
    out->type = COLUMN_STRING;
    while (out->type < COLUMN_TYPE_COUNT && strcmp(type_names[out->type], type) != 0) {
        out->type++;
    }
    if (out->type == COLUMN_TYPE_COUNT) {
        return PB_FAIL(
            PB_ERR_CONFIG,
            "dataset.columns: \"%s\": type %s is not one of string, int, float32, label, "
            "strings, strings_text",
            text, type);
    }
    out->name   = copy_part(text, equals != NULL ? equals : colon);
    out->source = copy_part(equals != NULL ? equals + 1 : text, colon);
    return out->name != NULL && out->source != NULL ? PB_OK : PB_ERR_MEMORY;
}

pb_status columns_open(const pb_dataset_options *options, pb_protocol protocol,
                       dataset_columns *out)
{
    pb_status status;
    dataset_columns columns = {.options  = options,
                               .labels   = pb_dataset_options_labels(options, protocol),
                               .protocol = protocol};

    PB_TRY_GOTO(status, PB_ALLOC(columns.items, options->columns.count), err_columns);
    PB_TRY_GOTO(status, PB_ALLOC(columns.names, options->columns.count + 1), err_columns);
    for (int64_t i = 0; i < options->columns.count; i++) {
        columns.count = i + 1;
        PB_TRY_GOTO(status,
                    dataset_at(options, "columns", i,
                               parse_declaration(options->columns.items[i], &columns.items[i])),
                    err_columns);
        columns.names[i] = columns.items[i].name;
        if (columns.items[i].type == COLUMN_LABEL && columns.labels->count == 0) {
            status = PB_FAIL(PB_ERR_CONFIG,
                             "dataset.columns: \"%s\" is a label, but dataset.labels is empty",
                             columns.items[i].name);
            status = dataset_at(options, "columns", i, status);
            goto err_columns;
        }
    }
    if (options->label_values.count > 0 && options->label_values.count != columns.labels->count) {
        status = PB_FAIL(PB_ERR_CONFIG,
                         "dataset.label_values has %" PRId64 " entries for %" PRId64 " labels",
                         options->label_values.count, columns.labels->count);
        status = dataset_at(options, "label_values", -1, status);
        goto err_columns;
    }
    *out = columns;
    return PB_OK;

err_columns:
    columns_close(&columns);
    return status;
}

void columns_close(dataset_columns *columns)
{
    for (int64_t i = 0; i < columns->count; i++) {
        pb_memory_free(columns->items[i].name);
        pb_memory_free(columns->items[i].source);
    }
    pb_memory_free(columns->items);
    pb_memory_free(columns->names);
    *columns = (dataset_columns){0};
}

static bool type_fits(const dataset_columns *columns, column_type type, const json_t *value)
{
    switch (type) {
    case COLUMN_STRING:
    case COLUMN_STRINGS_TEXT:
        return json_is_string(value);
    case COLUMN_INT:
        return json_is_integer(value);
    case COLUMN_FLOAT32:
        return json_is_number(value);
    case COLUMN_LABEL:
        return json_is_integer(value) ||
               (json_is_string(value) && columns->options->label_values.count > 0) ||
               (json_is_boolean(value) && label_class(columns, value) >= 0);
    case COLUMN_STRINGS:
        return is_text_list(value);
    default:
        return false;
    }
}

const dataset_column *columns_find(const dataset_columns *columns, const char *name)
{
    for (int64_t i = 0; i < columns->count; i++) {
        if (strcmp(columns->items[i].name, name) == 0) {
            return &columns->items[i];
        }
    }
    return NULL;
}

pb_status columns_need(const dataset_columns *columns, const char *user, const char *name,
                       column_type type, column_type or_type, const dataset_column **out)
{
    const dataset_column *column = columns_find(columns, name);

    if (column == NULL || (column->type != type && column->type != or_type) || column->nullable) {
        bool one = type == or_type;
        return PB_FAIL(PB_ERR_CONFIG, "%s needs \"%s:%s\"%s%s in dataset.columns", user, name,
                       type_names[type], one ? "" : " or the type ",
                       one ? "" : type_names[or_type]);
    }
    *out = column;
    return PB_OK;
}

/* True for the column that "name:type" says, without null. */
static bool is_declared_as(const dataset_column *column, const char *text)
{
    size_t length = strlen(column->name);

    return strncmp(column->name, text, length) == 0 && text[length] == ':' &&
           strcmp(type_names[column->type], text + length + 1) == 0 && !column->nullable;
}

pb_status columns_need_all(const dataset_columns *columns, const char *builder,
                           const char *const *needed)
{
    for (; *needed != NULL; needed++) {
        int64_t i = 0;
        while (i < columns->count && !is_declared_as(&columns->items[i], *needed)) {
            i++;
        }
        if (i == columns->count) {
            return PB_FAIL(PB_ERR_CONFIG, "builder %s needs \"%s\" in dataset.columns", builder,
                           *needed);
        }
    }
    return PB_OK;
}

static pb_status fail_missing(const dataset_column *column, const json_t *row)
{
    char keys[300]        = "";
    size_t used           = 0;
    const char *key       = NULL;
    const char *separator = "";
    json_t *value         = NULL;

    json_object_foreach((json_t *)(uintptr_t)row, key, value)
    {
        if (used < sizeof keys) {
            used += (size_t)snprintf(keys + used, sizeof keys - used, "%s%.*s", separator,
                                     PB_FIT(key, 40));
        }
        separator = ", ";
    }
    return PB_FAIL(PB_ERR_FORMAT,
                   "column \"%s\" is missing (the row has: %s); give it, or correct "
                   "dataset.columns",
                   column->source, keys);
}

static pb_status check_label(const dataset_columns *columns, const dataset_column *column,
                             const json_t *value)
{
    if (label_class(columns, value) >= -1) {
        return PB_OK;
    }
    const pb_config_list *values = &columns->options->label_values;
    if (values->count > 0) {
        char *text = json_dumps(value, JSON_ENCODE_ANY);
        pb_status status =
            PB_FAIL(PB_ERR_NOT_FOUND,
                    "column \"%s\": %.*s is not a label; %s … %s are (dataset.label_values)",
                    column->source, PB_FIT(text != NULL ? text : "it", 80), values->items[0],
                    values->items[values->count - 1]);
        free(text);
        return status;
    }
    return PB_FAIL(PB_ERR_NOT_FOUND,
                   "column \"%s\": label %" JSON_INTEGER_FORMAT " is outside 0 … %" PRId64
                   " (dataset.labels), -1 for none",
                   column->source, json_integer_value(value), columns->labels->count - 1);
}

/* What can be corrected instead of the row, as a clause. */
static const char *remedy(column_type type, const json_t *value)
{
    if (json_is_null(value)) {
        return ", or declare the type with a ?";
    }
    if (type == COLUMN_LABEL && json_is_string(value)) {
        return ", or list the texts of the classes (dataset.label_values)";
    }
    if (type == COLUMN_LABEL && json_is_boolean(value)) {
        return ", or list true and false as texts of the classes (dataset.label_values)";
    }
    if (type == COLUMN_LABEL && json_is_real(value)) {
        return ": a label is an integer";
    }
    if (type == COLUMN_INT && json_is_real(value)) {
        return ", or declare float32";
    }
    return json_is_string(value) && type != COLUMN_STRINGS ? ": numbers have no quotes" : "";
}

pb_status columns_check(const dataset_columns *columns, const json_t *row)
{
    for (int64_t i = 0; i < columns->count; i++) {
        const dataset_column *column = &columns->items[i];
        const json_t *value          = row_value(row, column->source);
        if (value == NULL) {
            return fail_missing(column, row);
        }
        if (column->nullable && json_is_null(value)) {
            continue;
        }
        if (!type_fits(columns, column->type, value)) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "column \"%s\" holds %s where %s is declared (dataset.columns); correct "
                           "the row%s",
                           column->source, pb_json_kind(value), type_names[column->type],
                           remedy(column->type, value));
        }
        if (column->type == COLUMN_LABEL) {
            PB_TRY(check_label(columns, column, value));
        }
    }
    return PB_OK;
}
