// SPDX-License-Identifier: Apache-2.0
/* Shared by the forms: a record under construction, records that are lines, the check of a text. */
#include "forms.h"

#include "pb/utf8.h"

#include <inttypes.h>
#include <string.h>

dataset_record_text record_begin(pb_string *out)
{
    return (dataset_record_text){.out = out, .start = out->length};
}

pb_status record_add(dataset_record_text *record, const char *bytes, size_t size)
{
    record->length += size;
    if (record->length > RECORD_BYTES) {
        record->out->length = record->start;
        return PB_OK;
    }
    return pb_string_append(record->out, bytes, size);
}

pb_status record_end(const dataset_record_text *record)
{
    if (record->length <= RECORD_BYTES) {
        return PB_OK;
    }
    return PB_FAIL(PB_ERR_FORMAT, "the record has %zu bytes, more than the %d allowed",
                   record->length, RECORD_BYTES);
}

int64_t count_lines(const char *bytes, size_t size)
{
    const char *end  = bytes + size;
    const char *next = bytes;
    int64_t count    = 0;

    /* They are rare: a search is faster than checking every byte. */
    while (next < end && (next = memchr(next, '\n', (size_t)(end - next))) != NULL) {
        count++;
        next++;
    }
    return count;
}

static bool is_white(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') {
            return false;
        }
    }
    return true;
}

/* Reads to the next line end or the end of the file; *some is false when that comes at once. */
static pb_status read_line(dataset_reader *r, dataset_record_text *record, bool *some)
{
    const char *bytes = NULL;
    size_t size       = 0;

    *some = false;
    for (;;) {
        PB_TRY(stream_peek(r->stream, &bytes, &size));
        if (size == 0) {
            return PB_OK;
        }
        *some           = true;
        const char *end = memchr(bytes, '\n', size);
        PB_TRY(record_add(record, bytes, end != NULL ? (size_t)(end - bytes) : size));
        stream_take(r->stream, end != NULL ? (size_t)(end - bytes) + 1 : size);
        if (end != NULL) {
            r->line++;
            return PB_OK;
        }
    }
}

pb_status lines_next(dataset_reader *r, bool skip_white, pb_string *out, int64_t *line, bool *has)
{
    for (;;) {
        dataset_record_text record = record_begin(out);

        *line = r->line;
        PB_TRY(read_line(r, &record, has));
        if (!*has) {
            return PB_OK;
        }
        PB_TRY(record_end(&record));
        if (record.length > 0 && out->data[out->length - 1] == '\r') {
            record.length--;
            out->data[--out->length] = '\0';
        }
        if (record.length > 0 &&
            !(skip_white && is_white(out->data + record.start, record.length))) {
            return PB_OK;
        }
        out->length = record.start;
    }
}

pb_status text_check(const char *what, const char *text, size_t length)
{
    size_t bad;

    if (!pb_utf8_is_valid(text, length, &bad)) {
        return PB_FAIL(PB_ERR_FORMAT, "byte %zu of the %s is not UTF-8 (0x%02x)", bad + 1, what,
                       (unsigned)(unsigned char)text[bad]);
    }
    const char *nul = memchr(text, '\0', length);
    if (nul != NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "byte %zu of the %s is NUL", (size_t)(nul - text) + 1, what);
    }
    return PB_OK;
}
