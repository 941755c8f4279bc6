// SPDX-License-Identifier: Apache-2.0
/* Tables of aligned texts, in blocks of as many columns as fit. */
#include "pb/table.h"

#include "pb/memory.h"
#include "pb/width.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { GAP = 2, NARROWEST = 6 }; /* columns between cells, and least columns of a wrapped cell */

void pb_table_init(pb_table *table, int64_t columns, int64_t left)
{
    *table = (pb_table){.columns = columns, .left = left};
}

void pb_table_clear(pb_table *table)
{
    pb_memory_free_texts(table->cells, (size_t)table->count);
    pb_memory_free(table->marks);
    memset(table, 0, sizeof *table);
}

/* Names may hold line ends and other controls, which would break the lines. */
static pb_status make_printable(const char *text, char **out)
{
    char *shown = NULL;
    size_t room = 4 * strlen(text) + 1;

    PB_TRY(PB_ALLOC(shown, room));
    pb_status status = PB_ALLOC(*out, room);
    (void)pb_string_printable(text, shown, room);
    char *to = *out;
    for (const char *c = shown; status == PB_OK && *c != '\0'; c++) {
        if (*c == '\n' || *c == '\t') {
            to += snprintf(to, 5, "\\x%02x", (unsigned)*c);
        } else {
            *to++ = *c;
        }
    }
    pb_memory_free(shown);
    return status;
}

pb_status pb_table_add(pb_table *table, const char *format, ...)
{
    va_list list;
    pb_string text = {0};

    PB_TRY(PB_GROW(table->cells, table->count + 1));
    PB_TRY(PB_GROW(table->marks, table->count + 1));
    va_start(list, format);
    pb_status status = pb_string_vprintf(&text, format, list);
    va_end(list);
    if (status == PB_OK) {
        status = make_printable(text.data, &table->cells[table->count]);
    }
    pb_string_clear(&text);
    table->count += status == PB_OK;
    return PB_FRAME(status);
}

void pb_table_mark_last(pb_table *table, pb_table_mark mark)
{
    table->marks[table->count - 1] = (char)mark;
}

pb_status pb_table_begin(pb_table *table, const char *const *header, int64_t left)
{
    pb_table_init(table, 0, left);
    for (; header[table->columns] != NULL; table->columns++) {
        PB_TRY(pb_table_add(table, "%s", header[table->columns]));
    }
    return PB_OK;
}

const char *pb_table_number(char text[PB_TABLE_NUMBER], double value, int digits, bool sign)
{
    if (isnan(value)) {
        strcpy(text, PB_TABLE_UNKNOWN);
        return text;
    }
    (void)snprintf(text, PB_TABLE_NUMBER, "%+.*f", digits, value);
    bool zero = text[strspn(text, "+-0.")] == '\0';
    return zero || (!sign && text[0] == '+') ? text + 1 : text;
}

const char *pb_table_count(char text[PB_TABLE_NUMBER], int64_t count, const char *noun)
{
    (void)snprintf(text, PB_TABLE_NUMBER, "%" PRId64 " %s%s", count, noun, count == 1 ? "" : "s");
    return text;
}

pb_status pb_table_add_number(pb_table *table, double value, int digits)
{
    char text[PB_TABLE_NUMBER];

    return pb_table_add(table, "%s", pb_table_number(text, value, digits, false));
}

/* Bytes of the first line of a text that is broken at `width`: after a blank or a sign that joins
 * parts of a name, if one comes late enough; at least one character. */
static size_t first_line(const char *text, int64_t width)
{
    size_t at    = 0;
    size_t after = 0; /* the last good place */
    int64_t used = 0;

    while (text[at] != '\0') {
        int columns = 0;
        size_t size = pb_width_next(text + at, &columns);
        if (used + columns > width && at > 0) {
            return after > at / 2 ? after : at;
        }
        used += columns;
        at += size;
        if (strchr(" -_/.,:", text[at - 1]) != NULL) {
            after = at;
        }
    }
    return at;
}

