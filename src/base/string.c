// SPDX-License-Identifier: Apache-2.0
/* The growing text, JSON quoting, and the nearest name. */
#include "pb/string.h"
#include "pb/memory.h"
#include "pb/utf8.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 64, NAME_LIMIT = 128 };

void pb_string_clear(pb_string *s)
{
    pb_memory_free(s->data);
    *s = (pb_string){0};
}

/* Room for `more` bytes and the terminator. */
static pb_status grow(pb_string *s, size_t more)
{
    if (more > SIZE_MAX / 2 - 1 - s->length) {
        return PB_FAIL(PB_ERR_MEMORY, "string: %zu and %zu bytes are more than can be counted",
                       s->length, more);
    }
    size_t needed = s->length + more + 1;
    if (needed <= s->capacity) {
        return PB_OK;
    }
    size_t capacity = s->capacity < FIRST_CAPACITY ? FIRST_CAPACITY : s->capacity;
    while (capacity < needed) {
        capacity += capacity / 2 < needed ? capacity / 2 : needed;
    }
    char *data = pb_memory_resize(s->data, capacity, 1);
    if (data == NULL) {
        return PB_ERR_MEMORY;
    }
    s->data     = data;
    s->capacity = capacity;
    return PB_OK;
}

pb_status pb_string_append(pb_string *s, const char *bytes, size_t length)
{
    PB_TRY(grow(s, length));
    if (length > 0) {
        memcpy(s->data + s->length, bytes, length);
    }
    s->length += length;
    s->data[s->length] = '\0';
    return PB_OK;
}

pb_status pb_string_puts(pb_string *s, const char *text)
{
    return pb_string_append(s, text, strlen(text));
}

pb_status pb_string_vprintf(pb_string *s, const char *format, va_list arguments)
{
    va_list again;

    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) {
        return PB_FAIL(PB_ERR_INTERNAL, "string: the format \"%s\" cannot be printed", format);
    }
    PB_TRY(grow(s, (size_t)length));
    (void)vsnprintf(s->data + s->length, (size_t)length + 1, format, arguments);
    s->length += (size_t)length;
    return PB_OK;
}

pb_status pb_string_printf(pb_string *s, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    pb_status status = pb_string_vprintf(s, format, arguments);
    va_end(arguments);
    return PB_FRAME(status);
}

pb_status pb_string_utf8(pb_string *s, const char *bytes, size_t length)
{
    size_t good = 0;
    size_t step = 0;

    while (!pb_utf8_is_valid(bytes, length, &good)) {
        PB_TRY(pb_string_append(s, bytes, good));
        PB_TRY(pb_string_puts(s, "\xEF\xBF\xBD"));
        (void)pb_utf8_next(bytes + good, length - good, &step);
        bytes += good + step;
        length -= good + step;
    }
    return pb_string_append(s, bytes, length);
}

static pb_status json_escape(pb_string *s, unsigned char byte)
{
    switch (byte) {
    case '"':
        return pb_string_puts(s, "\\\"");
    case '\\':
        return pb_string_puts(s, "\\\\");
    case '\b':
        return pb_string_puts(s, "\\b");
    case '\f':
        return pb_string_puts(s, "\\f");
    case '\n':
        return pb_string_puts(s, "\\n");
    case '\r':
        return pb_string_puts(s, "\\r");
    case '\t':
        return pb_string_puts(s, "\\t");
    default:
        return pb_string_printf(s, "\\u%04x", (unsigned)byte);
    }
}

pb_status pb_string_json(pb_string *s, const char *bytes, size_t length)
{
    size_t step = 0;

    PB_TRY(pb_string_append(s, "\"", 1));
    for (size_t i = 0; i < length; i += step) {
        const unsigned char *at = (const unsigned char *)bytes + i;
        if (!pb_utf8_next(bytes + i, length - i, &step)) {
            PB_TRY(pb_string_append(s, "\xEF\xBF\xBD", 3));
        } else if (*at < 0x20 || *at == '"' || *at == '\\') {
            PB_TRY(json_escape(s, *at));
        } else {
            PB_TRY(pb_string_append(s, bytes + i, step));
        }
    }
    return pb_string_append(s, "\"", 1);
}

size_t pb_string_printable(const char *text, char *out, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    size_t left             = strlen(text);
    size_t used             = 0;
    size_t step             = 0;

    PB_ASSERT(size > 0);
    for (; left > 0; text += step, left -= step) {
        const unsigned char *at = (const unsigned char *)text;
        bool control            = (*at < 0x20 && *at != '\n' && *at != '\t') || *at == 0x7F ||
                       (at[0] == 0xC2 && at[1] < 0xA0);
        bool whole = pb_utf8_next(text, left, &step) && !control;
        if (used + (whole ? step : 4 * step) >= size) {
            break;
        }
        for (size_t i = 0; i < step; i++) {
            if (whole) {
                out[used++] = text[i];
                continue;
            }
            out[used++] = '\\';
            out[used++] = 'x';
            out[used++] = hex[at[i] >> 4];
            out[used++] = hex[at[i] & 15];
        }
    }
    out[used] = '\0';
    return left;
}

