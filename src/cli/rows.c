// SPDX-License-Identifier: Apache-2.0
/* Token rows from JSON lines: {"input_ids": […], "labels": […]}. */
#include "work.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

static pb_status append_list(const json_t *list, int64_t vocab, bool labels, work_rows *rows)
{
    size_t i;
    json_t *value;
    json_array_foreach(list, i, value)
    {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if ((id < 0 || id >= vocab) && !(labels && id == PB_LABEL_NONE)) {
            return PB_FAIL(PB_ERR_FORMAT, "\"%s\"[%zu] is no id between 0 and %" PRId64 "%s",
                           labels ? "labels" : "input_ids", i, vocab - 1,
                           labels ? " and not -100" : "");
        }
        rows->storage[rows->used++] = (int32_t)id;
    }
    return PB_OK;
}

/* Offsets stand in for pointers until the storage no longer moves: labels == NULL means none. */
static pb_status append_row(const json_t *row, bool labels, int64_t vocab, work_rows *rows)
{
    const json_t *ids   = json_object_get(row, "input_ids");
    const json_t *marks = json_object_get(row, "labels");
    size_t length       = json_array_size(ids);
    if (!json_is_object(row) || length == 0) {
        return PB_FAIL(PB_ERR_FORMAT, "\"input_ids\" must be a list of at least one id");
    }
    if (labels && (!json_is_array(marks) || json_array_size(marks) != length)) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "\"labels\" must be a list of %zu numbers, as \"input_ids\" is", length);
    }
    PB_TRY(PB_GROW(rows->samples, rows->count + 1));
    PB_TRY(PB_GROW(rows->storage, rows->used + 2 * (int64_t)length));
    PB_TRY(append_list(ids, vocab, false, rows));
    if (labels) {
        PB_TRY(append_list(marks, vocab, true, rows));
    }
    rows->samples[rows->count++] = (pb_sample){.length = (int64_t)length};
    return PB_OK;
}

static pb_status read_lines(const char *path, const pb_string *text, bool labels, int64_t vocab,
                            work_rows *out)
{
    int64_t line = 0;
    for (size_t at = 0; at < text->length; line++) {
        const char *begin = text->data + at;
        const char *end   = memchr(begin, '\n', text->length - at);
        size_t size       = end != NULL ? (size_t)(end - begin) : text->length - at;
        at += size + 1;
        if (size == strspn(begin, " \t\r") || size == 0) {
            continue;
        }
        json_error_t error;
        json_t *row = json_loadb(begin, size, JSON_REJECT_DUPLICATES, &error);
        if (row == NULL) {
            return PB_FAIL(PB_ERR_FORMAT, "%s:%" PRId64 ": no JSON: %s", path, line + 1,
                           error.text);
        }
        pb_status status = append_row(row, labels, vocab, out);
        json_decref(row);
        if (status != PB_OK) {
            pb_error_prefix(status, "%s:%" PRId64, path, line + 1);
            return pb_error_frame(status, __FILE__, __LINE__, __func__);
        }
    }
    if (out->count == 0) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: there is no row in it", path);
    }
    return PB_OK;
}

static void resolve(work_rows *rows, bool labels)
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

pb_status work_rows_read(const char *path, bool labels, int64_t vocab, work_rows *out)
{
    pb_string text = {0};
    memset(out, 0, sizeof *out);
    PB_TRY(pb_file_read(path, 0, &text));
    pb_status status = read_lines(path, &text, labels, vocab, out);
    pb_string_clear(&text);
    if (status != PB_OK) {
        work_rows_clear(out);
        return pb_error_frame(status, __FILE__, __LINE__, __func__);
    }
    resolve(out, labels);
    return PB_OK;
}

void work_rows_clear(work_rows *rows)
{
    pb_memory_free(rows->samples);
    pb_memory_free(rows->storage);
    memset(rows, 0, sizeof *rows);
}
