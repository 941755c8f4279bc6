// SPDX-License-Identifier: Apache-2.0
/* Tables of aligned texts. Widths count characters, not bytes: "±" is one. */
#include "grid_text.h"

#include "pb/memory.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void grid_text_init(grid_text *table, int64_t columns, int64_t left)
{
    *table = (grid_text){.columns = columns, .left = left};
}

void grid_text_clear(grid_text *table)
{
    for (int64_t i = 0; i < table->count; i++) {
        pb_memory_free(table->cells[i]);
    }
    pb_memory_free(table->cells);
    memset(table, 0, sizeof *table);
}

pb_status grid_text_add(grid_text *table, const char *format, ...)
{
    va_list list;
    char *text = NULL;

    PB_TRY(PB_GROW(table->cells, table->count + 1));
    va_start(list, format);
    int length = vsnprintf(NULL, 0, format, list);
    va_end(list);
    if (length < 0) {
        return PB_FAIL(PB_ERR_INTERNAL, "table: a cell cannot be formatted");
    }
    PB_TRY(PB_ALLOC(text, length + 1));
    va_start(list, format);
    (void)vsnprintf(text, (size_t)length + 1, format, list);
    va_end(list);
    table->cells[table->count++] = text;
    return PB_OK;
}

static int64_t width(const char *text)
{
    return pb_string_characters(text, strlen(text));
}

/* A name may hold line ends and other controls; they would break the lines. */
static pb_status put_plain(pb_string *out, const char *text)
{
    for (; *text != '\0'; text++) {
        PB_TRY((unsigned char)*text < 0x20 ? pb_string_puts(out, "?")
                                           : pb_string_append(out, text, 1));
    }
    return PB_OK;
}

static pb_status put_cell(const grid_text *table, const int64_t *widths, int64_t at, bool last,
                          pb_string *out)
{
    int64_t column = at % table->columns;
    int pad        = (int)(widths[column] - width(table->cells[at]));

    if (column >= table->left) {
        PB_TRY(pb_string_printf(out, "%*s", pad, ""));
    }
    PB_TRY(put_plain(out, table->cells[at]));
    if (column < table->left && !last) {
        PB_TRY(pb_string_printf(out, "%*s", pad, ""));
    }
    return pb_string_puts(out, last ? "\n" : "  ");
}

/* The columns to the left and those from `first` to before `end`. */
static pb_status put_block(const grid_text *table, const int64_t *widths, int64_t first,
                           int64_t end, pb_string *out)
{
    for (int64_t row = 0; row + table->columns <= table->count; row += table->columns) {
        for (int64_t c = 0; c < table->left; c++) {
            PB_TRY(put_cell(table, widths, row + c, c + 1 == table->left && first == end, out));
        }
        for (int64_t c = first; c < end; c++) {
            PB_TRY(put_cell(table, widths, row + c, c + 1 == end, out));
        }
    }
    return PB_OK;
}

/* The column before which a block that begins with `first` ends; it has one column at least. */
static int64_t block_end(const grid_text *table, const int64_t *widths, int64_t first,
                         int64_t limit)
{
    int64_t used = 0;
    int64_t end  = first;

    for (int64_t c = 0; c < table->left; c++) {
        used += widths[c] + 2;
    }
    while (end < table->columns && (limit <= 0 || end == first || used + widths[end] <= limit)) {
        used += widths[end] + 2;
        end++;
    }
    return end;
}

pb_status grid_text_print(const grid_text *table, int64_t limit, pb_string *out)
{
    int64_t *widths  = NULL;
    int64_t first    = table->left;
    pb_status status = PB_OK;

    PB_TRY(PB_ALLOC(widths, table->columns + 1));
    for (int64_t i = 0; i < table->count; i++) {
        int64_t here = width(table->cells[i]);
        if (here > widths[i % table->columns]) {
            widths[i % table->columns] = here;
        }
    }
    do {
        int64_t end = block_end(table, widths, first, limit);
        status      = first > table->left ? pb_string_puts(out, "\n") : PB_OK;
        if (status == PB_OK) {
            status = put_block(table, widths, first, end, out);
        }
        first = end;
    } while (status == PB_OK && first < table->columns);
    pb_memory_free(widths);
    return status;
}
