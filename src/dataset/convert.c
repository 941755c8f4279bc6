// SPDX-License-Identifier: Apache-2.0
/* The texts of CSV and TSV → the declared types of the columns. Numbers and lists are written as in
 * JSON; a label is an index or the name of a class. */
#include "columns.h"

#include "pb/utf8.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

static pb_status fail_type(const dataset_column *column, const char *text, const char *needed)
{
    return PB_FAIL(PB_ERR_FORMAT,
                   "column \"%s\" holds \"%.*s\" where %s is declared (dataset.columns); correct "
                   "the row, or declare string",
                   column->source, PB_FIT(text, 80), needed);
}

/* The index of a text among names, -1 when it is not one; true and false in any case. */
static int64_t index_of(const pb_config_list *names, const char *text)
{
    bool any_case = strcasecmp(text, "true") == 0 || strcasecmp(text, "false") == 0;

    for (int64_t k = 0; k < names->count; k++) {
        if (strcmp(names->items[k], text) == 0) {
            return k;
        }
    }
    for (int64_t k = 0; any_case && k < names->count; k++) {
        if (strcasecmp(names->items[k], text) == 0) {
            return k;
        }
    }
    return -1;
}

/* A label in the form that the check expects: an index, -1, or one of label_values. */
static pb_status convert_label(const dataset_columns *columns, const dataset_column *column,
                               const char *text, json_t *parsed, json_t **out)
{
    const pb_dataset_options *options = columns->options;
    const pb_config_list *values      = &options->label_values;
    int64_t k = index_of(values->count > 0 ? values : &options->labels, text);

    if (values->count > 0 && k >= 0) {
        *out = json_string(values->items[k]);
    } else if (json_is_integer(parsed) && k >= 0 && json_integer_value(parsed) != k) {
        return PB_FAIL(PB_ERR_NOT_FOUND,
                       "column \"%s\": label %.*s is an index and the name of another class; list "
                       "what the file holds per class (dataset.label_values)",
                       column->source, PB_FIT(text, 20));
    } else if (json_is_integer(parsed)) {
        *out = json_incref(parsed);
    } else if (k >= 0 || *text == '\0') {
        *out = json_integer(k);
    } else {
        return PB_FAIL(PB_ERR_NOT_FOUND,
                       "column \"%s\": \"%.*s\" is not a label: %s; correct the row, or list what "
                       "the file holds per class (dataset.label_values)",
                       column->source, PB_FIT(text, 80),
                       values->count > 0 ? "it is not in dataset.label_values"
                                         : "it is neither an index nor a class name");
    }
    return PB_OK;
}

static pb_status convert(const dataset_columns *columns, const dataset_column *column,
                         const char *text, size_t length, json_t **out)
{
    pb_status status = PB_OK;
    json_t *parsed   = json_loadb(text, length, JSON_DECODE_ANY, NULL);

    switch (column->type) {
    case COLUMN_LABEL:
        status = convert_label(columns, column, text, parsed, out);
        break;
    case COLUMN_INT:
        status = json_is_integer(parsed) ? PB_OK : fail_type(column, text, "int");
        break;
    case COLUMN_FLOAT32:
        status = json_is_number(parsed) ? PB_OK : fail_type(column, text, "float32");
        break;
    default:
        status = json_is_array(parsed)
                     ? PB_OK
                     : fail_type(column, text, "strings (a JSON list of strings)");
        break;
    }
    if (status == PB_OK && column->type != COLUMN_LABEL) {
        *out = json_incref(parsed);
    }
    json_decref(parsed);
    return status;
}

pb_status columns_convert(const dataset_columns *columns, json_t *row)
{
    for (int64_t i = 0; i < columns->count; i++) {
        const dataset_column *column = &columns->items[i];
        const json_t *cell           = json_object_get(row, column->source);
        json_t *value                = NULL;

        /* Missing values are found by the check; a value that is not a text was converted for
         * another column. */
        if (!json_is_string(cell)) {
            continue;
        }
        if (column->nullable && json_string_length(cell) == 0) {
            value = json_null();
        } else if (column->type == COLUMN_STRING || column->type == COLUMN_STRINGS_TEXT) {
            continue;
        } else {
            PB_TRY(convert(columns, column, json_string_value(cell), json_string_length(cell),
                           &value));
        }
        if (json_object_set_new(row, column->source, value) != 0) {
            return PB_FAIL(PB_ERR_MEMORY, "no memory for column \"%s\"", column->source);
        }
    }
    return PB_OK;
}
