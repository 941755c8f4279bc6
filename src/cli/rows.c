// SPDX-License-Identifier: Apache-2.0
/* Token rows from JSON: objects {"input_ids": […], "labels": […]} one after another, on one line or
 * several, or in an array. Padding that "attention_mask" marks at either end is cut off; everything
 * else in a row is checked or reported, never ignored. */
#include "session.h"

#include "pb/file.h"
#include "pb/json.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

typedef struct row_reader {
    const char *path;
    bool labels;
    int64_t vocab;
    json_t *reported; /* an object with the unknown keys so far */
    session_rows *rows;
} row_reader;

/* The tokens of a row, without the padding at its ends. */
typedef struct row_span {
    size_t begin, end;
} row_span;

static pb_status append_list(const json_t *list, const row_span *span, const row_reader *r,
                             bool labels)
{
    for (size_t i = span->begin; i < span->end; i++) {
        const json_t *value = json_array_get(list, i);
        json_int_t id       = json_is_integer(value) ? json_integer_value(value) : -1;
        if ((id < 0 || id >= r->vocab) && !(labels && id == PB_LABEL_NONE)) {
            return PB_FAIL(PB_ERR_FORMAT, "\"%s\"[%zu] is not an id between 0 and %" PRId64 "%s",
                           labels ? "labels" : "input_ids", i, r->vocab - 1,
                           labels ? " and not -100" : "");
        }
        r->rows->storage[r->rows->used++] = (int32_t)id;
    }
    return PB_OK;
}

/* A list of whole numbers as long as "input_ids"; *out is NULL when the row has none. */
static pb_status list_of(const json_t *row, const char *key, size_t length, const json_t **out)
{
    const json_t *list = json_object_get(row, key);

    *out = NULL;
    if (list == NULL || json_is_null(list)) {
        return PB_OK;
    }
    if (!json_is_array(list) || json_array_size(list) != length) {
        return PB_FAIL(PB_ERR_FORMAT, "\"%s\" must be a list of %zu numbers, as \"input_ids\" is",
                       key, length);
    }
    for (size_t i = 0; i < length; i++) {
        if (!json_is_integer(json_array_get(list, i))) {
            return PB_FAIL(PB_ERR_FORMAT, "\"%s\"[%zu] is not a whole number", key, i);
        }
    }
    *out = list;
    return PB_OK;
}

static json_int_t number_at(const json_t *list, size_t i)
{
    return json_integer_value(json_array_get(list, i));
}

/* The mask must consist of ones, with zeros only before and after them. */
static pb_status find_span(const json_t *row, row_span *span)
{
    const json_t *mask = NULL;

    PB_TRY(list_of(row, "attention_mask", span->end, &mask));
    for (size_t i = 0; mask != NULL && i < span->end; i++) {
        if (number_at(mask, i) != 0 && number_at(mask, i) != 1) {
            return PB_FAIL(PB_ERR_FORMAT, "\"attention_mask\"[%zu] is neither 0 nor 1", i);
        }
    }
    while (mask != NULL && span->end > 0 && number_at(mask, span->end - 1) == 0) {
        span->end--;
    }
    while (mask != NULL && span->begin < span->end && number_at(mask, span->begin) == 0) {
        span->begin++;
    }
    if (span->begin == span->end) {
        return PB_FAIL(PB_ERR_FORMAT, "\"attention_mask\" leaves no token");
    }
    for (size_t i = span->begin; mask != NULL && i < span->end; i++) {
        if (number_at(mask, i) == 0) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "\"attention_mask\"[%zu] is 0 between tokens; only padding at the ends "
                           "of a row can be left out",
                           i);
        }
    }
    return PB_OK;
}

static pb_status check_labels(const json_t *labels, const row_span *span, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool padding = i < span->begin || i >= span->end;
        if (padding && number_at(labels, i) != PB_LABEL_NONE) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "\"labels\"[%zu] is trained where \"attention_mask\" is 0; write -100 "
                           "there",
                           i);
        }
    }
    return PB_OK;
}

/* Positions must be 0, 1, 2, … and there is only one type of token: other values would change the
 * result. */
static pb_status check_rest(const json_t *row, const row_span *span, size_t length)
{
    const json_t *positions = NULL, *types = NULL;

    PB_TRY(list_of(row, "position_ids", length, &positions));
    PB_TRY(list_of(row, "token_type_ids", length, &types));
    for (size_t i = span->begin; i < span->end; i++) {
        if (positions != NULL && number_at(positions, i) != (json_int_t)(i - span->begin)) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "\"position_ids\"[%zu] is not %zu; positions count from 0 at the first "
                           "token, other values are not supported",
                           i, i - span->begin);
        }
        if (types != NULL && number_at(types, i) != 0) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "\"token_type_ids\"[%zu] is not 0; these models have one type of token",
                           i);
        }
    }
    return PB_OK;
}

