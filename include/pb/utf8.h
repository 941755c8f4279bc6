// SPDX-License-Identifier: Apache-2.0
/* UTF-8: checking, stepping from character to character, cutting and counting. Sizes and offsets
 * are bytes; a character is a code point. Unless a function says otherwise its text must be valid.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True when a well-formed character of *size bytes begins at `bytes` (`left` of them, at least
 * one). If not, *size is the length of the ill-formed part that one U+FFFD replaces. */
bool pb_utf8_next(const char *bytes, size_t left, size_t *size);

/* True when the bytes are valid UTF-8 (no surrogates, no overlong forms); *bad_offset, if not NULL,
 * is the first bad byte. */
bool pb_utf8_is_valid(const char *bytes, size_t length, size_t *bad_offset);

/* True for any byte of a character but its first. */
static inline bool pb_utf8_continues(char byte)
{
    return ((unsigned char)byte & 0xC0) == 0x80;
}

/* Bytes of the character that begins with this byte. */
static inline size_t pb_utf8_size(char lead)
{
    unsigned char c = (unsigned char)lead;
    return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

/* The character at `text` and its size. */
int32_t pb_utf8_decode(const char *text, size_t *size);

/* Writes up to 4 bytes, returns how many. */
size_t pb_utf8_encode(int32_t code, char out[4]);

/* The start of the character that contains byte `at`. Any bytes; `at` may be the end of the text.
 */
size_t pb_utf8_floor(const char *text, size_t at);

/* The start of the character that ends before `at`, which is not 0. */
size_t pb_utf8_before(const char *text, size_t at);

/* The longest start of a terminated text that has at most `most` bytes and does not split a
 * character: for "%.*s". Any bytes. */
int pb_utf8_fit(const char *text, size_t most);
/* Both arguments of "%.*s". */
#define PB_FIT(text, most) pb_utf8_fit((text), (most)), (text)

/* Characters: bytes that begin one. */
int64_t pb_utf8_count(const char *bytes, size_t length);