/* Line number `line` of a cell, NULL when it has fewer. */
static const char *line_of(const char *text, int64_t width, int64_t line, size_t *length)
{
    for (; line > 0 && *text != '\0'; line--) {
        text += first_line(text, width);
    }
    *length = first_line(text, width);
    return line == 0 ? text : "";
}

static int64_t line_width(const char *text, size_t length)
{
    int64_t sum = 0;

    for (size_t at = 0; at < length;) {
        int columns = 0;
        at += pb_width_next(text + at, &columns);
        sum += columns;
    }
    return sum;
}

static pb_status put_blanks(pb_string *out, int64_t count)
{
    return count > 0 ? pb_string_printf(out, "%*s", (int)count, "") : PB_OK;
}

/* Blanks of a line stay plain, so that none follow its last cell. */
static pb_status put_colour(const pb_table *table, int64_t at, const char *from, size_t length,
                            pb_string *out)
{
    pb_table_mark mark = at < table->columns ? PB_TABLE_BEST : (pb_table_mark)table->marks[at];

    return mark == PB_TABLE_PLAIN || length == 0
               ? pb_string_append(out, from, length)
               : pb_string_printf(out, "%s%.*s" PB_TABLE_RESET,
                                  mark == PB_TABLE_BEST ? PB_TABLE_BOLD : PB_TABLE_RED, (int)length,
                                  from);
}

static pb_status put_cell(const pb_table *table, const int64_t *widths, int64_t at, int64_t line,
                          bool colour, pb_string *out)
{
    int64_t column   = at % table->columns;
    size_t length    = 0;
    const char *from = line_of(table->cells[at], widths[column], line, &length);
    int64_t pad      = widths[column] - line_width(from, length);

    PB_TRY(put_blanks(out, column >= table->left ? pad : 0));
    PB_TRY(colour ? put_colour(table, at, from, length, out) : pb_string_append(out, from, length));
    return put_blanks(out, column < table->left ? pad + GAP : GAP);
}

static pb_status end_line(pb_string *out)
{
    while (out->length > 0 && out->data[out->length - 1] == ' ') {
        out->data[--out->length] = '\0';
    }
    return pb_string_puts(out, "\n");
}

static int64_t lines_of(const char *text, int64_t width)
{
    int64_t lines = 1;

    for (size_t length = first_line(text, width); text[length] != '\0'; lines++) {
        text += length;
        length = first_line(text, width);
    }
    return lines;
}

/* In a block of the left columns and those from `first`. */
static int64_t next_column(const pb_table *table, int64_t column, int64_t first)
{
    return column + 1 == table->left ? first : column + 1;
}

/* A row of the left columns and those from `first` up to `end`, excluded. */
static pb_status put_row(const pb_table *table, const int64_t *widths, int64_t row, int64_t first,
                         int64_t end, bool colour, pb_string *out)
{
    int64_t lines = 1;
    int64_t begin = table->left > 0 ? 0 : first;

    for (int64_t c = begin; c < end; c = next_column(table, c, first)) {
        int64_t here = lines_of(table->cells[row + c], widths[c]);
        lines        = here > lines ? here : lines;
    }
    for (int64_t line = 0; line < lines; line++) {
        for (int64_t c = begin; c < end; c = next_column(table, c, first)) {
            PB_TRY(put_cell(table, widths, row + c, line, colour, out));
        }
        PB_TRY(end_line(out));
    }
    return PB_OK;
}

static int64_t left_width(const pb_table *table, const int64_t *widths)
{
    int64_t sum = 0;

    for (int64_t c = 0; c < table->left; c++) {
        sum += widths[c] + GAP;
    }
    return sum;
}

/* Wrapped cells may need less width than allowed. */
static void tighten(const pb_table *table, int64_t *widths)
{
    for (int64_t c = 0; c < table->columns; c++) {
        int64_t widest = 0;
        for (int64_t i = c; i < table->count; i += table->columns) {
            const char *text = table->cells[i];
            while (*text != '\0') {
                size_t length = first_line(text, widths[c]);
                int64_t here  = line_width(text, length);
                widest        = here > widest ? here : widest;
                text += length;
            }
        }
        widths[c] = widest;
    }
}

