// SPDX-License-Identifier: Apache-2.0
/* Columns: the declarations "name:type" and "name=source:type" of a data set's configuration, the
 * check of a row against them, and the text of a value. A label is an index into the class names,
 * or one of `label_values`; -1 and the empty text mean that the row is unlabelled; true and false
 * are labels where the classes are called so. */
#include "columns.h"

#include "pb/memory.h"
#include "pb/python.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const type_names[] = {
    [PB_COLUMN_STRING] = "string",   [PB_COLUMN_INT] = "int",
    [PB_COLUMN_FLOAT32] = "float32", [PB_COLUMN_LABEL] = "label",
    [PB_COLUMN_STRINGS] = "strings", [PB_COLUMN_STRINGS_TEXT] = "strings_text",
    [PB_COLUMN_TYPE_COUNT] = NULL,
};

static char *copy_part(const char *begin, const char *end)
{
    char *copy = pb_memory_new((size_t)(end - begin) + 1, 1);

    if (copy != NULL) {
        memcpy(copy, begin, (size_t)(end - begin));
    }
    return copy;
}

static pb_status parse_declaration(const char *text, pb_column *out)
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
    out->type = PB_COLUMN_STRING;
    while (out->type < PB_COLUMN_TYPE_COUNT && strcmp(type_names[out->type], type) != 0) {
        out->type++;
    }
    if (out->type == PB_COLUMN_TYPE_COUNT) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "dataset.columns: \"%s\": type %s is none of string, int, float32, label, "
                       "strings, strings_text",
                       text, type);
    }
    out->name   = copy_part(text, equals != NULL ? equals : colon);
    out->source = copy_part(equals != NULL ? equals + 1 : text, colon);
    return out->name != NULL && out->source != NULL ? PB_OK : PB_ERR_MEMORY;
}

pb_status pb_columns_open(const pb_dataset_options *options, pb_protocol protocol, pb_columns *out)
{
    pb_status status;
    pb_columns columns = {.options  = options,
                          .labels   = pb_dataset_options_labels(options, protocol),
                          .protocol = protocol};

    PB_TRY_GOTO(status, PB_ALLOC(columns.items, options->columns.count), err_columns);
    PB_TRY_GOTO(status, PB_ALLOC(columns.names, options->columns.count + 1), err_columns);
    for (int64_t i = 0; i < options->columns.count; i++) {
        columns.count = i + 1;
        PB_TRY_GOTO(status,
                    pb_dataset_at(options, "columns", i,
                                  parse_declaration(options->columns.items[i], &columns.items[i])),
                    err_columns);
        columns.names[i] = columns.items[i].name;
        if (columns.items[i].type == PB_COLUMN_LABEL && columns.labels->count == 0) {
            status = PB_FAIL(PB_ERR_CONFIG,
                             "dataset.columns: \"%s\" is a label, but dataset.labels is empty",
                             columns.items[i].name);
            status = pb_dataset_at(options, "columns", i, status);
            goto err_columns;
        }
    }
    if (options->label_values.count > 0 && options->label_values.count != columns.labels->count) {
        status = PB_FAIL(PB_ERR_CONFIG,
                         "dataset.label_values has %" PRId64 " entries for %" PRId64 " labels",
                         options->label_values.count, columns.labels->count);
        status = pb_dataset_at(options, "label_values", -1, status);
        goto err_columns;
    }
    *out = columns;
    return PB_OK;

err_columns:
    pb_columns_close(&columns);
    return status;
}

void pb_columns_close(pb_columns *columns)
{
    for (int64_t i = 0; i < columns->count; i++) {
        pb_memory_free(columns->items[i].name);
        pb_memory_free(columns->items[i].source);
    }
    pb_memory_free(columns->items);
    pb_memory_free(columns->names);
    *columns = (pb_columns){0};
}

