// SPDX-License-Identifier: Apache-2.0
/* JSON lines over a mapping: nothing of the file is kept but the row in hand.
 *
 * Accepted: LF and CR LF line ends, a UTF-8 byte order mark at the start, a last line without its
 * end. Refused, with the line: anything but one object, keys twice, NUL, bytes that are not UTF-8,
 * lone surrogates, nesting deeper than the parser allows, lines above 64 MiB. */
#include "reader.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_LINE_BYTES = 64 << 20 };

struct pb_reader {
    const char *path;
    pb_mapping mapping;
    size_t offset;
    int64_t line;
    char sha[PB_HASH_TEXT];
};

static pb_status open_reader(const char *path, pb_reader *out)
{
    pb_status status;
    pb_reader reader = {.path = path};

    if (pb_path_is_directory(path)) {
        return PB_FAIL(PB_ERR_IO, "%s is a directory; a file of JSON lines is needed", path);
    }
    PB_TRY(pb_mapping_open(path, &reader.mapping));
    if (reader.mapping.size == 0) {
        status = PB_FAIL(PB_ERR_FORMAT,
                         "%s is empty; one JSON object per line is needed, with the columns that "
                         "the data set's configuration names",
                         path);
        goto err_mapping;
    }
    PB_TRY_GOTO(status, pb_hash_bytes(reader.mapping.data, reader.mapping.size, reader.sha),
                err_mapping);
    if (reader.mapping.size >= 3 && memcmp(reader.mapping.data, "\xEF\xBB\xBF", 3) == 0) {
        reader.offset = 3;
    }
    *out = reader;
    return PB_OK;

err_mapping:
    pb_mapping_close(&reader.mapping);
    return status;
}

pb_status pb_reader_open(const char *path, pb_reader **out)
{
    pb_reader *reader = NULL;

    PB_TRY(PB_ALLOC(reader, 1));
    pb_status status = open_reader(path, reader);
    if (status != PB_OK) {
        pb_memory_free(reader);
        return status;
    }
    *out = reader;
    return PB_OK;
}

void pb_reader_close(pb_reader *reader)
{
    if (reader != NULL) {
        pb_mapping_close(&reader->mapping);
    }
    pb_memory_free(reader);
}

bool pb_reader_is_text(const pb_reader *reader)
{
    (void)reader;
    return false;
}

int64_t pb_reader_bytes(const pb_reader *reader)
{
    return (int64_t)reader->offset;
}

const char *pb_reader_sha(const pb_reader *reader)
{
    return reader->sha;
}

static bool is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (strchr(" \t\r", text[i]) == NULL || text[i] == '\0') {
            return false;
        }
    }
    return true;
}

pb_status pb_reader_parse(const pb_reader *reader, const char *text, size_t length, json_t **row)
{
    json_error_t error;
    size_t bad;

    (void)reader;
    if (length > MAX_LINE_BYTES) {
        return PB_FAIL(PB_ERR_FORMAT, "the line has %zu bytes, more than the %d allowed", length,
                       MAX_LINE_BYTES);
    }
    if (!pb_string_is_utf8(text, length, &bad)) {
        return PB_FAIL(PB_ERR_FORMAT, "byte %zu of the line is not UTF-8 (0x%02x)", bad + 1,
                       (unsigned)(unsigned char)text[bad]);
    }
    const char *nul = memchr(text, '\0', length);
    if (nul != NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "byte %zu of the line is NUL", (size_t)(nul - text) + 1);
    }
    json_t *value = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (value == NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "invalid JSON at byte %d: %s", error.position, error.text);
    }
    if (!json_is_object(value)) {
        json_decref(value);
        return PB_FAIL(PB_ERR_FORMAT, "the line is no JSON object");
    }
    *row = value;
    return PB_OK;
}

pb_status pb_reader_next(pb_reader *reader, pb_string *out, int64_t *line, bool *has)
{
    const char *data = reader->mapping.data;

    *has = false;
    while (reader->offset < reader->mapping.size) {
        const char *text = data + reader->offset;
        size_t left      = reader->mapping.size - reader->offset;
        const char *end  = memchr(text, '\n', left);
        size_t length    = end != NULL ? (size_t)(end - text) : left;

        reader->offset += end != NULL ? length + 1 : length;
        reader->line++;
        if (is_blank(text, length)) {
            continue;
        }
        *line = reader->line;
        *has  = true;
        return pb_string_append(out, text, length);
    }
    return PB_OK;
}
