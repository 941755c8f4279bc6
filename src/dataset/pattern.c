// SPDX-License-Identifier: Apache-2.0
/* Patterns are parsed once, so that an unknown column is an error of the configuration rather than
 * of a row. */
#include "pattern.h"

#include "pb/memory.h"

#include <stdlib.h>
#include <string.h>

static pb_status add_piece(row_pattern *pattern, row_pattern_piece **out)
{
    PB_TRY(PB_GROW(pattern->pieces, pattern->count + 1));
    *out  = &pattern->pieces[pattern->count++];
    **out = (row_pattern_piece){.item = -1};
    return PB_OK;
}

static pb_status find_column(const char *key, const char *name, const dataset_columns *columns,
                             const dataset_column **out)
{
    *out = columns_find(columns, name);
    if (*out != NULL) {
        return PB_OK;
    }
    char hint[PB_HINT_BYTES];
    return PB_FAIL(PB_ERR_CONFIG, "dataset.%s: column \"%s\" is not in dataset.columns%s", key,
                   name, pb_string_hint(hint, name, columns->names));
}

/* A name with a colon may be the name of a column. */
static pb_status parse_filter(const char *key, char *name, const dataset_columns *columns,
                              row_pattern_piece *piece)
{
    char *colon = strrchr(name, ':');

    if (colon == NULL || columns_find(columns, name) != NULL) {
        return PB_OK;
    }
    PB_TRY(
        pb_error_prefix(row_filter_find(colon + 1, &piece->filter), "dataset.%s: {%s}", key, name));
    *colon = '\0';
    return PB_OK;
}

/* Lists need a [number] or the filter that takes lists; other columns allow neither. */
static pb_status check_list(const char *key, const dataset_column *column,
                            const row_pattern_piece *piece)
{
    bool is_list = column->type == COLUMN_STRINGS;
    bool whole   = piece->filter != NULL && piece->filter->apply == NULL;

    if (whole && (!is_list || piece->item >= 0 || piece->columns[1] != NULL)) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "dataset.%s: filter %s is for one list as a whole, not for \"%s\"", key,
                       piece->filter->name, column->name);
    }
    if (!whole && is_list != (piece->item >= 0)) {
        return PB_FAIL(PB_ERR_CONFIG, "dataset.%s: column \"%s\" is %s", key, column->name,
                       is_list ? "a list: write {column[number]}"
                               : "no list: leave the [number] out");
    }
    return PB_OK;
}

/* "a", "a[0]", "a|b", and with ":filter" */
static pb_status parse_column(const char *key, char *name, const dataset_columns *columns,
                              row_pattern_piece *piece)
{
    PB_TRY(parse_filter(key, name, columns, piece));
    char *bar     = strchr(name, '|');
    char *bracket = strchr(name, '[');
    if (bracket != NULL) {
        char *end   = NULL;
        piece->item = strtoll(bracket + 1, &end, 10);
        if (end == bracket + 1 || strcmp(end, "]") != 0 || piece->item < 0) {
            return PB_FAIL(PB_ERR_CONFIG, "dataset.%s: {%s} does not end in [number]", key, name);
        }
        *bracket = '\0';
    }
    if (bar != NULL) {
        *bar = '\0';
        PB_TRY(find_column(key, bar + 1, columns, &piece->columns[1]));
    }
    PB_TRY(find_column(key, name, columns, &piece->columns[0]));
    for (int i = 0; i < 2 && piece->columns[i] != NULL; i++) {
        PB_TRY(check_list(key, piece->columns[i], piece));
    }
    return PB_OK;
}

static pb_status copy_range(const char *text, size_t length, char **out)
{
    char *copy = NULL;

    PB_TRY(PB_ALLOC(copy, length + 1));
    memcpy(copy, text, length);
    *out = copy;
    return PB_OK;
}

