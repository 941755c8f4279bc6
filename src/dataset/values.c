// SPDX-License-Identifier: Apache-2.0
/* The values of a row's columns: found by name, read as a class, as a list or as a text. A label is
 * an index into the class names, or one of `label_values`; -1 and the empty text mean that the row
 * is unlabelled; true and false are labels where the classes are called so. */
#include "columns.h"

#include "pb/memory.h"
#include "pb/python.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const json_t *row_value(const json_t *row, const char *name)
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

bool is_text_list(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (!json_is_string(json_array_get(list, i))) {
            return false;
        }
    }
    return json_is_array(list);
}

/* The class named true or false, -2 when there is none. */
static int64_t truth_class(const dataset_columns *columns, bool truth)
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

int64_t label_class(const dataset_columns *columns, const json_t *value)
{
    const pb_config_list *values = &columns->options->label_values;
    char number[32];

    if (json_is_boolean(value)) {
        return truth_class(columns, json_is_true(value));
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

static pb_status parse_list(const dataset_column *column, const char *text, json_t **out)
{
    pb_string clean = {0};
    json_error_t error;

    pb_status status = drop_lone_surrogates(text, &clean);
    if (status == PB_OK) {
        *out = json_loadb(clean.data, clean.length, 0, &error);
        if (*out == NULL || !is_text_list(*out)) {
            status = PB_FAIL(
                PB_ERR_FORMAT, "column \"%s\" is not a JSON list of strings%s%s; correct the row",
                column->source, *out == NULL ? ": " : "", *out == NULL ? error.text : "");
            json_decref(*out);
            *out = NULL;
        }
    }
    pb_string_clear(&clean);
    return status;
}

const json_t *column_value(const dataset_column *column, const json_t *row)
{
    return row_value(row, column->source);
}

pb_status column_list(const dataset_column *column, const json_t *row, json_t **out)
{
    json_t *value = (json_t *)(uintptr_t)row_value(row, column->source);

    if (column->type == COLUMN_STRINGS) {
        *out = json_incref(value);
    } else if (json_string_length(value) == 0) {
        *out = json_array();
        PB_TRY(*out == NULL ? PB_FAIL(PB_ERR_MEMORY, "out of memory for a list") : PB_OK);
    } else {
        PB_TRY(parse_list(column, json_string_value(value), out));
    }
    return PB_OK;
}

pb_status float_text(double value, pb_string *out)
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

static pb_status label_text(const dataset_columns *columns, const json_t *value, pb_row_text *flags,
                            pb_string *out)
{
    int64_t k = label_class(columns, value);
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

pb_status column_text(const dataset_columns *columns, const dataset_column *column, int64_t item,
                      const json_t *row, pb_row_text *flags, pb_string *out, bool *is_null)
{
    const json_t *value = row_value(row, column->source);

    *is_null = value == NULL || json_is_null(value);
    if (*is_null) {
        return PB_OK;
    }
    if (column->type == COLUMN_STRINGS) {
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
    case COLUMN_LABEL:
        return label_text(columns, value, flags, out);
    case COLUMN_INT:
        return pb_string_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    case COLUMN_FLOAT32: {
        /* Hub files hold the widened float32; the paper's texts show its noise. */
        double number = (double)(float)json_number_value(value);
        return columns->protocol == PB_PROTOCOL_PAPER ? float_text(number, out)
                                                      : pb_string_printf(out, "%.1f", number);
    }
    default:
        return pb_string_append(out, json_string_value(value), json_string_length(value));
    }
}

pb_status row_id(const pb_config_list *names, const json_t *row, pb_string *out)
{
    size_t start = out->length;

    for (int64_t i = 0; i < names->count; i++) {
        const json_t *value = row_value(row, names->items[i]);
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
