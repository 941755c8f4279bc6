// SPDX-License-Identifier: Apache-2.0
/* Builder `wsc`: the template, over a text in which two spans are marked. Rows are those of
 * wsc.fixed: its repair of spans belongs to the hub's script and is not done here.
 *
 * Paper: span 1 gets *, then span 2 gets # in the marked text, its index moved by the two words
 * inserted before it. A span is a regular expression, as the original forgets to escape it, and
 * must match directly after index times (a word, one white-space character); else there is no mark.
 *
 * Corrected: span 1 (the noun) gets #, span 2 (the pronoun) gets *, as the instruction says. Both
 * are found literally in the original text and marked at once. */
#include "builders.h"
#include "template.h"

#include "pb/memory.h"
#include "pb/python.h"
#include "pb/string.h"
#include "pb/utf8.h"

#include <string.h>

enum { MAX_SPAN_BYTES = 2048 };

static const char *const text_columns[]  = {"text", "span1_text", "span2_text"};
static const char *const index_columns[] = {"span1_index", "span2_index"};
static const char *const needed[] = {"text:string",     "span1_text:string", "span2_text:string",
                                     "span1_index:int", "span2_index:int",   NULL};

/* Bytes of white space at p, 0 when there is none. */
static size_t space_at(const char *p)
{
    size_t bytes = 0;

    return *p != '\0' && pb_str_is_space(pb_str_next(p, strnlen(p, 4), &bytes)) ? bytes : 0;
}

/* The end of the run of characters that are not white space. */
static const char *word_end(const char *p)
{
    while (*p != '\0' && space_at(p) == 0) {
        p++;
    }
    return p;
}

/* The place after `index` times a word and one white-space character, NULL when there is none. */
static const char *behind_words(const char *text, int64_t index)
{
    const char *p = text;

    for (int64_t i = 0; i < index; i++) {
        const char *end = word_end(p);
        size_t space    = space_at(end);
        if (end == p || space == 0) {
            return NULL;
        }
        p = end + space;
    }
    return index >= 0 ? p : NULL;
}

/* Appends the text with the span marked, or unchanged. */
static pb_status mark_pattern(const char *text, const char *span, int64_t index, char mark,
                              pb_string *out)
{
    const char *at = behind_words(text, index);
    bool found     = false;
    size_t end     = 0;

    if (at != NULL && strpbrk(span, "\\^$.|?*+()[]{}") == NULL) {
        found = pb_string_begins(at, span);
        end   = (size_t)(at - text) + strlen(span);
    } else if (at != NULL) {
        PB_TRY(pb_re_match_at(span, text, (size_t)(at - text), &found, &end));
    }
    if (!found) {
        return pb_string_puts(out, text);
    }
    PB_TRY(pb_string_append(out, text, (size_t)(at - text)));
    PB_TRY(pb_string_printf(out, "%c ", mark));
    PB_TRY(pb_string_append(out, at, end - (size_t)(at - text)));
    PB_TRY(pb_string_printf(out, " %c", mark));
    return pb_string_puts(out, text + end);
}

static pb_status mark_paper(const char *text, const char *const spans[2], const int64_t index[2],
                            pb_string *out)
{
    pb_string first = {0};
    bool moved      = index[0] < index[1] && index[1] <= INT64_MAX - 2;

    pb_status status = mark_pattern(text, spans[0], index[0], '*', &first);
    if (status != PB_OK) {
        pb_error_prefix(status, "column \"span1_text\"");
    } else {
        status = mark_pattern(first.data, spans[1], index[1] + (moved ? 2 : 0), '#', out);
        if (status != PB_OK) {
            pb_error_prefix(status, "column \"span2_text\"");
        }
    }
    pb_string_clear(&first);
    return status;
}

/* The character that contains the byte at p belongs to a word. */
static bool in_word(const char *text, const char *p)
{
    size_t bytes = 0;

    if (p < text) {
        return false;
    }
    p = text + pb_utf8_floor(text, (size_t)(p - text));
    return *p != '\0' && pb_str_is_word(pb_str_next(p, strnlen(p, 4), &bytes));
}

/* The span at its word, else its nearest occurrence as whole words, the later of two; NULL when
 * there is none. */
static const char *find_span(const char *text, const char *span, int64_t index)
{
    size_t length     = strlen(span);
    const char *best  = NULL;
    int64_t distance  = 0;
    int64_t word      = -1;
    bool was_in_space = true;

    for (const char *p = text; *p != '\0' && length > 0;) {
        size_t space = space_at(p);
        bool begins  = was_in_space && space == 0;
        word += begins;
        if (strncmp(p, span, length) == 0) {
            if (begins && word == index) {
                return p;
            }
            int64_t number = word < 0 ? 0 : word;
            uint64_t apart = number > index ? (uint64_t)number - (uint64_t)index
                                            : (uint64_t)index - (uint64_t)number;
            int64_t far    = apart > INT64_MAX ? INT64_MAX : (int64_t)apart;
            if ((p == text || !in_word(text, p - 1)) && !in_word(text, p + length) &&
                (best == NULL || far <= distance)) {
                best     = p;
                distance = far;
            }
        }
        was_in_space = space > 0;
        p += space > 0 ? space : 1;
    }
    return best;
}

