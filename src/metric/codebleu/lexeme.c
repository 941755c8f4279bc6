// SPDX-License-Identifier: Apache-2.0
/* The order of the alternatives is that of tokenize.PseudoToken; each helper returns the byte after
 * its match, or `at` when it matches nothing. */
#include "lexeme.h"

#include "pb/python.h"

#include <string.h>

static char byte_at(const char *line, size_t length, size_t at)
{
    return at < length ? line[at] : '\0';
}

static bool is_in(const char *set, char c)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* (?:_?[set])*: what may follow a digit. */
static size_t more_digits(const char *line, size_t length, size_t at, const char *set)
{
    for (;;) {
        size_t next = at + (byte_at(line, length, at) == '_');
        if (!is_in(set, byte_at(line, length, next))) {
            return at;
        }
        at = next + 1;
    }
}

static const char decimal[] = "0123456789";

static size_t digits(const char *line, size_t length, size_t at)
{
    if (!is_in(decimal, byte_at(line, length, at))) {
        return at;
    }
    return more_digits(line, length, at + 1, decimal);
}

static size_t exponent(const char *line, size_t length, size_t at)
{
    if (!is_in("eE", byte_at(line, length, at))) {
        return at;
    }
    size_t first = at + 1 + is_in("+-", byte_at(line, length, at + 1));
    size_t end   = digits(line, length, first);
    return end > first ? end : at;
}

static size_t float_number(const char *line, size_t length, size_t at)
{
    size_t whole = digits(line, length, at);

    if (byte_at(line, length, whole) == '.') {
        size_t fraction = digits(line, length, whole + 1);
        if (whole == at && fraction == whole + 1) {
            return at;
        }
        return exponent(line, length, fraction);
    }
    size_t end = exponent(line, length, whole);
    return whole > at && end > whole ? end : at;
}

static size_t whole_number(const char *line, size_t length, size_t at)
{
    static const struct {
        const char *letters, *set;
    } bases[] = {{"xX", "0123456789abcdefABCDEF"}, {"bB", "01"}, {"oO", "01234567"}};

    if (byte_at(line, length, at) != '0') {
        return digits(line, length, at);
    }
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        if (is_in(bases[i].letters, byte_at(line, length, at + 1))) {
            size_t end = more_digits(line, length, at + 2, bases[i].set);
            if (end > at + 2) {
                return end;
            }
        }
    }
    return more_digits(line, length, at + 1, "0");
}

static size_t number(const char *line, size_t length, size_t at)
{
    size_t whole = digits(line, length, at);
    size_t real  = float_number(line, length, at);

    if (whole > at && is_in("jJ", byte_at(line, length, whole))) {
        return whole + 1;
    }
    if (real > at) {
        return real + is_in("jJ", byte_at(line, length, real));
    }
    return whole_number(line, length, at);
}

static size_t line_end(const char *line, size_t length, size_t at)
{
    size_t feed = at + (byte_at(line, length, at) == '\r');
    return byte_at(line, length, feed) == '\n' ? feed + 1 : at;
}

/* The quote of a string with a prefix of at most two letters (b, r, u, f, br, fr in any order and
 * case); false when no string starts here. */
static bool opening_quote(const char *line, size_t length, size_t at, size_t *quote)
{
    static const char *const prefixes[] = {"b", "r", "u", "f", "br", "rb", "fr", "rf"};
    char prefix[3]                      = "";
    size_t used                         = 0;

    while (used < 2 && is_in("bBrRuUfF", byte_at(line, length, at + used))) {
        prefix[used] = (char)(line[at + used] | 0x20);
        used++;
    }
    *quote = at + used;
    if (!is_in("'\"", byte_at(line, length, *quote))) {
        return false;
    }
    for (size_t i = 0; used > 0 && i < sizeof prefixes / sizeof *prefixes; i++) {
        if (strcmp(prefix, prefixes[i]) == 0) {
            return true;
        }
    }
    return used == 0;
}

size_t lexeme_string_end(const char *line, size_t length, size_t at, char quote, bool is_long)
{
    while (at < length) {
        if (line[at] == '\\') {
            if (at + 1 >= length || line[at + 1] == '\n') {
                return 0; /* an escape does not extend past the end of the line */
            }
            at += 2;
        } else if (line[at] != quote) {
            at++;
        } else if (!is_long) {
            return at + 1;
        } else if (byte_at(line, length, at + 1) == quote &&
                   byte_at(line, length, at + 2) == quote) {
            return at + 3;
        } else {
            at++;
        }
    }
    return 0;
}

/* A string in single quotes: up to its end, or to a backslash before the line's end. */
static lexeme_kind short_string(const char *line, size_t length, size_t quote, size_t *end)
{
    for (size_t at = quote + 1; at < length && line[at] != '\n'; at++) {
        if (line[at] == line[quote]) {
            *end = at + 1;
            return LEXEME_STRING;
        }
        if (line[at] == '\\') {
            size_t behind = line_end(line, length, at + 1);
            if (behind > at + 1) {
                *end = behind;
                return LEXEME_OPEN_STRING;
            }
            at++;
        }
    }
    return LEXEME_NONE;
}

static size_t name(const char *line, size_t length, size_t at)
{
    size_t bytes = 0;

    while (at < length && pb_str_is_word(pb_str_next(line + at, length - at, &bytes))) {
        at += bytes;
    }
    return at;
}

/* Operators are taken one character at a time; only "..." and "!=" must be read as a whole. */
static size_t operator_end(const char *line, size_t length, size_t at)
{
    char c = byte_at(line, length, at);

    if (c == '.' && byte_at(line, length, at + 1) == '.' && byte_at(line, length, at + 2) == '.') {
        return at + 3;
    }
    if (c == '!') {
        return byte_at(line, length, at + 1) == '=' ? at + 2 : at;
    }
    return at + is_in("%&()*+,-./:;<=>@[]^{|}~", c);
}

lexeme_kind lexeme_at(const char *line, size_t length, size_t at, size_t *end)
{
    char c       = byte_at(line, length, at);
    size_t quote = 0;

    if (at >= length) {
        *end = at;
        return LEXEME_END;
    }
    if (c == '\\') {
        *end = line_end(line, length, at + 1);
        return *end > at + 1 ? LEXEME_CONTINUATION : LEXEME_NONE;
    }
    if (c == '#') {
        for (*end = at; *end < length && line[*end] != '\r' && line[*end] != '\n';) {
            ++*end;
        }
        return LEXEME_COMMENT;
    }
    bool is_string = opening_quote(line, length, at, &quote);
    if (is_string && byte_at(line, length, quote + 1) == line[quote] &&
        byte_at(line, length, quote + 2) == line[quote]) {
        *end = quote + 3;
        return LEXEME_LONG_STRING;
    }
    if ((*end = number(line, length, at)) > at) {
        return LEXEME_OTHER;
    }
    if ((*end = line_end(line, length, at)) > at) {
        return LEXEME_LINE_END;
    }
    if ((*end = operator_end(line, length, at)) > at) {
        return is_in("([{", c) ? LEXEME_OPENING : is_in(")]}", c) ? LEXEME_CLOSING : LEXEME_OTHER;
    }
    if (is_string) {
        lexeme_kind kind = short_string(line, length, quote, end);
        if (kind != LEXEME_NONE) {
            return kind;
        }
    }
    *end = name(line, length, at);
    return *end > at ? LEXEME_OTHER : LEXEME_NONE;
}