/* Every key is reported once per file. */
static pb_status report_unknown(const row_reader *r, json_t *row, int64_t line)
{
    static const char *const known[] = {"input_ids",    "labels",         "attention_mask",
                                        "position_ids", "token_type_ids", NULL};
    const char *key;
    json_t *value;

    json_object_foreach(row, key, value)
    {
        if (pb_string_is_in(key, known) || json_object_get(r->reported, key) != NULL) {
            continue;
        }
        if (json_object_set_new_nocheck(r->reported, key, json_true()) != 0) {
            return PB_ERR_MEMORY;
        }
        pb_log_warn("%s:%" PRId64 ": the key \"%.*s\" of token rows is ignored", r->path, line,
                    PB_FIT(key, 80));
    }
    return PB_OK;
}

/* Offsets replace pointers until the storage no longer moves: labels == NULL means none. */
static pb_status append_row(const row_reader *r, json_t *row, int64_t line)
{
    const json_t *ids   = json_object_get(row, "input_ids");
    const json_t *marks = NULL;
    size_t length       = json_array_size(ids);
    row_span span       = {.end = length};
    if (!json_is_object(row) || length == 0) {
        return PB_FAIL(PB_ERR_FORMAT, "\"input_ids\" must be a list of at least one id");
    }
    PB_TRY(report_unknown(r, row, line));
    PB_TRY(find_span(row, &span));
    PB_TRY(check_rest(row, &span, length));
    PB_TRY(list_of(row, "labels", length, &marks));
    if (r->labels && marks == NULL) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "\"labels\" must be a list of %zu numbers, as \"input_ids\" is", length);
    }
    session_rows *rows = r->rows;
    PB_TRY(PB_GROW(rows->samples, rows->count + 1));
    PB_TRY(PB_GROW(rows->storage, rows->used + 2 * (int64_t)length));
    PB_TRY(append_list(ids, &span, r, false));
    if (r->labels) {
        PB_TRY(check_labels(marks, &span, length));
        PB_TRY(append_list(marks, &span, r, true));
    }
    rows->samples[rows->count++] = (pb_sample){.length = (int64_t)(span.end - span.begin)};
    return PB_OK;
}

/* An object is a row, an array a list of rows; the messages of its rows name their number. */
static pb_status append_value(const row_reader *r, json_t *value, int64_t line)
{
    size_t i;
    json_t *row;

    if (!json_is_array(value)) {
        pb_status status = append_row(r, value, line);
        pb_error_prefix(status, "%s:%" PRId64, r->path, line);
        return status;
    }
    json_array_foreach(value, i, row)
    {
        PB_TRY(pb_error_prefix(append_row(r, row, line), "%s:%" PRId64 ": row %zu of the array",
                               r->path, line, i + 1));
    }
    return PB_OK;
}

static int64_t count_lines(const char *text, size_t size)
{
    int64_t count = 0;

    for (size_t i = 0; i < size; i++) {
        count += text[i] == '\n';
    }
    return count;
}

static pb_status read_values(const row_reader *r, const pb_string *text)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK;
    int64_t line       = 1;

    for (size_t at = 0; at < text->length;) {
        const char *begin = text->data + at;
        size_t white      = strspn(begin, " \t\r\n");
        json_error_t error;
        line += count_lines(begin, white);
        at += white;
        if (at >= text->length) {
            break;
        }
        json_t *value = json_loadb(begin + white, text->length - at, flags, &error);
        if (value == NULL) {
            return PB_FAIL(PB_ERR_FORMAT, "%s:%" PRId64 ": not valid JSON: %s", r->path, line,
                           pb_json_problem(error.text));
        }
        pb_status status = append_value(r, value, line);
        json_decref(value);
        if (status != PB_OK) {
            return PB_FRAME(status);
        }
        line += count_lines(begin + white, (size_t)error.position);
        at += (size_t)error.position;
    }
    if (r->rows->count == 0) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: contains no rows", r->path);
    }
    return PB_OK;
}

static void resolve(session_rows *rows, bool labels)
{
    int32_t *at = rows->storage;
    for (int64_t i = 0; i < rows->count; i++) {
        pb_sample *s = &rows->samples[i];
        s->ids       = at;
        at += s->length;
        if (labels) {
            s->labels = at;
            at += s->length;
        }
    }
}

pb_status session_rows_read(const char *path, bool labels, int64_t vocab, session_rows *out)
{
    pb_string text = {0};
    row_reader r   = {.path = path, .labels = labels, .vocab = vocab, .rows = out};

    memset(out, 0, sizeof *out);
    PB_TRY(pb_file_read(path, 0, &text));
    r.reported       = json_object();
    pb_status status = r.reported != NULL ? read_values(&r, &text) : PB_ERR_MEMORY;
    json_decref(r.reported);
    pb_string_clear(&text);
    if (status != PB_OK) {
        session_rows_clear(out);
        return PB_FRAME(status);
    }
    resolve(out, labels);
    return PB_OK;
}

void session_rows_clear(session_rows *rows)
{
    pb_memory_free(rows->samples);
    pb_memory_free(rows->storage);
    memset(rows, 0, sizeof *rows);
}
