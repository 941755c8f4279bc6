// SPDX-License-Identifier: Apache-2.0
/* Readers: the form of a file, and the place before every message. */
#include "forms.h"

#include "pb/dataset.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

static bool ends_in(const char *name, size_t length, const char *suffix)
{
    size_t size = strlen(suffix);

    return length > size && strncasecmp(name + length - size, suffix, size) == 0;
}

/* The format by file name; FORMAT_JSON: the first character decides. */
static dataset_format format_of_name(const char *path)
{
    static const struct {
        const char *suffix;
        dataset_format format;
    } formats[]   = {{".jsonl", FORMAT_JSONL}, {".csv", FORMAT_CSV}, {".tsv", FORMAT_TSV}};
    size_t length = strlen(path);

    if (ends_in(path, length, ".gz")) {
        length -= strlen(".gz");
    } else if (ends_in(path, length, ".zst")) {
        length -= strlen(".zst");
    }
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (ends_in(path, length, formats[i].suffix)) {
            return formats[i].format;
        }
    }
    return FORMAT_JSON;
}

const char *pb_dataset_form(const pb_dataset_options *options, pb_split split)
{
    static const char *const names[] = {
        [FORMAT_AUTO] = "auto", [FORMAT_JSONL] = "jsonl", [FORMAT_JSON] = "json",
        [FORMAT_CSV] = "csv",   [FORMAT_TSV] = "tsv",     [FORMAT_TSV_QUOTED] = "tsv-quoted",
    };
    const char *path = split == PB_SPLIT_TRAIN ? options->train_file : options->test_file;

    return names[options->format == FORMAT_AUTO ? (int)format_of_name(path) : options->format];
}

/* The first byte within the window that is not white space; '\0' without one. */
static char first_character(const char *bytes, size_t size)
{
    size_t i = 0;

    while (i < size && strchr(" \t\r\n", bytes[i]) != NULL && bytes[i] != '\0') {
        i++;
    }
    return i < size ? bytes[i] : '\0';
}

/* An array of objects begins; a line that is another list is a bad row. */
static bool begins_array(const char *bytes, size_t size)
{
    const char *open = first_character(bytes, size) == '[' ? memchr(bytes, '[', size) : NULL;

    return open != NULL && first_character(open + 1, size - (size_t)(open + 1 - bytes)) == '{';
}

/* Files of other kinds, by their first bytes. */
static pb_status check_content(const char *path, const char *bytes, size_t size)
{
    static const char lfs[] = "version https://git-lfs";

    if (size == 0) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s is empty; rows are needed, with the columns that the data set's "
                       "configuration names",
                       path);
    }
    if (size >= 2 && (memcmp(bytes, "\xff\xfe", 2) == 0 || memcmp(bytes, "\xfe\xff", 2) == 0)) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s is UTF-16; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)", path);
    }
    if (size >= 4 && memcmp(bytes, "PAR1", 4) == 0) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s is a parquet file; jobs/fetch_data.py --from-local makes JSON lines of "
                       "it",
                       path);
    }
    if (size >= sizeof lfs - 1 && memcmp(bytes, lfs, sizeof lfs - 1) == 0) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s is a Git LFS pointer, not the file itself; get that (git lfs pull)",
                       path);
    }
    return PB_OK;
}

