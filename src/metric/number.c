// SPDX-License-Identifier: Apache-2.0
/* Texts become numbers through strtod on a checked copy, so that strtod's own leniency
 * (hexadecimal, leading space) does not apply. Texts longer than the copy are not numbers. */
#include "number.h"

#include "pb/python.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NUMBER_BYTES = 16 << 10 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t count_digits(const char *text, size_t length)
{
    size_t count = 0;

    while (count < length && is_digit(text[count])) {
        count++;
    }
    return count;
}

/* Bytes of the longest prefix of the form, 0 when there is none. */
static size_t match_form(number_form form, const char *text, size_t length)
{
    size_t at    = length > 0 && (text[0] == '+' || text[0] == '-') ? 1 : 0;
    size_t whole = count_digits(text + at, length - at);
    size_t part  = 0;

    at += whole;
    if (at < length && text[at] == '.') {
        part = count_digits(text + at + 1, length - at - 1);
        if (part > 0 || (whole > 0 && form != NUMBER_STRICT)) {
            at += 1 + part;
        }
    }
    if (whole == 0 && part == 0) {
        return 0;
    }
    if (form == NUMBER_EXPONENT && at < length && (text[at] == 'e' || text[at] == 'E')) {
        size_t sign   = at + 1 < length && (text[at + 1] == '+' || text[at + 1] == '-') ? 1 : 0;
        size_t digits = count_digits(text + at + 1 + sign, length - at - 1 - sign);
        at += digits > 0 ? 1 + sign + digits : 0;
    }
    return at;
}

static bool convert(const char *text, size_t length, double *out)
{
    char copy[NUMBER_BYTES];

    if (length >= sizeof copy) {
        return false;
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    *out         = strtod(copy, NULL);
    return true;
}

bool number_whole(number_form form, const char *text, size_t length, double *out)
{
    return length > 0 && match_form(form, text, length) == length && convert(text, length, out);
}

/* Plain ASCII: digits of all scripts become 0 … 9, `_` between digits goes. */
static bool simplify(const char *text, size_t length, char *out, size_t *out_length)
{
    size_t used = 0;
    size_t bytes;

    for (size_t at = 0; at < length; at += bytes) {
        int32_t c = pb_str_next(text + at, length - at, &bytes);
        int digit = pb_str_digit(c);
        if (used + 1 >= NUMBER_BYTES || (digit < 0 && (c < 0 || c >= 0x80))) {
            return false;
        }
        if (c == '_') {
            size_t next_bytes = 0;
            bool after =
                at + bytes < length &&
                pb_str_digit(pb_str_next(text + at + bytes, length - at - bytes, &next_bytes)) >= 0;
            if (used == 0 || !is_digit(out[used - 1]) || !after) {
                return false;
            }
            continue;
        }
        out[used++] = digit >= 0 ? (char)('0' + digit) : (char)c;
    }
    out[used]   = '\0';
    *out_length = used;
    return true;
}

bool number_python(const char *text, size_t length, double *out)
{
    static const char *const words[] = {"inf", "infinity", "nan"};
    char plain[NUMBER_BYTES];
    size_t used = 0;

    pb_str_strip(&text, &length);
    if (!simplify(text, length, plain, &used)) {
        return false;
    }
    const char *word = plain + (plain[0] == '+' || plain[0] == '-');
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(word, words[i]) == 0) {
            return convert(plain, used, out);
        }
    }
    return number_whole(NUMBER_EXPONENT, plain, used, out);
}

/* Bytes of the pattern at the text's start, 0 when it does not match there. */
static size_t match_commas(const char *text)
{
    size_t at = text[0] == '+' || text[0] == '-' ? 1 : 0;

    if (!is_digit(text[at])) {
        size_t digits = text[at] == '.' ? count_digits(text + at + 1, strlen(text + at + 1)) : 0;
        return digits > 0 ? at + 1 + digits : 0;
    }
    while (is_digit(text[at]) || text[at] == ',') {
        at++;
    }
    if (text[at] == '.' && is_digit(text[at + 1])) {
        at += 1 + count_digits(text + at + 1, strlen(text + at + 1));
    }
    return at;
}

bool number_search(const char *text, bool last, double *out)
{
    const char *found = NULL;
    size_t found_size = 0;
    char plain[NUMBER_BYTES];
    size_t used = 0;

    while (*text != '\0' && (found == NULL || last)) {
        size_t size = match_commas(text);
        if (size > 0) {
            found      = text;
            found_size = size;
        }
        text += size > 0 ? size : 1;
    }
    for (size_t i = 0; i < found_size; i++) {
        if (found[i] != ',') {
            if (used + 1 >= sizeof plain) {
                return false;
            }
            plain[used++] = found[i];
        }
    }
    return found != NULL && convert(plain, used, out);
}
