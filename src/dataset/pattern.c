// SPDX-License-Identifier: Apache-2.0
/* Patterns are parsed once, so that an unknown column is an error of the configuration and not of
 * some row. */
#include "pattern.h"

#include "pb/memory.h"

#include <stdlib.h>
#include <string.h>

static pb_status add_piece(pb_row_pattern *pattern, pb_row_pattern_piece **out)
{
    PB_TRY(PB_GROW(pattern->pieces, pattern->count + 1));
    *out  = &pattern->pieces[pattern->count++];
    **out = (pb_row_pattern_piece){.item = -1};
    return PB_OK;
}

static pb_status find_column(const char *key, const char *name, const pb_columns *columns,
                             const pb_column **out)
{
    for (int64_t i = 0; i < columns->count; i++) {
        if (strcmp(columns->items[i].name, name) == 0) {
            *out = &columns->items[i];
            return PB_OK;
        }
    }
    const char *near = pb_string_nearest(name, columns->names);
    return PB_FAIL(PB_ERR_CONFIG, "dataset.%s: column \"%s\" is not in dataset.columns%s%s%s", key,
                   name, near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                   near != NULL ? "\"?" : "");
}

/* "a", "a[0]", "a|b" */
static pb_status parse_column(const char *key, char *name, const pb_columns *columns,
                              pb_row_pattern_piece *piece)
{
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
        if ((piece->columns[i]->type == PB_COLUMN_STRINGS) != (piece->item >= 0)) {
            return PB_FAIL(PB_ERR_CONFIG, "dataset.%s: column \"%s\" is %s", key,
                           piece->columns[i]->name,
                           piece->item >= 0 ? "no list: leave the [number] out"
                                            : "a list: write {column[number]}");
        }
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

/* The pieces at *text, which moves on. */
static pb_status parse_piece(const char *key, const char **text, const pb_columns *columns,
                             pb_row_pattern *pattern)
{
    pb_row_pattern_piece *piece = NULL;
    const char *p               = *text;
    char *name                  = NULL;

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

pb_status pb_row_pattern_open(const char *key, const char *text, const pb_columns *columns,
                              pb_row_pattern *out)
{
    pb_row_pattern pattern = {0};
    pb_status status       = PB_OK;

    while (*text != '\0' && status == PB_OK) {
        status = parse_piece(key, &text, columns, &pattern);
    }
    if (status != PB_OK) {
        pb_row_pattern_close(&pattern);
        return status;
    }
    *out = pattern;
    return PB_OK;
}

void pb_row_pattern_close(pb_row_pattern *pattern)
{
    for (int64_t i = 0; i < pattern->count; i++) {
        pb_memory_free(pattern->pieces[i].literal);
    }
    pb_memory_free(pattern->pieces);
    *pattern = (pb_row_pattern){0};
}

pb_status pb_row_pattern_write(const pb_row_pattern *pattern, const pb_columns *columns,
                               const json_t *row, pb_row_text *flags, pb_string *out,
                               bool *has_null)
{
    *has_null = false;
    for (int64_t i = 0; i < pattern->count; i++) {
        const pb_row_pattern_piece *piece = &pattern->pieces[i];
        bool is_null                      = false;
        if (piece->literal != NULL) {
            PB_TRY(pb_string_puts(out, piece->literal));
            continue;
        }
        size_t before = out->length;
        PB_TRY(pb_column_text(columns, piece->columns[0], piece->item, row, flags, out, &is_null));
        if (piece->columns[1] != NULL && out->length == before) {
            PB_TRY(
                pb_column_text(columns, piece->columns[1], piece->item, row, flags, out, &is_null));
        }
        *has_null = *has_null || is_null;
    }
    return PB_OK;
}