/* The widest cell of every column; where a right column would not fit beside the left ones, the
 * widest of the left are wrapped first, down to half of the line, then the right one. */
static void find_widths(const pb_table *table, int64_t limit, int64_t *widths)
{
    int64_t widest = 0;

    for (int64_t i = 0; i < table->count; i++) {
        int64_t column = i % table->columns;
        int64_t here   = pb_width(table->cells[i]);
        widths[column] = here > widths[column] ? here : widths[column];
        if (column >= table->left && here > widest) {
            widest = here;
        }
    }
    if (limit <= 0 || left_width(table, widths) + widest <= limit) {
        return;
    }
    int64_t room = limit - widest > limit / 2 ? limit - widest : limit / 2;
    while (left_width(table, widths) > room) {
        int64_t broken = 0;
        for (int64_t c = 1; c < table->left; c++) {
            broken = widths[c] > widths[broken] ? c : broken;
        }
        if (table->left == 0 || widths[broken] <= NARROWEST) {
            break;
        }
        widths[broken]--;
    }
    room = limit - left_width(table, widths);
    room = room > NARROWEST ? room : NARROWEST;
    for (int64_t c = table->left; c < table->columns; c++) {
        widths[c] = widths[c] > room ? room : widths[c];
    }
    tighten(table, widths);
}

/* The end (excluded) of the block that begins with column `first`; it has at least one column. */
static int64_t block_end(const pb_table *table, const int64_t *widths, int64_t first, int64_t limit)
{
    int64_t used = left_width(table, widths);
    int64_t end  = first;

    while (end < table->columns && (limit <= 0 || end == first || used + widths[end] <= limit)) {
        used += widths[end] + GAP;
        end++;
    }
    return end;
}

pb_status pb_table_print(const pb_table *table, int64_t limit, bool colour, pb_string *out)
{
    int64_t *widths  = NULL;
    int64_t first    = table->left;
    pb_status status = PB_OK;

    PB_TRY(PB_ALLOC(widths, table->columns + 1));
    find_widths(table, limit, widths);
    do {
        int64_t end = block_end(table, widths, first, limit);
        status      = first > table->left ? pb_string_puts(out, "\n") : PB_OK;
        for (int64_t row = 0; row + table->columns <= table->count && status == PB_OK;
             row += table->columns) {
            status = put_row(table, widths, row, first, end, colour, out);
        }
        first = end;
    } while (status == PB_OK && first < table->columns);
    pb_memory_free(widths);
    return status;
}

/* Appends words of `text`, the first on the current line. Where an indent leaves too little room,
 * for the lines or for one long word, it is reduced. */
static pb_status put_words(pb_string *out, int64_t width, int64_t indent, const char *text)
{
    int64_t deepest = width > PB_TABLE_WIDTH_MIN ? width - PB_TABLE_WIDTH_MIN : 0;
    int64_t start   = width > 0 && indent > deepest ? deepest : indent; /* of the other lines */
    int64_t used    = indent;
    bool empty      = true; /* no word in this line */

    while (*text != '\0') {
        size_t length   = strcspn(text, " ");
        int64_t columns = line_width(text, length);
        if (width > 0 && used + !empty + columns > width && (!empty || used > start)) {
            used  = start + columns > width ? width - columns : start;
            used  = used > 0 ? used : 0;
            empty = true;
            PB_TRY(pb_string_puts(out, "\n"));
            PB_TRY(put_blanks(out, used));
        }
        PB_TRY(pb_string_printf(out, "%s%.*s", empty ? "" : " ", (int)length, text));
        used += columns + !empty;
        empty = false;
        text += length + strspn(text + length, " ");
    }
    return pb_string_puts(out, "\n");
}

pb_status pb_table_note(pb_string *out, int64_t width, int64_t indent, const char *format, ...)
{
    va_list list;
    pb_string text = {0};

    va_start(list, format);
    pb_status status = pb_string_vprintf(&text, format, list);
    va_end(list);
    if (status == PB_OK) {
        status = put_words(out, width, indent, text.data);
    }
    pb_string_clear(&text);
    return PB_FRAME(status);
}
