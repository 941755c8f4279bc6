// SPDX-License-Identifier: Apache-2.0
/* Character classes by general category, lossy decoding as the Unicode Standard recommends it
 * (section 3.9, maximal subparts), and the byte alphabet. */
#include "unicode.h"

#include "unicode_versions.h"

#include "pb/utf8.h"

bool unicode_is_space(int32_t code)
{
    return (code >= 9 && code <= 13) || code == ' ' || code == 0x85 || code == 0xa0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

/* Symbols with the property Other_Alphabetic: circled and squared letters and the like. */
static bool is_letter_symbol(int32_t code)
{
    return (code >= 0x24b6 && code <= 0x24e9) || (code >= 0x1f130 && code <= 0x1f149) ||
           (code >= 0x1f150 && code <= 0x1f169) || (code >= 0x1f170 && code <= 0x1f189);
}

bool unicode_is_word(int32_t code)
{
    switch (unicode_category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return code == 0x200c || code == 0x200d || is_letter_symbol(code);
    }
}

/* The ranges are digits of version 17. */
bool unicode_is_number(int32_t code)
{
    utf8proc_category_t category = unicode_category(code);
    return (code >= 0x11de0 && code <= 0x11de9) || (code >= 0x16ff4 && code <= 0x16ff6) ||
           category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
           category == UTF8PROC_CATEGORY_NO;
}

bool unicode_is_punctuation(int32_t code)
{
    if (code < 0x80) {
        return (code >= '!' && code <= '/') || (code >= ':' && code <= '@') ||
               (code >= '[' && code <= '`') || (code >= '{' && code <= '~');
    }
    if (code == 0x166d || code == 0x111c9) {
        return true;
    }
    utf8proc_category_t category = unicode_category(code);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO &&
           !unicode_is_punctuation_later(code);
}

/* The first bytes without a visible character are 0 … 32, then 127 … 160, then 173. */
enum { HIDDEN_FIRST = 33, HIDDEN_SECOND = 34, HIDDEN_BASE = 0x100 };

int32_t byte_to_char(uint8_t byte)
{
    if (byte < HIDDEN_FIRST) {
        return HIDDEN_BASE + byte;
    }
    if (byte >= 127 && byte < 127 + HIDDEN_SECOND) {
        return HIDDEN_BASE + HIDDEN_FIRST + byte - 127;
    }
    return byte == 173 ? HIDDEN_BASE + HIDDEN_FIRST + HIDDEN_SECOND : byte;
}

int32_t char_to_byte(int32_t code)
{
    if (code < HIDDEN_BASE) {
        return code >= 0 && byte_to_char((uint8_t)code) == code ? code : -1;
    }
    code -= HIDDEN_BASE;
    if (code < HIDDEN_FIRST) {
        return code;
    }
    if (code < HIDDEN_FIRST + HIDDEN_SECOND) {
        return 127 + code - HIDDEN_FIRST;
    }
    return code == HIDDEN_FIRST + HIDDEN_SECOND ? 173 : -1;
}
