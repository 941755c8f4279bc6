// SPDX-License-Identifier: Apache-2.0
/* A reader and a writer of CSV. The reader is strict: a quote inside a bare field, text after a
 * closing quote, an unclosed quote and rows of unequal length are errors. */
#include "csv.h"

#include "pb/memory.h"
#include "pb/string.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct csv_parser {
    const char *name, *at, *end;
    int64_t line;
    csv_table table;
} csv_parser;

static pb_status fail(const csv_parser *p, int64_t line, const char *what)
{
    return PB_FAIL(PB_ERR_FORMAT, "%s:%" PRId64 ": %s", p->name, line, what);
}

static pb_status read_quoted(csv_parser *p, pb_string *field)
{
    int64_t opened = p->line;

    p->at++;
    for (;;) {
        if (p->at == p->end) {
            return fail(p, opened, "a quoted field is not closed");
        }
        if (*p->at == '"') {
            p->at++;
            if (p->at == p->end || *p->at != '"') {
                break;
            }
        }
        p->line += *p->at == '\n';
        PB_TRY(pb_string_append(field, p->at, 1));
        p->at++;
    }
    if (p->at < p->end && *p->at != ',' && *p->at != '\n' && *p->at != '\r') {
        return fail(p, p->line, "text after a closing quote; a quote inside is written twice");
    }
    return PB_OK;
}

static pb_status read_bare(csv_parser *p, pb_string *field)
{
    while (p->at < p->end && *p->at != ',' && *p->at != '\n' && *p->at != '\r') {
        if (*p->at == '"') {
            return fail(p, p->line, "a quote inside a field that is not quoted");
        }
        PB_TRY(pb_string_append(field, p->at, 1));
        p->at++;
    }
    return PB_OK;
}

static pb_status read_field(csv_parser *p, csv_row *row)
{
    pb_string field = {0};
    pb_status status;

    PB_TRY_GOTO(status,
                p->at < p->end && *p->at == '"' ? read_quoted(p, &field) : read_bare(p, &field),
                out);
    if (field.length > 0 && memchr(field.data, '\0', field.length) != NULL) {
        status = fail(p, p->line, "a NUL byte; is it a text file?");
        goto out;
    }
    if (!pb_utf8_is_valid(field.data, field.length, NULL)) {
        status = fail(p, p->line, "a field is not valid UTF-8");
        goto out;
    }
    PB_TRY_GOTO(status, PB_GROW(row->fields, row->count + 1), out);
    PB_TRY_GOTO(status, PB_TEXT(row->fields[row->count], field.data != NULL ? field.data : ""),
                out);
    row->count++;
out:
    pb_string_clear(&field);
    return status;
}

/* Moves past a line end; false when there is none here. */
static bool end_of_line(csv_parser *p)
{
    if (p->at < p->end && *p->at == '\r' && p->at + 1 < p->end && p->at[1] == '\n') {
        p->at++;
    }
    if (p->at < p->end && *p->at == '\n') {
        p->at++;
        p->line++;
        return true;
    }
    return p->at == p->end;
}

static pb_status read_row(csv_parser *p)
{
    PB_TRY(PB_GROW(p->table.rows, p->table.count + 1));
    csv_row *row = &p->table.rows[p->table.count];
    *row         = (csv_row){.line = p->line};
    p->table.count += 1;
    for (;;) {
        PB_TRY(read_field(p, row));
        if (p->at < p->end && *p->at == ',') {
            p->at++;
            continue;
        }
        if (!end_of_line(p)) {
            return fail(p, p->line, "a carriage return without a line feed");
        }
        break;
    }
    if (row->count != p->table.rows[0].count) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s:%" PRId64 ": %" PRId64 " fields, but the header has %" PRId64, p->name,
                       row->line, row->count, p->table.rows[0].count);
    }
    return PB_OK;
}

