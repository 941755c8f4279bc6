// SPDX-License-Identifier: Apache-2.0
/* Lines, indentation and strings over several lines in the order of Python 3.11's tokenize, and the
 * rebuilding. Positions are lines from 1 and columns in characters. */
#include "strip.h"
#include "lexeme.h"

#include "pb/memory.h"
#include "pb/python.h"
#include "pb/utf8.h"

#include <string.h>

enum { TAB_STOP = 8 };

typedef enum token_kind { TOKEN_OTHER, TOKEN_COMMENT, TOKEN_STRING, TOKEN_INDENT, TOKEN_LINE } kind;

/* What is read and what was written. */
typedef struct stripper {
    const char *line; /* the current one with its line end */
    size_t length;
    int64_t number;
    size_t at; /* byte reached in the line, and its column */
    int64_t column;
    int64_t depth; /* open brackets minus closed ones */
    bool continued;
    /* an open string: where it starts; NULL when none is */
    const char *string;
    int64_t string_line, string_column;
    char quote;
    bool is_long;
    int64_t *indents; /* columns, increasing; the first is 0 */
    int64_t indent_count;
    /* writing */
    pb_string *out;
    kind previous;
    int64_t last_line, last_column;
    bool failed;
} stripper;

static pb_status write_spaces(pb_string *out, int64_t count)
{
    static const char spaces[] = "                                ";

    for (int64_t part; count > 0; count -= part) {
        part = count < (int64_t)sizeof spaces - 1 ? count : (int64_t)sizeof spaces - 1;
        PB_TRY(pb_string_append(out, spaces, (size_t)part));
    }
    return PB_OK;
}

/* A token from (line, column) to the current line at end_column. */
static pb_status write_token(stripper *s, kind what, const char *text, size_t length, int64_t line,
                             int64_t column, int64_t end_column)
{
    if (line > s->last_line) {
        s->last_column = 0;
    }
    PB_TRY(write_spaces(s->out, column - s->last_column));
    bool gone = what == TOKEN_COMMENT ||
                (what == TOKEN_STRING &&
                 (s->previous == TOKEN_INDENT || s->previous == TOKEN_LINE || column == 0));
    if (!gone) {
        PB_TRY(pb_string_append(s->out, text, length));
    }
    s->previous    = what;
    s->last_column = end_column;
    s->last_line   = s->number;
    return PB_OK;
}

/* The bytes up to `end` of the line as one token, from where the reading is. */
static pb_status take(stripper *s, kind what, size_t end)
{
    int64_t column = s->column;

    s->column += pb_utf8_count(s->line + s->at, end - s->at);
    PB_TRY(write_token(s, what, s->line + s->at, end - s->at, s->number, column, s->column));
    s->at = end;
    return PB_OK;
}

static void skip(stripper *s, size_t end)
{
    s->column += pb_utf8_count(s->line + s->at, end - s->at);
    s->at = end;
}

/* The open string with all of the current line up to `end`. */
static pb_status take_string(stripper *s, kind what, size_t end)
{
    const char *start = s->string;

    skip(s, end);
    s->string = NULL;
    return write_token(s, what, start, (size_t)(s->line + end - start), s->string_line,
                       s->string_column, s->column);
}

static void open_string(stripper *s, char quote, bool is_long)
{
    s->string        = s->line + s->at;
    s->string_line   = s->number;
    s->string_column = s->column;
    s->quote         = quote;
    s->is_long       = is_long;
    s->at            = s->length;
}

static bool ends_with(const stripper *s, const char *tail)
{
    size_t n = strlen(tail);
    return s->length >= n && memcmp(s->line + s->length - n, tail, n) == 0;
}

/* A line within a string; reading continues after the string where it ends. */
static pb_status string_line(stripper *s)
{
    size_t end = lexeme_string_end(s->line, s->length, 0, s->quote, s->is_long);

    if (end > 0) {
        return take_string(s, TOKEN_STRING, end);
    }
    if (!s->is_long && !ends_with(s, "\\\n") && !ends_with(s, "\\\r\n")) {
        return take_string(s, TOKEN_OTHER, s->length);
    }
    s->at = s->length;
    return PB_OK;
}

static int64_t measure_indent(const stripper *s, size_t *end)
{
    int64_t column = 0;

    for (*end = 0; *end < s->length; ++*end) {
        char c = s->line[*end];
        if (c == ' ') {
            column++;
        } else if (c == '\t') {
            column = (column / TAB_STOP + 1) * TAB_STOP;
        } else if (c == '\f') {
            column = 0;
        } else {
            break;
        }
    }
    return column;
}

static pb_status indent_to(stripper *s, int64_t column, size_t end)
{
    if (column > s->indents[s->indent_count - 1]) {
        PB_TRY(PB_GROW(s->indents, s->indent_count + 1));
        s->indents[s->indent_count++] = column;
        return take(s, TOKEN_INDENT, end);
    }
    skip(s, end);
    while (column < s->indents[s->indent_count - 1]) {
        s->indent_count--;
        PB_TRY(write_token(s, TOKEN_OTHER, "", 0, s->number, s->column, s->column));
    }
    s->failed = column != s->indents[s->indent_count - 1];
    return PB_OK;
}

