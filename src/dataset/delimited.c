// SPDX-License-Identifier: Apache-2.0
/* CSV and TSV. Quoted forms follow RFC 4180: a field that begins with a quote ends with the next
 * single one, two quotes denote one, and separators and line ends in between belong to its text; a
 * quote elsewhere in a field is a plain character. GLUE's TSV has no quoting. In both, the first
 * line names the columns, LF and CR LF end a line, every row has as many fields as there are
 * names. */
#include "forms.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <string.h>

typedef enum place {
    AT_FIELD, /* at the first byte of a field */
    IN_PLAIN, /* in an unquoted field, or after a closed quote */
    IN_QUOTES,
    BEHIND_QUOTE, /* of a quoted field: its end, or the first of two */
} place;

typedef struct scan {
    place place;
    char separator;
    int64_t line;       /* of the next byte */
    int64_t quote_line; /* where the last quote opened */
    bool is_done;
} scan;

/* The number of bytes that belong to the record, its line end included; is_done when the line end
 * was there. */
static size_t scan_bytes(scan *s, const char *bytes, size_t size)
{
    size_t i = 0;

    while (i < size && !s->is_done) {
        if (s->place == IN_QUOTES) {
            const char *quote = memchr(bytes + i, '"', size - i);
            size_t end        = quote != NULL ? (size_t)(quote - bytes) : size;
            s->line += count_lines(bytes + i, end - i);
            s->place = quote != NULL ? BEHIND_QUOTE : IN_QUOTES;
            i        = quote != NULL ? end + 1 : size;
            continue;
        }
        char c = bytes[i++];
        if (c == '\n') {
            s->line++;
            s->is_done = true;
        } else if (c == s->separator) {
            s->place = AT_FIELD;
        } else if (c == '"' && s->place != IN_PLAIN) {
            s->quote_line = s->place == AT_FIELD ? s->line : s->quote_line;
            s->place      = IN_QUOTES;
        } else {
            s->place = IN_PLAIN;
        }
    }
    return i;
}

static pb_status read_record(dataset_reader *r, dataset_record_text *record, bool *some)
{
    scan s            = {.separator = r->form->separator, .line = r->line};
    const char *bytes = NULL;
    size_t size       = 0;

    *some = false;
    while (!s.is_done) {
        PB_TRY(stream_peek(r->stream, &bytes, &size));
        if (size == 0 && s.place == IN_QUOTES) {
            return PB_FAIL(PB_ERR_IO,
                           "the quote that opens in line %" PRId64 " is never closed; close it, or "
                           "double the quotes in the text",
                           s.quote_line);
        }
        if (size == 0) {
            break;
        }
        *some       = true;
        size_t used = scan_bytes(&s, bytes, size);
        PB_TRY(record_add(record, bytes, used));
        stream_take(r->stream, used);
        r->line = s.line;
    }
    return PB_OK;
}

static void drop_last(dataset_record_text *record, char c)
{
    pb_string *out = record->out;

    if (record->length > 0 && out->data[out->length - 1] == c) {
        record->length--;
        out->data[--out->length] = '\0';
    }
}

static pb_status quoted_next(dataset_reader *r, pb_string *out, int64_t *line, bool *has)
{
    for (;;) {
        dataset_record_text record = record_begin(out);

        *line = r->line;
        PB_TRY(read_record(r, &record, has));
        if (!*has) {
            return PB_OK;
        }
        PB_TRY(record_end(&record));
        drop_last(&record, '\n');
        drop_last(&record, '\r');
        if (record.length > 0) {
            return PB_OK;
        }
    }
}

static pb_status plain_next(dataset_reader *r, pb_string *out, int64_t *line, bool *has)
{
    return lines_next(r, false, out, line, has);
}

/* The field at *at as bytes, which point into the text or into `unquoted`; *at moves past its
 * separator, or past the end when it is the last. `number` counts it, from 1. */
static pb_status read_field(const row_form *form, const char *text, size_t length, size_t *at,
                            int64_t number, pb_string *unquoted, const char **field, size_t *size)
{
    size_t i = *at;

    if (!form->is_quoted || i == length || text[i] != '"') {
        const char *end = i < length ? memchr(text + i, form->separator, length - i) : NULL;
        *field          = text + i;
        *size           = end != NULL ? (size_t)(end - *field) : length - i;
        *at             = i + *size + 1;
        return PB_OK;
    }
    unquoted->length = 0;
    for (i++;;) {
        const char *quote = i < length ? memchr(text + i, '"', length - i) : NULL;
        if (quote == NULL) {
            return PB_FAIL(PB_ERR_FORMAT, "the quote of field %" PRId64 " is not closed", number);
        }
        PB_TRY(pb_string_append(unquoted, text + i, (size_t)(quote - text) - i));
        i = (size_t)(quote - text) + 1;
        if (i == length || text[i] != '"') {
            break;
        }
        PB_TRY(pb_string_puts(unquoted, "\""));
        i++;
    }
    if (i < length && text[i] != form->separator) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "field %" PRId64
                       " continues after its closing quote; double the quotes in a "
                       "quoted field",
                       number);
    }
    *field = unquoted->data;
    *size  = unquoted->length;
    *at    = i + 1;
    return PB_OK;
}

