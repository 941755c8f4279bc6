// SPDX-License-Identifier: Apache-2.0
/* Code points of valid UTF-8, and the character classes that the tokenizer's components use. The
 * alphabet of byte-level tokenizers (Radford et al., 2019) is here too: each byte has one visible
 * character, printable Latin-1 bytes themselves, the rest U+0100 upwards. */
#pragma once

#include "pb/string.h"
#include "pb/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool unicode_is_space(int32_t code);       /* property White_Space */
bool unicode_is_word(int32_t code);        /* \w of Unicode regular expressions (UTS 18) */
bool unicode_is_number(int32_t code);      /* categories Nd, Nl, No */
bool unicode_is_punctuation(int32_t code); /* categories P* of Unicode 8, all of ASCII's */

/* The visible character of a byte, and back; -1 when the character denotes no byte. */
int32_t byte_to_char(uint8_t byte);
int32_t char_to_byte(int32_t code);