const char *pb_number_text(double number, int least, char text[PB_NUMBER_BYTES])
{
    for (int digits = least; digits <= 17; digits++) {
        (void)snprintf(text, PB_NUMBER_BYTES, "%.*g", digits, number);
        if (strtod(text, NULL) == number) {
            break;
        }
    }
    if (strpbrk(text, ".en") == NULL) { /* n: nan, inf */
        size_t length = strlen(text);
        (void)snprintf(text + length, PB_NUMBER_BYTES - length, ".0");
    }
    return text;
}

bool pb_string_begins(const char *text, const char *begin)
{
    return strncmp(text, begin, strlen(begin)) == 0;
}

bool pb_string_ends(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t tail   = strlen(end);

    return length >= tail && strcmp(text + length - tail, end) == 0;
}

bool pb_string_is_in(const char *text, const char *const *list)
{
    while (list != NULL && *list != NULL && strcmp(*list, text) != 0) {
        list++;
    }
    return list != NULL && *list != NULL;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void pb_string_sort(const char **texts, size_t count)
{
    if (count > 1) {
        qsort(texts, count, sizeof *texts, by_bytes);
    }
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Damerau-Levenshtein distance without regard to case: insertions, deletions, substitutions and
 * swaps of neighbours (optimal string alignment). Lengths are below NAME_LIMIT. */
static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
    size_t rows[3][NAME_LIMIT];
    size_t *before = rows[0];
    size_t *last   = rows[1];
    size_t *row    = rows[2];

    for (size_t j = 0; j <= nb; j++) {
        last[j]   = j;
        before[j] = 0;
    }
    for (size_t i = 1; i <= na; i++) {
        int x  = tolower((unsigned char)a[i - 1]);
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            int y  = tolower((unsigned char)b[j - 1]);
            row[j] = smaller(smaller(last[j] + 1, row[j - 1] + 1), last[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                y == tolower((unsigned char)a[i - 2])) {
                row[j] = smaller(row[j], before[j - 2] + 1);
            }
        }
        size_t *oldest = before;
        before         = last;
        last           = row;
        row            = oldest;
    }
    return last[nb];
}

/* The distance of a close candidate, SIZE_MAX for any other. */
static size_t near_distance(const char *name, const char *candidate)
{
    size_t length = strlen(name);
    size_t other  = strlen(candidate);

    if (length >= NAME_LIMIT || other >= NAME_LIMIT) {
        return SIZE_MAX;
    }
    size_t longer   = length > other ? length : other;
    size_t near     = longer / 3 > 2 ? longer / 3 : 2;
    size_t distance = edit_distance(name, length, candidate, other);
    /* A distance of the whole length means that nothing is in common. */
    return distance <= near && (distance < longer || longer == 0) ? distance : SIZE_MAX;
}

const char *pb_string_nearer(const char *name, const char *best, const char *candidate)
{
    size_t least = best != NULL ? near_distance(name, best) : SIZE_MAX;

    return near_distance(name, candidate) < least ? candidate : best;
}

const char *pb_string_nearest(const char *name, const char *const *candidates)
{
    const char *best = NULL;

    for (; *candidates != NULL; candidates++) {
        best = pb_string_nearer(name, best, *candidates);
    }
    return best;
}

const char *pb_string_hint(char text[PB_HINT_BYTES], const char *name,
                           const char *const *candidates)
{
    static const char dots[] = ", ...";
    const char *near         = pb_string_nearest(name, candidates);
    size_t used              = 0;

    text[0] = '\0';
    if (near != NULL) {
        used = (size_t)snprintf(text, PB_HINT_BYTES, "; did you mean \"%.*s\"?", NAME_LIMIT, near);
    }
    for (size_t i = 0; candidates[i] != NULL; i++) {
        const char *before = i > 0 ? ", " : near != NULL ? " Known: " : "; known: ";
        if (used + strlen(before) + strlen(candidates[i]) + sizeof dots > PB_HINT_BYTES) {
            (void)snprintf(text + used, PB_HINT_BYTES - used, "%s", dots);
            break;
        }
        used += (size_t)snprintf(text + used, PB_HINT_BYTES - used, "%s%s", before, candidates[i]);
    }
    return text;
}