/* The start of a line outside of everything. `last` when it is white space without a line end. */
static pb_status statement_line(stripper *s, bool *last)
{
    size_t end     = 0;
    int64_t column = measure_indent(s, &end);

    *last = end == s->length;
    if (*last) {
        return PB_OK;
    }
    if (strchr("#\r\n", s->line[end]) == NULL) {
        return indent_to(s, column, end);
    }
    skip(s, end);
    if (s->line[end] == '#') {
        for (end = s->length; end > 0 && strchr("\r\n", s->line[end - 1]) != NULL;) {
            end--;
        }
        PB_TRY(take(s, TOKEN_COMMENT, end));
    }
    return take(s, TOKEN_OTHER, s->length);
}

static pb_status line_token(stripper *s)
{
    size_t start = s->at, end = 0;

    while (start < s->length && strchr(" \f\t", s->line[start]) != NULL) {
        start++;
    }
    lexeme_kind what = lexeme_at(s->line, s->length, start, &end);
    if (what == LEXEME_NONE) { /* the white space and one character, as they are */
        size_t bytes = 0;
        (void)pb_str_next(s->line + start, s->length - start, &bytes);
        return take(s, TOKEN_OTHER, start + bytes);
    }
    skip(s, start);
    switch (what) {
    case LEXEME_END:
        return PB_OK;
    case LEXEME_CONTINUATION:
        s->continued = true;
        skip(s, end);
        return PB_OK;
    case LEXEME_LINE_END:
        return take(s, s->depth > 0 ? TOKEN_OTHER : TOKEN_LINE, end);
    case LEXEME_COMMENT:
        return take(s, TOKEN_COMMENT, end);
    case LEXEME_STRING:
        return take(s, TOKEN_STRING, end);
    case LEXEME_OPEN_STRING:
        open_string(s, s->line[start + strcspn(s->line + start, "'\"")], false);
        return PB_OK;
    case LEXEME_LONG_STRING: {
        char quote     = s->line[end - 1];
        size_t closing = lexeme_string_end(s->line, s->length, end, quote, true);
        if (closing > 0) {
            return take(s, TOKEN_STRING, closing);
        }
        open_string(s, quote, true);
        return PB_OK;
    }
    case LEXEME_OPENING:
    case LEXEME_CLOSING:
        s->depth += what == LEXEME_OPENING ? 1 : -1;
        break;
    default:
        break;
    }
    return take(s, TOKEN_OTHER, end);
}

/* One line; `last` when the tokenizer stops before it. */
static pb_status strip_line(stripper *s, bool *last)
{
    s->at     = 0;
    s->column = 0;
    *last     = false;
    if (s->string != NULL) {
        PB_TRY(string_line(s));
    } else if (s->depth == 0 && !s->continued) {
        PB_TRY(statement_line(s, last));
    } else {
        s->continued = false;
    }
    while (!*last && !s->failed && s->at < s->length) {
        PB_TRY(line_token(s));
    }
    return PB_OK;
}

/* The end of a text whose last line has no line end: NEWLINE without text. */
static pb_status finish(stripper *s)
{
    const char *text = s->line;
    size_t length    = s->length;

    if (length == 0 || strchr("\r\n", text[length - 1]) != NULL) {
        return PB_OK;
    }
    pb_str_strip(&text, &length);
    if (length > 0 && text[0] == '#') {
        return PB_OK;
    }
    int64_t column = pb_utf8_count(s->line, s->length);
    return write_token(s, TOKEN_LINE, "", 0, s->number, column, column + 1);
}

static pb_status strip_lines(stripper *s, const char *text, size_t length)
{
    bool last = false;

    PB_TRY(PB_GROW(s->indents, 1));
    s->indent_count = 1;
    for (size_t start = 0; start < length && !last && !s->failed; start += s->length) {
        const char *feed = memchr(text + start, '\n', length - start);
        s->line          = text + start;
        s->length        = feed != NULL ? (size_t)(feed - s->line) + 1 : length - start;
        s->number++;
        PB_TRY(strip_line(s, &last));
    }
    if (last || s->failed) {
        return PB_OK;
    }
    s->failed = s->string != NULL || s->depth != 0 || s->continued;
    return s->failed ? PB_OK : finish(s);
}

/* Lines of white space alone are dropped; line feeds separate the others. */
static pb_status join_lines(const char *text, size_t length, pb_string *out)
{
    bool is_first = true;

    PB_TRY(pb_string_append(out, "", 0));
    for (size_t start = 0; start < length;) {
        const char *feed = memchr(text + start, '\n', length - start);
        size_t size      = feed != NULL ? (size_t)(feed - text) - start : length - start;
        const char *rest = text + start;
        size_t left      = size;
        pb_str_strip(&rest, &left);
        if (left > 0) {
            PB_TRY(pb_string_append(out, "\n", is_first ? 0 : 1));
            PB_TRY(pb_string_append(out, text + start, size));
            is_first = false;
        }
        start += size + 1;
    }
    return PB_OK;
}

pb_status code_strip(const char *text, size_t length, pb_string *out, bool *failed)
{
    pb_string raw    = {0};
    stripper s       = {.out = &raw, .previous = TOKEN_INDENT, .last_line = -1};
    pb_status status = strip_lines(&s, text, length);

    if (status == PB_OK) {
        *failed = s.failed;
        status  = s.failed ? pb_string_append(out, text, length)
                           : join_lines(raw.data != NULL ? raw.data : "", raw.length, out);
    }
    pb_string_clear(&raw);
    pb_memory_free(s.indents);
    return status;
}
