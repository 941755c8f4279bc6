// SPDX-License-Identifier: Apache-2.0
/* White space, digits and case as in Python. utf8proc gives the simple mappings; the full ones
 * (Unicode Standard, SpecialCasing) differ for lower case in two places, capital I with dot above
 * and sigma at the end of a word, and for title case in the characters of a table. */
#include "pb/python.h"
#include "pb/utf8.h"

#include <utf8proc.h>

enum { DOTTED_I = 0x130, DOT_ABOVE = 0x307, SIGMA = 0x3A3, FINAL_SIGMA = 0x3C2 };

int32_t pb_str_next(const char *text, size_t length, size_t *bytes)
{
    utf8proc_int32_t c = -1;
    utf8proc_ssize_t used =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, &c);

    *bytes = used > 0 ? (size_t)used : 1;
    return c;
}

bool pb_str_is_space(int32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

bool pb_str_is_word(int32_t c)
{
    if (c < 0) {
        return false;
    }
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return true;
    default:
        return c == '_';
    }
}

/* The digits of a script are ten consecutive characters; adjacent sets start at a zero. */
int pb_str_digit(int32_t c)
{
    int32_t first = c;

    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c < 0x80 || utf8proc_category(c) != UTF8PROC_CATEGORY_ND) {
        return -1;
    }
    while (utf8proc_category(first - 1) == UTF8PROC_CATEGORY_ND) {
        first--;
    }
    return (int)((c - first) % 10);
}

void pb_str_strip(const char **text, size_t *length)
{
    size_t bytes;

    while (*length > 0 && pb_str_is_space(pb_str_next(*text, *length, &bytes))) {
        *text += bytes;
        *length -= bytes;
    }
    while (*length > 0) {
        size_t last = pb_utf8_before(*text, *length);
        if (!pb_str_is_space(pb_str_next(*text + last, *length - last, &bytes))) {
            break;
        }
        *length = last;
    }
}

static bool is_cased(int32_t c)
{
    return utf8proc_islower(c) || utf8proc_isupper(c) ||
           utf8proc_category(c) == UTF8PROC_CATEGORY_LT;
}

/* The property Case_Ignorable. */
static bool is_case_ignorable(int32_t c)
{
    static const int32_t inside_words[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,
                                           0x5F4,  0x2018, 0x2019, 0x2024, 0x2027, 0xFE13,
                                           0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
    for (size_t i = 0; i < sizeof inside_words / sizeof *inside_words; i++) {
        if (c == inside_words[i]) {
            return true;
        }
    }
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        return false;
    }
}

/* A sigma at [start, end) is final when a cased letter precedes it and none follows. */
static bool is_final_sigma(const char *text, size_t length, size_t start, size_t end)
{
    bool before = false;
    size_t bytes;

    while (start > 0) {
        start     = pb_utf8_before(text, start);
        int32_t c = pb_str_next(text + start, length - start, &bytes);
        if (!is_case_ignorable(c)) {
            before = is_cased(c);
            break;
        }
    }
    while (before && end < length) {
        int32_t c = pb_str_next(text + end, length - end, &bytes);
        if (!is_case_ignorable(c)) {
            return !is_cased(c);
        }
        end += bytes;
    }
    return before;
}

static pb_status append_character(int32_t c, pb_string *out)
{
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t count = utf8proc_encode_char(c, bytes);
    return pb_string_append(out, (const char *)bytes, (size_t)count);
}

/* Appends the lower case of text[from, length). */
static pb_status lower_from(const char *text, size_t length, size_t from, pb_string *out)
{
    size_t bytes;

    for (size_t at = from; at < length; at += bytes) {
        int32_t c = pb_str_next(text + at, length - at, &bytes);
        if (c == SIGMA && is_final_sigma(text, length, at, at + bytes)) {
            PB_TRY(append_character(FINAL_SIGMA, out));
        } else if (c == DOTTED_I) {
            PB_TRY(append_character('i', out));
            PB_TRY(append_character(DOT_ABOVE, out));
        } else {
            PB_TRY(append_character(utf8proc_tolower(c), out));
        }
    }
    return PB_OK;
}

