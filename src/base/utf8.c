// SPDX-License-Identifier: Apache-2.0
/* Well-formed is what table 3-7 of the Unicode Standard lists; ill-formed parts are the maximal
 * subparts of its section 3.9. */
#include "pb/utf8.h"

#include <string.h>

bool pb_utf8_next(const char *bytes, size_t left, size_t *size)
{
    const unsigned char *b = (const unsigned char *)bytes;
    unsigned char low      = 0x80;
    unsigned char high     = 0xBF;

    *size = 1;
    if (b[0] < 0x80) {
        return true;
    }
    if (b[0] < 0xC2 || b[0] > 0xF4) {
        return false;
    }
    if (b[0] == 0xE0) {
        low = 0xA0; /* overlong below */
    } else if (b[0] == 0xED) {
        high = 0x9F; /* surrogates above */
    } else if (b[0] == 0xF0) {
        low = 0x90; /* overlong below */
    } else if (b[0] == 0xF4) {
        high = 0x8F; /* beyond U+10FFFF above */
    }
    for (size_t i = 1; i < pb_utf8_size(bytes[0]); i++) {
        if (i >= left || b[i] < low || b[i] > high) {
            return false;
        }
        low   = 0x80;
        high  = 0xBF;
        *size = i + 1;
    }
    return true;
}

bool pb_utf8_is_valid(const char *bytes, size_t length, size_t *bad_offset)
{
    size_t step = 0;

    for (size_t i = 0; i < length; i += step) {
        if (!pb_utf8_next(bytes + i, length - i, &step)) {
            if (bad_offset != NULL) {
                *bad_offset = i;
            }
            return false;
        }
    }
    return true;
}

int32_t pb_utf8_decode(const char *text, size_t *size)
{
    const unsigned char *c = (const unsigned char *)text;

    *size = pb_utf8_size(text[0]);
    switch (*size) {
    case 1:
        return c[0];
    case 2:
        return (c[0] & 0x1F) << 6 | (c[1] & 0x3F);
    case 3:
        return (c[0] & 0x0F) << 12 | (c[1] & 0x3F) << 6 | (c[2] & 0x3F);
    default:
        return (c[0] & 0x07) << 18 | (c[1] & 0x3F) << 12 | (c[2] & 0x3F) << 6 | (c[3] & 0x3F);
    }
}

size_t pb_utf8_encode(int32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

size_t pb_utf8_floor(const char *text, size_t at)
{
    while (at > 0 && pb_utf8_continues(text[at])) {
        at--;
    }
    return at;
}

size_t pb_utf8_before(const char *text, size_t at)
{
    return pb_utf8_floor(text, at - 1);
}

int pb_utf8_fit(const char *text, size_t most)
{
    size_t length = strnlen(text, most + 1);

    return (int)(length > most ? pb_utf8_floor(text, most) : length);
}

int64_t pb_utf8_count(const char *bytes, size_t length)
{
    int64_t count = 0;

    for (size_t i = 0; i < length; i++) {
        count += !pb_utf8_continues(bytes[i]);
    }
    return count;
}