static pb_status parse(csv_parser *p)
{
    if (p->end - p->at >= 3 && memcmp(p->at, "\xEF\xBB\xBF", 3) == 0) {
        p->at += 3;
    }
    while (p->at < p->end) {
        if (*p->at == '\n' || *p->at == '\r') {
            if (!end_of_line(p)) {
                return fail(p, p->line, "a carriage return without a line feed");
            }
            continue;
        }
        PB_TRY(read_row(p));
    }
    if (p->table.count == 0) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: the file is empty; the first line names the columns",
                       p->name);
    }
    for (int64_t i = 0; i < p->table.rows[0].count; i++) {
        const char *column = p->table.rows[0].fields[i];
        if (csv_column(&p->table, column) != i) {
            return PB_FAIL(PB_ERR_FORMAT, "%s:%" PRId64 ": column \"%.*s\" occurs twice", p->name,
                           p->table.rows[0].line, PB_FIT(column, 80));
        }
    }
    return PB_OK;
}

pb_status csv_parse(const char *name, const char *text, size_t length, csv_table *out)
{
    csv_parser parser = {.name = name, .at = text, .end = text + length, .line = 1};
    pb_status status  = parse(&parser);

    if (status != PB_OK) {
        csv_clear(&parser.table);
        return status;
    }
    *out = parser.table;
    return PB_OK;
}

void csv_clear(csv_table *table)
{
    for (int64_t r = 0; r < table->count; r++) {
        for (int64_t f = 0; f < table->rows[r].count; f++) {
            pb_memory_free(table->rows[r].fields[f]);
        }
        pb_memory_free(table->rows[r].fields);
    }
    pb_memory_free(table->rows);
    *table = (csv_table){0};
}

int64_t csv_column(const csv_table *table, const char *name)
{
    for (int64_t i = 0; i < table->rows[0].count; i++) {
        if (strcmp(table->rows[0].fields[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

/* A number alone, such as -0.5, which a spreadsheet reads as intended. */
static bool is_number(const char *text)
{
    char *end = NULL;

    if (text[strspn(text, "0123456789+-.eE")] != '\0') {
        return false; /* neither "inf" nor a number in base 16 */
    }
    (void)strtod(text, &end);
    return end != text && *end == '\0';
}

/* Characters at which spreadsheets start a formula, also after blanks and in full width. */
static bool is_formula(const char *text)
{
    static const char *const wide[] = {"\uFF1D", "\uFF0B", "\uFF0D", "\uFF20"};

    text += strspn(text, " ");
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        if (pb_string_begins(text, wide[i])) {
            return true;
        }
    }
    return *text != '\0' && strchr("=+-@", *text) != NULL && !is_number(text);
}

/* The text with control characters made visible: "\x0a" for a line end. */
static pb_status put_printable(pb_string *out, const char *text)
{
    pb_string made   = {0};
    size_t room      = 4 * strlen(text) + 1;
    pb_status status = PB_ALLOC(made.data, room);
    if (status == PB_OK) {
        (void)pb_string_printable(text, made.data, room);
    }
    for (const char *c = made.data; status == PB_OK && *c != '\0'; c++) {
        status = *c == '\n'   ? pb_string_puts(out, "\\x0a")
                 : *c == '\t' ? pb_string_puts(out, "\\x09")
                 : *c == '"'  ? pb_string_puts(out, "\"\"")
                              : pb_string_append(out, c, 1);
    }
    pb_memory_free(made.data);
    return status;
}

pb_status csv_put(pb_string *out, const char *field)
{
    size_t length = strlen(field);
    bool quoted   = strpbrk(field, ",\"") != NULL ||
                  (length > 0 && (field[0] == ' ' || field[length - 1] == ' '));

    PB_TRY(pb_string_puts(out, quoted ? "\"" : ""));
    PB_TRY(pb_string_puts(out, is_formula(field) ? "'" : ""));
    PB_TRY(put_printable(out, field));
    return pb_string_puts(out, quoted ? "\"" : "");
}
