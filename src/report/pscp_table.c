// SPDX-License-Identifier: Apache-2.0
/* Reads the inputs of PSCP from a CSV table. */
#include "csv.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/pscp.h"
#include "pb/utf8.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_BYTES ((size_t)64 << 20)
/* More than any score, count or size; it keeps the printed table readable. */
#define LARGEST 1e15

typedef struct named_line {
    const char *method;
    int64_t line;
} named_line;

enum { METHOD, SCORE, PARAMS, FLOPS, MEMORY, COLUMNS };

static const char *const names[COLUMNS] = {"method", "score", "params", "flops_t", "memory_gb"};

/* A whole field as a finite number; the formula checks its range later. */
static pb_status number(const char *path, const csv_row *row, int64_t column, const char *name,
                        double *out)
{
    const char *text = row->fields[column];
    char *rest       = NULL;

    *out = strtod(text, &rest);
    if (rest == text || *rest != '\0' || !isfinite(*out) || strpbrk(text, "xX") != NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "%s:%" PRId64 ": column %s: \"%.*s\" is not a number", path,
                       row->line, name, PB_FIT(text, 80));
    }
    if (*out > LARGEST) {
        return PB_FAIL(PB_ERR_NUMERIC, "%s:%" PRId64 ": column %s: %g is above %g", path, row->line,
                       name, *out, LARGEST);
    }
    return PB_OK;
}

/* The method names its row of the printed table, so it is one line of text. */
static pb_status check_name(const char *path, const csv_row *row, const char *name)
{
    if (*name == '\0') {
        return PB_FAIL(PB_ERR_FORMAT, "%s:%" PRId64 ": column method: it is empty", path,
                       row->line);
    }
    for (const char *c = name; *c != '\0'; c++) {
        if (iscntrl((unsigned char)*c)) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "%s:%" PRId64
                           ": column method: a line end or control character (0x%02x)",
                           path, row->line, (unsigned)(unsigned char)*c);
        }
    }
    return PB_OK;
}

static int by_method_and_line(const void *a, const void *b)
{
    const named_line *x = a;
    const named_line *y = b;
    int order           = strcmp(x->method, y->method);

    return order != 0 ? order : (x->line > y->line) - (x->line < y->line);
}

static pb_status check_repeated(const char *path, const csv_table *table, int64_t column)
{
    named_line *lines = NULL;
    int64_t count     = table->count - 1;
    pb_status status  = PB_OK;

    PB_TRY(PB_ALLOC(lines, count));
    for (int64_t i = 0; i < count; i++) {
        const csv_row *row = &table->rows[i + 1];
        lines[i]           = (named_line){.method = row->fields[column], .line = row->line};
    }
    qsort(lines, (size_t)count, sizeof *lines, by_method_and_line);
    for (int64_t i = 1; i < count && status == PB_OK; i++) {
        if (strcmp(lines[i - 1].method, lines[i].method) == 0) {
            status =
                PB_FAIL(PB_ERR_FORMAT,
                        "%s:%" PRId64 ": column method: \"%.*s\" is in line %" PRId64 " already",
                        path, lines[i].line, PB_FIT(lines[i].method, 80), lines[i - 1].line);
        }
    }
    pb_memory_free(lines);
    return status;
}

static pb_status read_row(const char *path, const csv_row *row, const int64_t *columns,
                          pb_pscp_row *out)
{
    double *numbers[COLUMNS] = {NULL, &out->inputs.score, &out->inputs.params, &out->inputs.flops_t,
                                &out->inputs.memory_gb};

    PB_TRY(check_name(path, row, row->fields[columns[METHOD]]));
    for (int c = SCORE; c < COLUMNS; c++) {
        PB_TRY(number(path, row, columns[c], names[c], numbers[c]));
        if (*numbers[c] < 0) {
            return PB_FAIL(PB_ERR_NUMERIC,
                           "%s:%" PRId64 ": column %s: %g is negative; it must be at least 0%s",
                           path, row->line, names[c], *numbers[c],
                           c == FLOPS ? " (the difference to the base model)" : "");
        }
    }
    return PB_TEXT(out->method, row->fields[columns[METHOD]]);
}

static pb_status read_rows(const char *path, const csv_table *table, pb_pscp_row **out,
                           int64_t *count)
{
    int64_t columns[COLUMNS];
    pb_pscp_row *rows = NULL;

    for (int c = 0; c < COLUMNS; c++) {
        columns[c] = csv_column(table, names[c]);
        if (columns[c] < 0) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "%s:%" PRId64 ": column %s is missing; the columns are method, score, "
                           "params, flops_t, memory_gb",
                           path, table->rows[0].line, names[c]);
        }
    }
    if (table->count == 1) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: there is a header but no row", path);
    }
    PB_TRY(check_repeated(path, table, columns[METHOD]));
    PB_TRY(PB_ALLOC(rows, table->count));
    for (int64_t i = 1; i < table->count; i++) {
        pb_status status = read_row(path, &table->rows[i], columns, &rows[i - 1]);
        if (status != PB_OK) {
            pb_pscp_rows_free(rows, table->count - 1);
            return PB_FRAME(status);
        }
    }
    *out   = rows;
    *count = table->count - 1;
    return PB_OK;
}

pb_status pb_pscp_read(const char *path, pb_pscp_row **rows, int64_t *count)
{
    pb_string text   = {0};
    csv_table table  = {0};
    pb_status status = PB_OK;

    PB_TRY(pb_file_read(path, TABLE_BYTES, &text));
    PB_TRY_GOTO(status, csv_parse(path, text.data != NULL ? text.data : "", text.length, &table),
                out);
    PB_TRY_GOTO(status, read_rows(path, &table, rows, count), out);
out:
    csv_clear(&table);
    pb_string_clear(&text);
    return status;
}

void pb_pscp_rows_free(pb_pscp_row *rows, int64_t count)
{
    for (int64_t i = 0; rows != NULL && i < count; i++) {
        pb_memory_free(rows[i].method);
    }
    pb_memory_free(rows);
}