/* Parses the pieces at *text and advances it. */
static pb_status parse_piece(const char *key, const char **text, const dataset_columns *columns,
                             row_pattern *pattern)
{
    row_pattern_piece *piece = NULL;
    const char *p            = *text;
    char *name               = NULL;

    PB_TRY(add_piece(pattern, &piece));
    if ((p[0] == '{' || p[0] == '}') && p[1] == p[0]) {
        *text += 2;
        return copy_range(p, 1, &piece->literal);
    }
    if (*p == '}') {
        return PB_FAIL(PB_ERR_CONFIG, "dataset.%s: a } without its {; write }} for the sign itself",
                       key);
    }
    if (*p != '{') {
        size_t length = strcspn(p, "{}");
        *text += length;
        return copy_range(p, length, &piece->literal);
    }
    const char *end = strchr(p, '}');
    if (end == NULL) {
        return PB_FAIL(PB_ERR_CONFIG, "dataset.%s: a { without its }; write {{ for the sign itself",
                       key);
    }
    PB_TRY(copy_range(p + 1, (size_t)(end - p - 1), &name));
    pb_status status = parse_column(key, name, columns, piece);
    pb_memory_free(name);
    *text = end + 1;
    return status;
}

pb_status row_pattern_open(const char *key, const char *text, const dataset_columns *columns,
                           row_pattern *out)
{
    row_pattern pattern = {0};
    pb_status status    = PB_OK;

    while (*text != '\0' && status == PB_OK) {
        status = parse_piece(key, &text, columns, &pattern);
    }
    if (status != PB_OK) {
        row_pattern_close(&pattern);
        return status;
    }
    *out = pattern;
    return PB_OK;
}

void row_pattern_close(row_pattern *pattern)
{
    for (int64_t i = 0; i < pattern->count; i++) {
        pb_memory_free(pattern->pieces[i].literal);
    }
    pb_memory_free(pattern->pieces);
    *pattern = (row_pattern){0};
}

/* The entries of a list with ", " between them. */
static pb_status write_joined(const row_pattern_piece *piece, const dataset_columns *columns,
                              const json_t *row, pb_row_text *flags, pb_string *out, bool *is_null)
{
    json_t *list = NULL;
    pb_status status;

    const json_t *value = column_value(piece->columns[0], row);
    *is_null            = value == NULL || json_is_null(value);
    if (*is_null) {
        return PB_OK;
    }
    PB_TRY(column_list(piece->columns[0], row, &list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        bool entry_null = false;
        PB_TRY_GOTO(status, pb_string_puts(out, i > 0 ? ", " : ""), out_list);
        PB_TRY_GOTO(
            status,
            column_text(columns, piece->columns[0], (int64_t)i, row, flags, out, &entry_null),
            out_list);
    }
    status = PB_OK;
out_list:
    json_decref(list);
    return status;
}

static pb_status write_column(const row_pattern_piece *piece, const dataset_columns *columns,
                              const json_t *row, pb_row_text *flags, pb_string *out, bool *is_null)
{
    size_t before = out->length;

    PB_TRY(column_text(columns, piece->columns[0], piece->item, row, flags, out, is_null));
    if (piece->columns[1] != NULL && out->length == before) {
        PB_TRY(column_text(columns, piece->columns[1], piece->item, row, flags, out, is_null));
    }
    return PB_OK;
}

static pb_status write_filtered(const row_pattern_piece *piece, const dataset_columns *columns,
                                const json_t *row, pb_row_text *flags, pb_string *out,
                                bool *is_null)
{
    pb_string text = {0};
    pb_status status;

    PB_TRY_GOTO(status, pb_string_puts(&text, ""), out_text);
    PB_TRY_GOTO(status, write_column(piece, columns, row, flags, &text, is_null), out_text);
    PB_TRY_GOTO(status, piece->filter->apply(text.data, text.length, out), out_text);
out_text:
    pb_string_clear(&text);
    return status;
}

pb_status row_pattern_write(const row_pattern *pattern, const dataset_columns *columns,
                            const json_t *row, pb_row_text *flags, pb_string *out, bool *has_null)
{
    *has_null = false;
    for (int64_t i = 0; i < pattern->count; i++) {
        const row_pattern_piece *piece = &pattern->pieces[i];
        bool is_null                   = false;
        if (piece->literal != NULL) {
            PB_TRY(pb_string_puts(out, piece->literal));
        } else if (piece->filter == NULL) {
            PB_TRY(write_column(piece, columns, row, flags, out, &is_null));
        } else if (piece->filter->apply == NULL) {
            PB_TRY(write_joined(piece, columns, row, flags, out, &is_null));
        } else {
            PB_TRY(write_filtered(piece, columns, row, flags, out, &is_null));
        }
        *has_null = *has_null || is_null;
    }
    return PB_OK;
}
