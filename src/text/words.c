// SPDX-License-Identifier: Apache-2.0
/* Matchers of GPT-2's expression, and of GPT-4's with one digit (Qwen) or up to three (Llama 3) per
 * match. The alternatives are tried in the order of the expression. */
#include "words.h"

#include "unicode.h"
#include "unicode_versions.h"

#include "pb/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Kinds of characters: letters, numbers, spaces, the spaces CR and LF, and all others. */
enum { L = 1, N = 2, S = 4, E = 8 | S, O = 16 };

const char word_gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

#define GPT4(numbers)                                                     \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const uint8_t ascii[128] = {
    O, O, O, O, O, O, O, O, O, S, E, S, S, E, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
    S, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, N, N, N, N, N, N, N, N, N, N, O, O, O, O, O, O,
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O,
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O,
};

static int kind_of_code(int32_t code)
{
    utf8proc_category_t category = unicode_category(code);

    if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) {
        return L;
    }
    if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) {
        return N;
    }
    return unicode_is_space(code) ? S : O;
}

/* The kind of the character at `at`, 0 at the end of the text; *next: the byte after it. */
static inline int kind_at(const char *text, size_t length, size_t at, size_t *next)
{
    if (at >= length) {
        *next = length;
        return 0;
    }
    unsigned char c = (unsigned char)text[at];
    if (c < 0x80) {
        *next = at + 1;
        return ascii[c];
    }
    size_t size  = 0;
    int32_t code = pb_utf8_decode(text + at, &size);
    *next        = at + size;
    return kind_of_code(code);
}

/* The end of the run of characters of these kinds. */
static inline size_t skip(const char *text, size_t length, size_t at, int kinds)
{
    size_t next = at;

    while ((kind_at(text, length, at, &next) & kinds) != 0) {
        at = next;
    }
    return at;
}

/* The end of a contraction after an apostrophe, 0 when there is none. U+017F is a small s. */
static size_t contraction(const char *text, size_t length, size_t at, bool any_case)
{
    size_t left = length - at;
    char a      = left > 1 ? text[at + 1] : '\0';
    char b      = left > 2 ? text[at + 2] : '\0';

    if (any_case && a == '\xc5' && b == '\xbf') {
        return at + 3;
    }
    if (any_case) {
        a = (char)(a >= 'A' && a <= 'Z' ? a | 0x20 : a);
        b = (char)(b >= 'A' && b <= 'Z' ? b | 0x20 : b);
    }
    if (a == 's' || a == 't' || a == 'm' || a == 'd') {
        return at + 2;
    }
    bool pair = (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l');
    return pair ? at + 3 : 0;
}

/* A run of spaces that begins at `at`: without the last one where something follows, but never
 * empty. */
static size_t spaces(const char *text, size_t length, size_t at, size_t end)
{
    size_t last = end == length ? end : pb_utf8_before(text, end);
    return last > at ? last : end;
}

static size_t end_gpt2(const char *text, size_t length, size_t at)
{
    size_t begin = at;
    size_t next  = at;
    size_t end   = text[at] == '\'' ? contraction(text, length, at, false) : 0;

    if (end > 0) {
        return end;
    }
    if (text[at] == ' ') {
        begin = at + 1;
    }
    int kind = kind_at(text, length, begin, &next);
    if ((kind & (L | N | O)) != 0) {
        return skip(text, length, next, kind);
    }
    return spaces(text, length, at, skip(text, length, at, S));
}

/* Numbers per match: at most `digits`. */
static inline size_t end_gpt4(const char *text, size_t length, size_t at, int digits)
{
    size_t next   = at;
    size_t second = at;
    size_t end    = text[at] == '\'' ? contraction(text, length, at, true) : 0;

    if (end > 0) {
        return end;
    }
    int kind = kind_at(text, length, at, &next);
    if (kind == L) {
        return skip(text, length, next, L);
    }
    if (kind == N) {
        for (int i = 1; i < digits && kind_at(text, length, next, &second) == N; i++) {
            next = second;
        }
        return next;
    }
    int after = kind_at(text, length, next, &second);
    if (after == L && kind != E) {
        return skip(text, length, second, L);
    }
    if (kind == O || (text[at] == ' ' && after == O)) {
        end = skip(text, length, next, O);
        while (end < length && (text[end] == '\r' || text[end] == '\n')) {
            end++;
        }
        return end;
    }
    end = skip(text, length, next, S);
    for (size_t line = end; line > at; line--) {
        if (text[line - 1] == '\r' || text[line - 1] == '\n') {
            return line;
        }
    }
    return spaces(text, length, at, end);
}

static size_t end_llama3(const char *text, size_t length, size_t at)
{
    return end_gpt4(text, length, at, 3);
}

static size_t end_qwen2(const char *text, size_t length, size_t at)
{
    return end_gpt4(text, length, at, 1);
}

static const struct {
    const char *regex;
    word_end end;
} known[] = {
    {word_gpt2, end_gpt2},
    {GPT4("\\p{N}{1,3}"), end_llama3},
    {GPT4("\\p{N}"), end_qwen2},
};

word_end word_find(const char *regex, size_t length)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strlen(known[i].regex) == length && memcmp(known[i].regex, regex, length) == 0) {
            return known[i].end;
        }
    }
    return NULL;
}
