// SPDX-License-Identifier: Apache-2.0
/* Byte strings numbered in order of first appearance: two have the same number only when they are
 * equal. Texts, digests and lists of numbers are stored once and compared by their numbers.
 *
 *     pb_interned words = {0};
 *     PB_TRY(pb_interned_add(&words, text, length, &number));
 *     pb_interned_clear(&words);
 */
#pragma once

#include "pb/status.h"

#include <stddef.h>
#include <stdint.h>

/* Zero-initialised is empty. */
typedef struct pb_interned {
    char *bytes;     /* all strings, laid end to end */
    int64_t *starts; /* [count + 1] into the bytes */
    int32_t *slots;  /* [slot_count] number + 1, or 0: free; a power of two */
    size_t slot_count;
    int32_t count;
} pb_interned;

/* The number of these bytes; new bytes get a new one. */
pb_status pb_interned_add(pb_interned *t, const void *bytes, size_t length,
                          int32_t *number) PB_MUST_USE;
/* -1: they have none. */
int32_t pb_interned_find(const pb_interned *t, const void *bytes, size_t length);
/* The bytes of a number; valid until the next one is added. */
const void *pb_interned_bytes(const pb_interned *t, int32_t number, size_t *length);
void pb_interned_clear(pb_interned *t); /* empty again */

/* The same for lists of numbers, in a table that has nothing else. */
pb_status pb_interned_add_list(pb_interned *t, const int32_t *list, int64_t count,
                               int32_t *number) PB_MUST_USE;
const int32_t *pb_interned_list(const pb_interned *t, int32_t number, int64_t *count);