/* A mark to insert. */
typedef struct mark {
    size_t at;
    bool opens;
    size_t length; /* of its span */
    char sign;
} mark;

/* At one place closing marks come first; of two opening marks the outer, of two closing marks the
 * inner. */
static bool comes_before(const mark *a, const mark *b)
{
    if (a->at != b->at) {
        return a->at < b->at;
    }
    if (a->opens != b->opens) {
        return !a->opens;
    }
    return a->opens ? a->length > b->length : a->length <= b->length;
}

static pb_status mark_corrected(const char *text, const char *const spans[2],
                                const int64_t index[2], pb_string *out)
{
    static const char signs[2] = {'#', '*'};
    mark marks[4];
    size_t count = 0, done = 0;

    for (int k = 0; k < 2; k++) {
        const char *at = find_span(text, spans[k], index[k]);
        size_t length  = strlen(spans[k]);
        for (int side = 0; at != NULL && side < 2; side++) {
            mark m   = {.at     = (size_t)(at - text) + (side == 1 ? length : 0),
                        .opens  = side == 0,
                        .length = length,
                        .sign   = signs[k]};
            size_t i = count++;
            for (; i > 0 && comes_before(&m, &marks[i - 1]); i--) {
                marks[i] = marks[i - 1];
            }
            marks[i] = m;
        }
    }
    for (size_t i = 0; i < count; i++) {
        PB_TRY(pb_string_append(out, text + done, marks[i].at - done));
        PB_TRY(pb_string_printf(out, marks[i].opens ? "%c " : " %c", marks[i].sign));
        done = marks[i].at;
    }
    return pb_string_puts(out, text + done);
}

static const json_t *value_of(const pb_row_builder *b, const char *name, const json_t *row)
{
    return column_value(columns_find(&b->columns, name), row);
}

/* Replaces the text of the row. */
static pb_status prepare(const pb_row_builder *b, json_t *row)
{
    const char *texts[3];
    int64_t index[2];
    pb_string marked = {0};

    for (int i = 0; i < 3; i++) {
        texts[i] = json_string_value(value_of(b, text_columns[i], row));
    }
    for (int i = 0; i < 2; i++) {
        index[i] = json_integer_value(value_of(b, index_columns[i], row));
    }
    pb_status status;
    PB_TRY_GOTO(status,
                b->columns.protocol == PB_PROTOCOL_PAPER
                    ? mark_paper(texts[0], texts + 1, index, &marked)
                    : mark_corrected(texts[0], texts + 1, index, &marked),
                done);
    if (json_object_set_new(row, columns_find(&b->columns, "text")->source,
                            json_stringn(marked.data, marked.length)) != 0) {
        status = PB_FAIL(PB_ERR_MEMORY, "out of memory for the text of a row");
        goto done;
    }
done:
    pb_string_clear(&marked);
    return status;
}

/* A span is a phrase; the search for a longer one in a long text could take minutes. */
static pb_status check_spans(const pb_row_builder *b, const json_t *row, const char **empty)
{
    for (int i = 0; i < 3; i++) {
        size_t length = json_string_length(value_of(b, text_columns[i], row));
        if (length == 0) {
            *empty = text_columns[i];
        }
        if (i > 0 && length > MAX_SPAN_BYTES) {
            return PB_FAIL(PB_ERR_FORMAT, "column \"%s\" has %zu bytes, a span has at most %d",
                           text_columns[i], length, MAX_SPAN_BYTES);
        }
    }
    return PB_OK;
}

static pb_status wsc_build(const pb_row_builder *b, const json_t *row, pb_row_texts *out)
{
    const char *empty = NULL;

    PB_TRY(columns_check(&b->columns, row));
    PB_TRY(check_spans(b, row, &empty));
    json_t *copy = json_copy((json_t *)(uintptr_t)row);
    if (copy == NULL) {
        return PB_FAIL(PB_ERR_MEMORY, "out of memory for the copy of a row");
    }
    pb_status status = prepare(b, copy);
    if (status == PB_OK) {
        status = row_template_write(b, copy, out);
    }
    json_decref(copy);
    if (status == PB_OK && empty != NULL) {
        out->items[out->count - 1].empty = empty;
    }
    return status;
}

const pb_dataset_builder builder_wsc = {
    .name    = "wsc",
    .open    = row_template_open,
    .close   = row_template_close,
    .build   = wsc_build,
    .columns = needed,
};