/* Takes a JSON file's first character into account. */
static pb_status choose_json(dataset_reader *r, const char *bytes, size_t size)
{
    char first = first_character(bytes, size);

    if (first == '[') {
        size_t open = (size_t)((const char *)memchr(bytes, '[', size) - bytes);
        r->form     = &form_json_array;
        r->line += count_lines(bytes, open);
        stream_take(r->stream, open + 1);
        return PB_OK;
    }
    if (first != '{' && first != '\0') {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s begins with neither [ (a JSON array) nor { (JSON lines); rename it "
                       "after its format (.csv, .tsv), or set dataset.format",
                       r->path);
    }
    r->form = &form_json_lines;
    return PB_OK;
}

static pb_status choose_form(dataset_reader *r, dataset_format format)
{
    static const row_form *const forms[] = {
        [FORMAT_JSONL]      = &form_json_lines,
        [FORMAT_CSV]        = &form_csv,
        [FORMAT_TSV]        = &form_tsv,
        [FORMAT_TSV_QUOTED] = &form_tsv_quoted,
    };
    const char *bytes = NULL;
    size_t size       = 0;

    PB_TRY(pb_error_prefix(stream_peek(r->stream, &bytes, &size), "%s", r->path));
    PB_TRY(check_content(r->path, bytes, size));
    if (size >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) {
        stream_take(r->stream, 3);
        bytes += 3;
        size -= 3;
    }
    bool by_name = format == FORMAT_AUTO;
    bool array   = begins_array(bytes, size);
    format       = by_name ? format_of_name(r->path) : format;
    if (format == FORMAT_JSON || (format == FORMAT_JSONL && by_name && array)) {
        return choose_json(r, bytes, size);
    }
    if (format == FORMAT_JSONL && array) {
        return PB_FAIL(
            PB_ERR_FORMAT,
            "%s is a JSON array, not an object a line as dataset.format = \"jsonl\" says; "
            "write dataset.format = \"json\"",
            r->path);
    }
    r->form = forms[format];
    return PB_OK;
}

static pb_status open_header(dataset_reader *r, const pb_config_list *header)
{
    if (r->form->is_text) {
        return delimited_open(r, header);
    }
    if (header != NULL && header->count > 0) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "dataset.header is for CSV and TSV files without a header line; %s is JSON",
                       r->path);
    }
    return PB_OK;
}

pb_status reader_open(const char *path, dataset_format format, const pb_config_list *header,
                      dataset_reader **out)
{
    pb_status status;
    dataset_reader *r = NULL;

    if (pb_path_is_directory(path)) {
        return PB_FAIL(PB_ERR_IO, "%s is a directory; a file of rows is needed", path);
    }
    PB_TRY(PB_ALLOC(r, 1));
    r->line = 1;
    PB_TRY_GOTO(status, PB_TEXT(r->path, path), err_reader);
    PB_TRY_GOTO(status, stream_open(path, &r->stream), err_reader);
    PB_TRY_GOTO(status, choose_form(r, format), err_reader);
    PB_TRY_GOTO(status, open_header(r, header), err_reader);
    *out = r;
    return PB_OK;

err_reader:
    reader_close(r);
    return status;
}

void reader_close(dataset_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    pb_memory_free_texts(reader->names, (size_t)reader->name_count);
    stream_close(reader->stream);
    pb_memory_free(reader->path);
    pb_memory_free(reader);
}

pb_status reader_next(dataset_reader *reader, pb_string *out, int64_t *line, bool *has)
{
    size_t start = out->length;

    *has = false;
    if (reader->is_broken) {
        return PB_FAIL(PB_ERR_IO, "%s cannot be read further after an error", reader->path);
    }
    if (reader->is_over) {
        return PB_OK;
    }
    pb_status status = reader->form->next(reader, out, line, has);
    if (status != PB_OK) {
        *has              = false;
        reader->is_broken = status != PB_ERR_FORMAT;
        out->length       = start;
        if (out->data != NULL) {
            out->data[start] = '\0';
        }
        return pb_error_prefix(status, "%s:%" PRId64, reader->path, *line);
    }
    reader->is_over = !*has;
    return PB_OK;
}

pb_status reader_finish(dataset_reader *reader)
{
    reader->is_over = true;
    return pb_error_prefix(stream_finish(reader->stream), "%s", reader->path);
}

pb_status reader_parse(const dataset_reader *reader, const char *text, size_t length, json_t **row)
{
    return reader->form->parse(reader, text, length, row);
}

bool reader_is_text(const dataset_reader *reader)
{
    return reader->form->is_text;
}

const char *reader_form(const dataset_reader *reader)
{
    return reader->form->name;
}

const char *reader_compression(const dataset_reader *reader)
{
    return stream_compression(reader->stream);
}

int64_t reader_bytes(const dataset_reader *reader)
{
    return stream_bytes(reader->stream);
}

const char *reader_sha(const dataset_reader *reader)
{
    return stream_sha(reader->stream);
}
