// SPDX-License-Identifier: Apache-2.0
/* Shapes of subtrees: what their S-expressions say, as numbers. Two subtrees have the same number
 * exactly when their S-expressions are the same text, which is never written out: the texts of all
 * subtrees of a deep tree are as long as its size squared. */
#pragma once

#include "pb/interned.h"
#include "pb/string.h"

/* Zero-initialised is empty; shared by the trees that are compared. */
typedef struct code_shapes {
    pb_interned words;  /* names of node types and fields */
    pb_interned shapes; /* each a list: word, then per child its field's word (-1) and shape */
} code_shapes;

void code_shapes_clear(code_shapes *s);
pb_status code_shapes_word(code_shapes *s, const char *text, int32_t *word) PB_MUST_USE;
/* `children` [count] pairs of field and shape. */
pb_status code_shapes_add(code_shapes *s, int32_t word, const int32_t (*children)[2], int64_t count,
                          int32_t *shape) PB_MUST_USE;