pb_status pb_str_lower(const char *text, size_t length, pb_string *out)
{
    return lower_from(text, length, 0, out);
}

/* Characters whose title case is two or three characters. */
static const struct {
    int32_t from, to[3];
} titles[] = {
    {0x00DF, {0x53, 0x73, 0}},       {0x0149, {0x2BC, 0x4E, 0}},
    {0x01F0, {0x4A, 0x30C, 0}},      {0x0390, {0x399, 0x308, 0x301}},
    {0x03B0, {0x3A5, 0x308, 0x301}}, {0x0587, {0x535, 0x582, 0}},
    {0x1E96, {0x48, 0x331, 0}},      {0x1E97, {0x54, 0x308, 0}},
    {0x1E98, {0x57, 0x30A, 0}},      {0x1E99, {0x59, 0x30A, 0}},
    {0x1E9A, {0x41, 0x2BE, 0}},      {0x1F50, {0x3A5, 0x313, 0}},
    {0x1F52, {0x3A5, 0x313, 0x300}}, {0x1F54, {0x3A5, 0x313, 0x301}},
    {0x1F56, {0x3A5, 0x313, 0x342}}, {0x1FB2, {0x1FBA, 0x345, 0}},
    {0x1FB4, {0x386, 0x345, 0}},     {0x1FB6, {0x391, 0x342, 0}},
    {0x1FB7, {0x391, 0x342, 0x345}}, {0x1FC2, {0x1FCA, 0x345, 0}},
    {0x1FC4, {0x389, 0x345, 0}},     {0x1FC6, {0x397, 0x342, 0}},
    {0x1FC7, {0x397, 0x342, 0x345}}, {0x1FD2, {0x399, 0x308, 0x300}},
    {0x1FD3, {0x399, 0x308, 0x301}}, {0x1FD6, {0x399, 0x342, 0}},
    {0x1FD7, {0x399, 0x308, 0x342}}, {0x1FE2, {0x3A5, 0x308, 0x300}},
    {0x1FE3, {0x3A5, 0x308, 0x301}}, {0x1FE4, {0x3A1, 0x313, 0}},
    {0x1FE6, {0x3A5, 0x342, 0}},     {0x1FE7, {0x3A5, 0x308, 0x342}},
    {0x1FF2, {0x1FFA, 0x345, 0}},    {0x1FF4, {0x38F, 0x345, 0}},
    {0x1FF6, {0x3A9, 0x342, 0}},     {0x1FF7, {0x3A9, 0x342, 0x345}},
    {0xFB00, {0x46, 0x66, 0}},       {0xFB01, {0x46, 0x69, 0}},
    {0xFB02, {0x46, 0x6C, 0}},       {0xFB03, {0x46, 0x66, 0x69}},
    {0xFB04, {0x46, 0x66, 0x6C}},    {0xFB05, {0x53, 0x74, 0}},
    {0xFB06, {0x53, 0x74, 0}},       {0xFB13, {0x544, 0x576, 0}},
    {0xFB14, {0x544, 0x565, 0}},     {0xFB15, {0x544, 0x56B, 0}},
    {0xFB16, {0x54E, 0x576, 0}},     {0xFB17, {0x544, 0x56D, 0}},
};

static pb_status append_title(int32_t c, pb_string *out)
{
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++) {
        for (size_t k = 0; titles[i].from == c && k < 3 && titles[i].to[k] != 0; k++) {
            PB_TRY(append_character(titles[i].to[k], out));
        }
        if (titles[i].from == c) {
            return PB_OK;
        }
    }
    return append_character(utf8proc_totitle(c), out);
}

pb_status pb_str_capitalize(const char *text, size_t length, pb_string *out)
{
    size_t bytes = 0;

    if (length == 0) {
        return PB_OK;
    }
    PB_TRY(append_title(pb_str_next(text, length, &bytes), out));
    return lower_from(text, length, bytes, out);
}
