// SPDX-License-Identifier: Apache-2.0
/* Declared columns of a data set, and their values in a row. */
#pragma once

#include "pb/dataset.h"

#include <jansson.h>

typedef enum column_type {
    COLUMN_STRING,
    COLUMN_INT,
    COLUMN_FLOAT32,
    COLUMN_LABEL,
    COLUMN_STRINGS,
    COLUMN_STRINGS_TEXT, /* the same as JSON in a text; the empty text is the empty list */
    COLUMN_TYPE_COUNT
} column_type;

typedef struct dataset_column {
    char *name;   /* its name in patterns */
    char *source; /* its name in the file; "a.b" reaches into an object */
    column_type type;
    bool nullable;
} dataset_column;

typedef struct dataset_columns {
    dataset_column *items;
    const char **names; /* [count + 1], NULL-terminated */
    int64_t count;
    const pb_dataset_options *options; /* borrowed */
    const pb_config_list *labels;      /* borrowed: the class names in force */
    pb_protocol protocol;
} dataset_columns;

/* Puts the place of the key (entry `index` of its list, -1: none) before a PB_ERR_CONFIG; gives
 * `status` back. */
pb_status dataset_at(const pb_dataset_options *options, const char *key, int64_t index,
                     pb_status status) PB_MUST_USE;

pb_status columns_open(const pb_dataset_options *options, pb_protocol protocol,
                       dataset_columns *out) PB_MUST_USE;
void columns_close(dataset_columns *columns); /* accepts a zeroed one */

/* A row of texts (CSV, TSV): the declared columns get their declared types, in place; an empty text
 * becomes null where that is allowed. PB_ERR_FORMAT for a column, PB_ERR_NOT_FOUND for a label. */
pb_status columns_convert(const dataset_columns *columns, json_t *row) PB_MUST_USE;

/* Checks that every declared column is there and has its type, and that labels belong to the set.
 * PB_ERR_FORMAT for a column, PB_ERR_NOT_FOUND for a label. */
pb_status columns_check(const dataset_columns *columns, const json_t *row) PB_MUST_USE;

/* A declared column, NULL when there is none. */
const dataset_column *columns_find(const dataset_columns *columns, const char *name);
/* The same where a builder or a key (`user`) needs the column: one that is not declared with one of
 * the two types, or allows null, is an error of the configuration. */
pb_status columns_need(const dataset_columns *columns, const char *user, const char *name,
                       column_type type, column_type or_type,
                       const dataset_column **out) PB_MUST_USE;

/* The same for the columns that a builder needs, "name:type", NULL-terminated. */
pb_status columns_need_all(const dataset_columns *columns, const char *builder,
                           const char *const *needed) PB_MUST_USE;

/* values.c: the value at "a.b", NULL when there is none. A key with the whole name comes first. */
const json_t *row_value(const json_t *row, const char *name);
bool is_text_list(const json_t *value);
/* The class of a label, -1 for an unlabelled row, -2 for none of the set. */
int64_t label_class(const dataset_columns *columns, const json_t *value);
/* The value of a column, NULL when there is none. */
const json_t *column_value(const dataset_column *column, const json_t *row);

/* The texts of a checked column of lists that is not null, a new reference. */
pb_status column_list(const dataset_column *column, const json_t *row, json_t **out) PB_MUST_USE;

/* Appends the text of a checked column; `item` counts in a list, -1 without one. *is_null is set
 * when there is none; flags->unlabelled when it is a label of -1, flags->empty when it is a text
 * that should not be empty. */
pb_status column_text(const dataset_columns *columns, const dataset_column *column, int64_t item,
                      const json_t *row, pb_row_text *flags, pb_string *out,
                      bool *is_null) PB_MUST_USE;

/* Appends the id of a row: the values of `names`, as JSON without spaces, with a space between;
 * nothing when the row has none of them. */
pb_status row_id(const pb_config_list *names, const json_t *row, pb_string *out) PB_MUST_USE;

/* Appends the shortest decimal text that reads back as the number, as Python writes it. */
pb_status float_text(double value, pb_string *out) PB_MUST_USE;
