// SPDX-License-Identifier: Apache-2.0
/* Code points of valid UTF-8, and the character classes that the tokenizer's components use. The
 * alphabet of byte-level tokenizers (Radford et al., 2019) is here too: each byte has one visible
 * character, printable Latin-1 bytes themselves, the rest U+0100 upwards. */
#pragma once

#include "pb/string.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character that begins with this byte. */
static inline size_t pb_utf8_size(char lead)
{
    unsigned char c = (unsigned char)lead;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* The character at `text` and its size in bytes. */
int32_t pb_utf8_decode(const char *text, size_t *size);

/* Writes up to 4 bytes, returns how many. */
size_t pb_utf8_encode(int32_t code, char out[4]);

/* The start of the character that ends before `at`. */
size_t pb_utf8_before(const char *text, size_t at);

/* Appends the bytes as UTF-8; every maximal ill-formed part becomes one U+FFFD. */
pb_status pb_utf8_append_lossy(pb_string *out, const char *bytes, size_t length) PB_MUST_USE;

bool pb_unicode_is_space(int32_t code);       /* property White_Space */
bool pb_unicode_is_word(int32_t code);        /* \w of Unicode regular expressions (UTS 18) */
bool pb_unicode_is_number(int32_t code);      /* categories Nd, Nl, No */
bool pb_unicode_is_punctuation(int32_t code); /* categories P* of Unicode 8, all of ASCII's */

/* The visible character of a byte, and back; -1 when the character stands for no byte. */
int32_t pb_byte_to_char(uint8_t byte);
int32_t pb_char_to_byte(int32_t code);