static pb_status set_field(json_t *object, const char *name, const char *field, size_t size)
{
    if (json_object_set_new_nocheck(object, name, json_stringn_nocheck(field, size)) != 0) {
        return PB_FAIL(PB_ERR_MEMORY, "no memory for a field of %zu bytes", size);
    }
    return PB_OK;
}

static pb_status delimited_parse(const dataset_reader *r, const char *text, size_t length,
                                 json_t **row)
{
    pb_string unquoted = {0};
    size_t at          = 0;
    int64_t count      = 0;
    pb_status status   = PB_OK;
    const char *field  = NULL;
    size_t size        = 0;

    PB_TRY(text_check("row", text, length));
    json_t *object = json_object();
    if (object == NULL) {
        return PB_FAIL(PB_ERR_MEMORY, "no memory for a row");
    }
    for (; at <= length; count++) {
        PB_TRY_GOTO(status,
                    read_field(r->form, text, length, &at, count + 1, &unquoted, &field, &size),
                    out_object);
        if (count < r->name_count) {
            PB_TRY_GOTO(status, set_field(object, r->names[count], field, size), out_object);
        }
    }
    if (count != r->name_count) {
        status = PB_FAIL(PB_ERR_FORMAT,
                         "the row has %" PRId64 " fields where there are %" PRId64 " columns",
                         count, r->name_count);
        goto out_object;
    }
    *row = json_incref(object);
out_object:
    json_decref(object);
    pb_string_clear(&unquoted);
    return status;
}

/* Adds the name of a column; `names` has those before it. */
static pb_status add_name(dataset_reader *r, json_t *names, const char *name, size_t size,
                          pb_status refusal)
{
    if (size == 0) {
        return PB_FAIL(refusal,
                       "the name of column %" PRId64 " is empty; every column needs a name",
                       r->name_count + 1);
    }
    PB_TRY(PB_GROW(r->names, r->name_count + 1));
    char *copy = pb_memory_new(size + 1, 1);
    if (copy == NULL) {
        return PB_ERR_MEMORY;
    }
    memcpy(copy, name, size);
    r->names[r->name_count++] = copy;
    if (json_object_get(names, copy) != NULL) {
        return PB_FAIL(refusal,
                       "there are two columns \"%.*s\"; every column needs a name of its own",
                       PB_FIT(copy, 80));
    }
    return set_field(names, copy, "", 0);
}

static pb_status take_header(dataset_reader *r, const char *text, size_t length, json_t *names)
{
    pb_string unquoted = {0};
    size_t at          = 0;
    pb_status status   = PB_OK;
    const char *field  = NULL;
    size_t size        = 0;

    PB_TRY(text_check("header", text, length));
    if (memchr(text, '\r', length) != NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "the header holds a carriage return; lines end in LF or CR "
                                      "LF, so convert the file");
    }
    while (at <= length) {
        PB_TRY_GOTO(
            status,
            read_field(r->form, text, length, &at, r->name_count + 1, &unquoted, &field, &size),
            out_unquoted);
        PB_TRY_GOTO(status, add_name(r, names, field, size, PB_ERR_FORMAT), out_unquoted);
    }
out_unquoted:
    pb_string_clear(&unquoted);
    return status;
}

static pb_status read_header(dataset_reader *r, json_t *names)
{
    pb_string text = {0};
    int64_t line   = 0;
    bool has       = false;
    pb_status status;

    PB_TRY_GOTO(status, r->form->next(r, &text, &line, &has), done);
    if (!has) {
        status = PB_FAIL(PB_ERR_FORMAT, "the line with the names of the columns is missing");
        goto done;
    }
    PB_TRY_GOTO(status, take_header(r, text.data, text.length, names), done);
done:
    pb_string_clear(&text);
    return pb_error_prefix(status, "%s:%" PRId64, r->path, line);
}

pb_status delimited_open(dataset_reader *r, const pb_config_list *header)
{
    pb_status status = PB_OK;
    json_t *names    = json_object();

    if (names == NULL) {
        return PB_FAIL(PB_ERR_MEMORY, "no memory for the names of columns");
    }
    if (header == NULL || header->count == 0) {
        status = read_header(r, names);
    }
    for (int64_t i = 0; status == PB_OK && header != NULL && i < header->count; i++) {
        status = add_name(r, names, header->items[i], strlen(header->items[i]), PB_ERR_CONFIG);
        status = status == PB_OK ? status : pb_error_prefix(status, "dataset.header");
    }
    json_decref(names);
    return status;
}

const row_form form_csv = {
    .name      = "CSV",
    .is_text   = true,
    .is_quoted = true,
    .separator = ',',
    .next      = quoted_next,
    .parse     = delimited_parse,
};

const row_form form_tsv = {
    .name      = "TSV",
    .is_text   = true,
    .separator = '\t',
    .next      = plain_next,
    .parse     = delimited_parse,
};

const row_form form_tsv_quoted = {
    .name      = "TSV with quotes",
    .is_text   = true,
    .is_quoted = true,
    .separator = '\t',
    .next      = quoted_next,
    .parse     = delimited_parse,
};
