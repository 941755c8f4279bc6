// SPDX-License-Identifier: Apache-2.0
/* A JSON array of objects. The scanner cuts out values one by one by counting brackets outside
 * texts, without a stack, so no nesting can exhaust it; whether a value is a valid object is found
 * when it is parsed. */
#include "forms.h"

#include <string.h>

static bool is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Skips white space and returns the byte after it without consuming it; *has is false at the
 * end. */
static pb_status skip_white(dataset_reader *r, char *next, bool *has)
{
    const char *bytes = NULL;
    size_t size       = 0;
    size_t i;

    do {
        PB_TRY(stream_peek(r->stream, &bytes, &size));
        for (i = 0; i < size && is_white(bytes[i]); i++) {
            r->line += bytes[i] == '\n';
        }
        stream_take(r->stream, i);
    } while (i == size && size > 0);
    *has = size > 0;
    if (*has) {
        *next = bytes[i];
    }
    return PB_OK;
}

typedef struct scan {
    int64_t depth; /* brackets that are open */
    bool in_text;
    bool is_escaped; /* a backslash precedes the next byte */
    bool is_scalar;  /* no bracket and no text: ends before a comma, a bracket or white space */
    bool is_done;
} scan;

/* Whether the byte at `at` follows an odd number of backslashes; `start` is the first byte that may
 * be one of them, and is_escaped covers the bytes before it. */
static bool is_escaped_at(const scan *s, const char *bytes, size_t start, size_t at)
{
    size_t i = at;

    while (i > start && bytes[i - 1] == '\\') {
        i--;
    }
    /* An escaped first byte is not a backslash that escapes. */
    size_t run = at - i - (i == start && s->is_escaped && at > i ? 1 : 0);
    return run % 2 == 1 || (at == start && s->is_escaped);
}

/* The end of the text that continues at `start`: after its quote, or `size` when there is none. */
static size_t scan_text(scan *s, const char *bytes, size_t start, size_t size)
{
    size_t at = start;

    while (at < size) {
        const char *quote = memchr(bytes + at, '"', size - at);
        if (quote == NULL) {
            break;
        }
        at = (size_t)(quote - bytes);
        if (!is_escaped_at(s, bytes, start, at)) {
            s->in_text    = false;
            s->is_escaped = false;
            return at + 1;
        }
        at++;
    }
    s->is_escaped = is_escaped_at(s, bytes, start, size);
    return size;
}

/* The number of bytes that belong to the value; is_done when it ends there. */
static size_t scan_bytes(scan *s, const char *bytes, size_t size)
{
    size_t i = 0;

    while (i < size && !s->is_done) {
        if (s->in_text) {
            i          = scan_text(s, bytes, i, size);
            s->is_done = !s->in_text && s->depth == 0;
            continue;
        }
        char c = bytes[i];
        if (s->is_scalar) {
            s->is_done = c == ',' || c == ']' || is_white(c);
            i += !s->is_done;
            continue;
        }
        i++;
        if (c == '"') {
            s->in_text = true;
        } else if (c == '{' || c == '[') {
            s->depth++;
        } else if (c == '}' || c == ']') {
            s->depth--;
            s->is_done = s->depth == 0;
        }
    }
    return i;
}

static pb_status read_value(dataset_reader *r, char first, pb_string *out)
{
    dataset_record_text record = record_begin(out);
    scan s                     = {.is_scalar = first != '{' && first != '[' && first != '"'};
    const char *bytes          = NULL;
    size_t size                = 0;

    while (!s.is_done) {
        PB_TRY(stream_peek(r->stream, &bytes, &size));
        if (size == 0) {
            return PB_FAIL(PB_ERR_IO, "the file ends inside the record that begins here; "
                                      "it was cut off, or a bracket or a quote is not closed");
        }
        size_t used = scan_bytes(&s, bytes, size);
        PB_TRY(record_add(&record, bytes, used));
        r->line += count_lines(bytes, used);
        stream_take(r->stream, used);
    }
    return record_end(&record);
}

/* Skips what is between records: *is_value is set when one begins. */
static pb_status step(dataset_reader *r, char next, bool *is_value)
{
    array_state before = r->array;

    *is_value = false;
    if (before == ARRAY_CLOSED) {
        return PB_FAIL(PB_ERR_IO, "there is more after the array's closing bracket; a file holds "
                                  "one array");
    }
    if (next == ']') {
        stream_take(r->stream, 1);
        r->array = ARRAY_CLOSED;
        return before != ARRAY_COMMA
                   ? PB_OK
                   : PB_FAIL(PB_ERR_FORMAT, "a record is missing between a comma and the bracket");
    }
    if (next == ',') {
        stream_take(r->stream, 1);
        r->array = ARRAY_COMMA;
        return before == ARRAY_VALUE ? PB_OK
                                     : PB_FAIL(PB_ERR_FORMAT, "a record is missing before a comma");
    }
    if (before == ARRAY_VALUE) {
        r->array = ARRAY_COMMA;
        return PB_FAIL(PB_ERR_FORMAT, "a comma is missing before this record");
    }
    r->array  = ARRAY_VALUE;
    *is_value = true;
    return PB_OK;
}

static pb_status json_array_next(dataset_reader *r, pb_string *out, int64_t *line, bool *has)
{
    char next     = '\0';
    bool is_value = false;

    for (;;) {
        PB_TRY(skip_white(r, &next, has));
        *line = r->line;
        if (!*has && r->array == ARRAY_CLOSED) {
            return PB_OK;
        }
        if (!*has) {
            return PB_FAIL(PB_ERR_IO, "the file ends before its array is closed; it was cut off");
        }
        PB_TRY(step(r, next, &is_value));
        if (is_value) {
            return read_value(r, next, out);
        }
    }
}

static pb_status json_array_parse(const dataset_reader *r, const char *text, size_t length,
                                  json_t **row)
{
    (void)r;
    return json_row("record", text, length, row);
}

const row_form form_json_array = {
    .name  = "JSON array",
    .next  = json_array_next,
    .parse = json_array_parse,
};
