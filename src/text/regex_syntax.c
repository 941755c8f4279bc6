// SPDX-License-Identifier: Apache-2.0
/* The differences that matter between the two syntaxes: \s and \w (PCRE2 counts U+180E as a space
 * and no marks as word characters), characters newer than PCRE2, \h and \v, nested classes, options
 * of groups, and quantifiers that PCRE2 takes as possessive. */
#include "regex_syntax.h"

#include "unicode_versions.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Members of a class: property White_Space, and the word characters of UTS 18. */
#define SPACE_SET "\\t-\\r\\x{85}\\p{Z}"
#define WORD_SET                                                                \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}" \
    "\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}"

/* Superscripts and fractions of Latin-1, which Oniguruma counts as word characters for \w by
 * itself, but not inside a class. */
#define LATIN_NUMBERS "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}"

static const char *const word_categories[]  = {"L", "M", "Nd", "Nl", "Pc", NULL};
static const char *const digit_categories[] = {"Nd", NULL};

typedef struct reader {
    const char *text;
    size_t length, at;
    const char *place;
    bool in_class;
    pb_string *out;
} reader;

static pb_status refuse(const reader *r, const char *what)
{
    return PB_FAIL(PB_ERR_UNSUPPORTED,
                   "%s: %s in a regular expression (byte %zu) is not supported; use a tokenizer "
                   "whose expressions do not need it",
                   r->place, what, r->at);
}

/* The byte `ahead` of the current one, 0 past the end. */
static char peek(const reader *r, size_t ahead)
{
    return ahead < r->length - r->at ? r->text[r->at + ahead] : '\0';
}

static bool begins(const reader *r, const char *text)
{
    size_t n = strlen(text);
    return r->length - r->at >= n && memcmp(r->text + r->at, text, n) == 0;
}

/* A class escape: its set, bare inside a class, in brackets outside. */
static pb_status write_set(reader *r, const char *set, bool negated)
{
    if (r->in_class && negated) {
        return refuse(r, "a negated escape inside of a character class");
    }
    if (r->in_class) {
        return pb_string_puts(r->out, set);
    }
    return pb_string_printf(r->out, "[%s%s]", negated ? "^" : "", set);
}

/* A set and the characters of some categories that PCRE2 may not know yet. */
static pb_status write_with_assigned(reader *r, const char *set, const char *const *categories,
                                     bool negated)
{
    pb_string whole  = {0};
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, pb_string_puts(&whole, set), err_clear);
    for (size_t i = 0; categories[i] != NULL; i++) {
        PB_TRY_GOTO(status, unicode_append_assigned(categories[i], &whole), err_clear);
    }
    PB_TRY_GOTO(status, write_set(r, whole.data, negated), err_clear);

err_clear:
    pb_string_clear(&whole);
    return status;
}

static pb_status write_property(reader *r, const char *name, size_t length)
{
    char text[16];
    char set[24];
    const char *const categories[] = {text, NULL};

    if (length == 0 || length >= sizeof text || name[0] == '^') {
        return refuse(r, "a property of this kind");
    }
    (void)snprintf(text, sizeof text, "%.*s", (int)length, name);
    (void)snprintf(set, sizeof set, "\\p{%s}", text);
    return write_with_assigned(r, set, categories, peek(r, 1) == 'P');
}

/* \x{…}, \p{…} and \P{…}. */
static pb_status rewrite_braced(reader *r)
{
    const char *name = r->text + r->at + 3;
    const char *end  = memchr(r->text + r->at, '}', r->length - r->at);

    if (peek(r, 2) != '{' || end == NULL) {
        return refuse(r, "\\x or \\p without braces");
    }
    if (peek(r, 1) == 'x') {
        PB_TRY(pb_string_append(r->out, name - 3, (size_t)(end + 1 - name) + 3));
    } else {
        PB_TRY(write_property(r, name, (size_t)(end - name)));
    }
    r->at = (size_t)(end + 1 - r->text);
    return PB_OK;
}

/* The current escape, at least two bytes. */
static pb_status rewrite_escape(reader *r)
{
    char c = peek(r, 1);

    if (c == '\0') {
        return refuse(r, "a backslash at the end");
    }
    switch (c) {
    case 's':
    case 'S':
        PB_TRY(write_set(r, SPACE_SET, c == 'S'));
        break;
    case 'w':
    case 'W':
        PB_TRY(write_with_assigned(r, r->in_class ? WORD_SET : WORD_SET LATIN_NUMBERS,
                                   word_categories, c == 'W'));
        break;
    case 'd':
    case 'D':
        PB_TRY(write_with_assigned(r, "\\p{Nd}", digit_categories, c == 'D'));
        break;
    case 'v':
        PB_TRY(pb_string_puts(r->out, "\\x{0B}"));
        break;
    case 'x':
    case 'p':
    case 'P':
        return rewrite_braced(r);
    default:
        /* Letters and digits with the same meaning in both; every other character is literal. */
        if (((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) &&
            strchr("nrtfaeAzZ", c) == NULL) {
            const char name[] = {'\\', c, '\0'};
            return refuse(r, name);
        }
        PB_TRY(pb_string_append(r->out, r->text + r->at, 2));
        break;
    }
    r->at += 2;
    return PB_OK;
}

static pb_status rewrite_in_class(reader *r)
{
    char c = peek(r, 0);

    if (c == '[') {
        return refuse(r, "a character class inside of another");
    }
    if (begins(r, "&&")) {
        return refuse(r, "the intersection of character classes");
    }
    if (c == ']') {
        r->in_class = false;
    }
    PB_TRY(pb_string_append(r->out, r->text + r->at, 1));
    r->at++;
    return PB_OK;
}

/* The opening bracket, with the negation and a literal bracket. */
static pb_status open_class(reader *r)
{
    size_t size = peek(r, 1) == '^' ? 2 : 1;

    if (peek(r, size) == ']') {
        return refuse(r, "an unescaped ] at the start of a character class");
    }
    r->in_class = true;
    PB_TRY(pb_string_append(r->out, r->text + r->at, size));
    r->at += size;
    return PB_OK;
}

static pb_status check_group(const reader *r)
{
    static const char *const known[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"};

    if (peek(r, 1) != '?') {
        return peek(r, 1) == '*' ? refuse(r, "a group that begins with (*") : PB_OK;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (begins(r, known[i])) {
            return PB_OK;
        }
    }
    return refuse(r, "a group of this kind");
}

pb_status regex_rewrite(const char *regex, size_t length, const char *place, pb_string *out)
{
    reader r = {.text = regex, .length = length, .place = place, .out = out};

    if (memchr(regex, '\0', length) != NULL) {
        return refuse(&r, "U+0000");
    }
    while (r.at < length) {
        char c = regex[r.at];
        if (c == '\\') {
            PB_TRY(rewrite_escape(&r));
        } else if (r.in_class) {
            PB_TRY(rewrite_in_class(&r));
        } else if (c == '[') {
            PB_TRY(open_class(&r));
        } else {
            if (c == '(') {
                PB_TRY(check_group(&r));
            }
            if (c == '}' && peek(&r, 1) == '+') {
                return refuse(&r, "a repeated quantifier {…}+");
            }
            PB_TRY(pb_string_append(out, regex + r.at, 1));
            r.at++;
        }
    }
    return pb_string_append(out, "", 0);
}
