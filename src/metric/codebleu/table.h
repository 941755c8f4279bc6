// SPDX-License-Identifier: Apache-2.0
/* Byte strings numbered in order of first appearance: two have the same number only when they are
 * equal. Tokens, n-grams, names, lists of numbers and subtrees are compared by these numbers.
 *
 *     code_table words = {0};
 *     PB_TRY(code_table_add(&words, text, length, &number));
 *     code_table_clear(&words);
 */
#pragma once

#include "pb/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct code_entry {
    uint64_t hash;
    size_t start, length;
} code_entry;

/* Zero-initialised is empty. */
typedef struct code_table {
    code_entry *entries; /* [count] */
    int32_t count;
    int32_t *slots; /* [slot_count] number + 1, or 0: empty; a power of two */
    size_t slot_count;
    char *bytes; /* each entry starts at a multiple of 8 */
    size_t used;
} code_table;

/* The number of these bytes; new bytes get a new one. */
pb_status code_table_add(code_table *t, const void *bytes, size_t length,
                         int32_t *number) PB_MUST_USE;
/* The bytes of a number; valid until the next one is added. */
const void *code_table_bytes(const code_table *t, int32_t number, size_t *length);
void code_table_clear(code_table *t); /* empty again */

/* Lists of numbers are entries too. */
pb_status code_table_add_list(code_table *t, const int32_t *list, int64_t count,
                              int32_t *number) PB_MUST_USE;
const int32_t *code_table_list(const code_table *t, int32_t number, int64_t *count);
