// SPDX-License-Identifier: Apache-2.0
/* A growing text, and the few text helpers that several modules need. */
#pragma once

#include "pb/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialised is empty. data is NULL or terminated; length excludes the terminator and may
 * span NULs. */
typedef struct pb_string {
    char *data;
    size_t length;
    size_t capacity;
} pb_string;

void pb_string_clear(pb_string *s); /* frees; s is empty again */
pb_status pb_string_append(pb_string *s, const char *bytes, size_t length) PB_MUST_USE;
pb_status pb_string_puts(pb_string *s, const char *text) PB_MUST_USE;
pb_status pb_string_printf(pb_string *s, const char *format, ...) PB_MUST_USE PB_PRINTF(2, 3);
pb_status pb_string_vprintf(pb_string *s, const char *format, va_list arguments) PB_MUST_USE
    PB_PRINTF(2, 0);
/* Appends the bytes as UTF-8; each ill-formed part becomes one U+FFFD. */
pb_status pb_string_utf8(pb_string *s, const char *bytes, size_t length) PB_MUST_USE;
/* Appends the bytes as a JSON string with quotes; invalid UTF-8 becomes U+FFFD. */
pb_status pb_string_json(pb_string *s, const char *bytes, size_t length) PB_MUST_USE;

/* The number with the fewest digits, at least `least`, that read back as the same double; always
 * with a point or an exponent. Returns `text`. */
enum { PB_NUMBER_BYTES = 32 };
const char *pb_number_text(double number, int least, char text[PB_NUMBER_BYTES]);

bool pb_string_begins(const char *text, const char *begin);
bool pb_string_ends(const char *text, const char *end);
/* Whether a NULL-terminated list has the text; a list that is NULL is empty. */
bool pb_string_is_in(const char *text, const char *const *list);

/* Sorts texts by their bytes. */
void pb_string_sort(const char **texts, size_t count);

/* The candidate (NULL-terminated list) with the smallest edit distance to `name`, NULL when none is
 * close (distance above a third of the longer length, at least 2). */
const char *pb_string_nearest(const char *name, const char *const *candidates);
/* One step of it: `candidate` when it is close, and closer than `best`, else `best` (NULL:
 * none). */
const char *pb_string_nearer(const char *name, const char *best, const char *candidate);

/* For the end of a message about a name that does not exist: `; did you mean "lora"? Known: a,
 * b, c` into `text`, which it returns; names that do not fit are replaced by three dots. */
enum { PB_HINT_BYTES = 1024 };
const char *pb_string_hint(char text[PB_HINT_BYTES], const char *name,
                           const char *const *candidates);

/* Copies `text` for a terminal into `out` of `size` bytes, NUL included: control characters other
 * than tab and line feed, and bytes that are not UTF-8, become "\xNN". Ends at a whole character if
 * `size` is too small; returns the number of bytes of `text` left out. */
size_t pb_string_printable(const char *text, char *out, size_t size);