/* The value at "a.b", NULL when there is none. A key with the whole name comes first. */
static const json_t *value_at(const json_t *row, const char *name)
{
    const json_t *value = json_object_get(row, name);
    const char *dot     = strchr(name, '.');

    while (value == NULL && dot != NULL && json_is_object(row)) {
        row  = json_object_getn(row, name, (size_t)(dot - name));
        name = dot + 1;
        dot  = strchr(name, '.');
        if (dot == NULL) {
            value = json_object_get(row, name);
        }
    }
    return value;
}

static const char *json_type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a text";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    default:
        return "null";
    }
}

static bool all_strings(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (!json_is_string(json_array_get(list, i))) {
            return false;
        }
    }
    return json_is_array(list);
}

/* The class named true or false, -2 when there is none. */
static int64_t class_of_truth(const pb_columns *columns, bool truth)
{
    const pb_dataset_options *options = columns->options;
    const pb_config_list *names =
        options->label_values.count > 0 ? &options->label_values : &options->labels;

    for (int64_t k = 0; k < names->count; k++) {
        if (strcasecmp(names->items[k], truth ? "true" : "false") == 0) {
            return k;
        }
    }
    return -2;
}

static bool type_fits(const pb_columns *columns, pb_column_type type, const json_t *value)
{
    switch (type) {
    case PB_COLUMN_STRING:
    case PB_COLUMN_STRINGS_TEXT:
        return json_is_string(value);
    case PB_COLUMN_INT:
        return json_is_integer(value);
    case PB_COLUMN_FLOAT32:
        return json_is_number(value);
    case PB_COLUMN_LABEL:
        return json_is_integer(value) ||
               (json_is_string(value) && columns->options->label_values.count > 0) ||
               (json_is_boolean(value) && class_of_truth(columns, json_is_true(value)) >= 0);
    case PB_COLUMN_STRINGS:
        return all_strings(value);
    default:
        return false;
    }
}

const pb_column *pb_columns_find(const pb_columns *columns, const char *name)
{
    for (int64_t i = 0; i < columns->count; i++) {
        if (strcmp(columns->items[i].name, name) == 0) {
            return &columns->items[i];
        }
    }
    return NULL;
}

pb_status pb_columns_need(const pb_columns *columns, const char *user, const char *name,
                          pb_column_type type, pb_column_type or_type, const pb_column **out)
{
    const pb_column *column = pb_columns_find(columns, name);

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
static bool is_declared_as(const pb_column *column, const char *text)
{
    size_t length = strlen(column->name);

    return strncmp(column->name, text, length) == 0 && text[length] == ':' &&
           strcmp(type_names[column->type], text + length + 1) == 0 && !column->nullable;
}

pb_status pb_columns_need_all(const pb_columns *columns, const char *builder,
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

static pb_status fail_missing(const pb_column *column, const json_t *row)
{
    char keys[300]        = "";
    size_t used           = 0;
    const char *key       = NULL;
    const char *separator = "";
    json_t *value         = NULL;

    json_object_foreach((json_t *)(uintptr_t)row, key, value)
    {
        if (used < sizeof keys) {
            used += (size_t)snprintf(keys + used, sizeof keys - used, "%s%.40s", separator, key);
        }
        separator = ", ";
    }
    return PB_FAIL(PB_ERR_FORMAT,
                   "column \"%s\" is missing (the row has: %s); give it, or correct "
                   "dataset.columns",
                   column->source, keys);
}

/* The class of a label, -1 for an unlabelled row, -2 for none of the set. */
static int64_t class_of(const pb_columns *columns, const json_t *value)
{
    const pb_config_list *values = &columns->options->label_values;
    char number[32];

    if (json_is_boolean(value)) {
        return class_of_truth(columns, json_is_true(value));
    }
    if (json_is_integer(value) && json_integer_value(value) == -1) {
        return -1;
    }
    if (json_is_integer(value) && values->count == 0) {
        int64_t k = json_integer_value(value);
        return k >= 0 && k < columns->labels->count ? k : -2;
    }
    const char *text = json_string_value(value);
    if (json_is_integer(value)) {
        (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        text = number;
    }
    for (int64_t k = 0; k < values->count; k++) {
        if (strcmp(values->items[k], text) == 0) {
            return k;
        }
    }
    return *text == '\0' ? -1 : -2;
}

static pb_status check_label(const pb_columns *columns, const pb_column *column,
                             const json_t *value)
{
    if (class_of(columns, value) >= -1) {
        return PB_OK;
    }
    const pb_config_list *values = &columns->options->label_values;
    if (values->count > 0) {
        char *text = json_dumps(value, JSON_ENCODE_ANY);
        pb_status status =
            PB_FAIL(PB_ERR_NOT_FOUND,
                    "column \"%s\": %.80s is not a label; %s … %s are (dataset.label_values)",
                    column->source, text != NULL ? text : "it", values->items[0],
                    values->items[values->count - 1]);
        free(text);
        return status;
    }
    return PB_FAIL(PB_ERR_NOT_FOUND,
                   "column \"%s\": label %" JSON_INTEGER_FORMAT " is outside 0 … %" PRId64
                   " (dataset.labels), -1 for none",
                   column->source, json_integer_value(value), columns->labels->count - 1);
}

/* What can be corrected other than the row, as a clause. */
static const char *remedy(pb_column_type type, const json_t *value)
{
    if (json_is_null(value)) {
        return ", or declare the type with a ?";
    }
    if (type == PB_COLUMN_LABEL && json_is_string(value)) {
        return ", or list the texts of the classes (dataset.label_values)";
    }
    if (type == PB_COLUMN_LABEL && json_is_boolean(value)) {
        return ", or list true and false as texts of the classes (dataset.label_values)";
    }
    if (type == PB_COLUMN_LABEL && json_is_real(value)) {
        return ": a label is an integer";
    }
    if (type == PB_COLUMN_INT && json_is_real(value)) {
        return ", or declare float32";
    }
    return json_is_string(value) && type != PB_COLUMN_STRINGS ? ": numbers have no quotes" : "";
}

pb_status pb_columns_check(const pb_columns *columns, const json_t *row)
{
    for (int64_t i = 0; i < columns->count; i++) {
        const pb_column *column = &columns->items[i];
        const json_t *value     = value_at(row, column->source);
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
                           column->source, json_type_name(value), type_names[column->type],
                           remedy(column->type, value));
        }
        if (column->type == PB_COLUMN_LABEL) {
            PB_TRY(check_label(columns, column, value));
        }
    }
    return PB_OK;
}

/* The number of "\\uXXXX" at p, 0 when there is none. */
static unsigned escape_at(const char *p)
{
    return p[0] == '\\' && p[1] == 'u' && strspn(p + 2, "0123456789abcdefABCDEF") >= 4
               ? (unsigned)strtoul((char[5]){p[2], p[3], p[4], p[5]}, NULL, 16)
               : 0;
}

/* Writes the text without escapes of surrogates that have no partner: the original drops such
 * characters, and no UTF-8 text can hold them. */
static pb_status drop_lone_surrogates(const char *text, pb_string *out)
{
    for (const char *p = text; *p != '\0';) {
        size_t run = strcspn(p, "\\");
        PB_TRY(pb_string_append(out, p, run));
        p += run;
        unsigned first = escape_at(p);
        if (first >= 0xd800 && first < 0xe000) {
            unsigned second = escape_at(p + 6);
            bool pair       = first < 0xdc00 && second >= 0xdc00 && second < 0xe000;
            PB_TRY(pb_string_append(out, p, pair ? 12 : 0));
            p += pair ? 12 : 6;
        } else if (*p != '\0') {
            size_t size = p[1] != '\0' ? 2 : 1;
            PB_TRY(pb_string_append(out, p, size));
            p += size;
        }
    }
    return PB_OK;
}

static pb_status parse_list(const pb_column *column, const char *text, json_t **out)
{
    pb_string clean = {0};
    json_error_t error;

    pb_status status = drop_lone_surrogates(text, &clean);
    if (status == PB_OK) {
        *out = json_loadb(clean.data, clean.length, 0, &error);
        if (*out == NULL || !all_strings(*out)) {
            status = PB_FAIL(
                PB_ERR_FORMAT, "column \"%s\" is no JSON list of texts%s%s; correct the row",
                column->source, *out == NULL ? ": " : "", *out == NULL ? error.text : "");
            json_decref(*out);
            *out = NULL;
        }
    }
    pb_string_clear(&clean);
    return status;
}

const json_t *pb_column_value(const pb_column *column, const json_t *row)
{
    return value_at(row, column->source);
}

pb_status pb_column_list(const pb_column *column, const json_t *row, json_t **out)
{
    json_t *value = (json_t *)(uintptr_t)value_at(row, column->source);

    if (column->type == PB_COLUMN_STRINGS) {
        *out = json_incref(value);
    } else if (json_string_length(value) == 0) {
        *out = json_array();
        PB_TRY(*out == NULL ? PB_FAIL(PB_ERR_MEMORY, "out of memory for a list") : PB_OK);
    } else {
        PB_TRY(parse_list(column, json_string_value(value), out));
    }
    return PB_OK;
}

pb_status pb_float_text(double value, pb_string *out)
{
    char text[40];
    int digits = 0;

    do {
        digits++;
        (void)snprintf(text, sizeof text, "%.*e", digits - 1, value);
    } while (digits < 17 && strtod(text, NULL) != value);
    int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    if (value == 0) {
        return pb_string_puts(out, "0.0");
    }
    if (exponent >= 16 || exponent < -4) {
        return pb_string_puts(out, text);
    }
    int decimals = digits - 1 - exponent;
    return pb_string_printf(out, "%.*f", decimals > 1 ? decimals : 1, value);
}

static pb_status label_text(const pb_columns *columns, const json_t *value, pb_row_text *flags,
                            pb_string *out)
{
    int64_t k = class_of(columns, value);
    if (k < 0) {
        flags->unlabelled = true;
        if (columns->options->unlabelled == PB_UNLABELLED_EMPTY) {
            return pb_string_puts(out, "");
        }
        k = columns->labels->count - 1;
    }
    return pb_string_puts(out, columns->labels->items[k]);
}

static bool is_blank(const json_t *value)
{
    const char *text = json_string_value(value);
    size_t length    = json_string_length(value);

    pb_str_strip(&text, &length);
    return length == 0;
}

pb_status pb_column_text(const pb_columns *columns, const pb_column *column, int64_t item,
                         const json_t *row, pb_row_text *flags, pb_string *out, bool *is_null)
{
    const json_t *value = value_at(row, column->source);

    *is_null = value == NULL || json_is_null(value);
    if (*is_null) {
        return PB_OK;
    }
    if (column->type == PB_COLUMN_STRINGS) {
        if (item >= (int64_t)json_array_size(value)) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "column \"%s\" has %zu entries, entry %" PRId64 " (from 0) is needed",
                           column->source, json_array_size(value), item);
        }
        value = json_array_get(value, (size_t)item);
    }
    if (json_is_string(value) && !column->nullable && is_blank(value)) {
        flags->empty = column->name;
    }
    switch (column->type) {
    case PB_COLUMN_LABEL:
        return label_text(columns, value, flags, out);
    case PB_COLUMN_INT:
        return pb_string_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    case PB_COLUMN_FLOAT32: {
        /* Hub files hold the widened float32; the paper's texts show its noise. */
        double number = (double)(float)json_number_value(value);
        return columns->protocol == PB_PROTOCOL_PAPER ? pb_float_text(number, out)
                                                      : pb_string_printf(out, "%.1f", number);
    }
    default:
        return pb_string_append(out, json_string_value(value), json_string_length(value));
    }
}

pb_status pb_row_id(const pb_config_list *names, const json_t *row, pb_string *out)
{
    size_t start = out->length;

    for (int64_t i = 0; i < names->count; i++) {
        const json_t *value = value_at(row, names->items[i]);
        if (value == NULL) {
            continue;
        }
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
        if (text == NULL) {
            return PB_FAIL(PB_ERR_MEMORY, "out of memory for the id of a row");
        }
        pb_status status = pb_string_printf(out, "%s%s", out->length > start ? " " : "", text);
        free(text);
        PB_TRY(status);
    }
    return PB_OK;
}
