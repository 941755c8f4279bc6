// SPDX-License-Identifier: Apache-2.0
/* Shapes of subtrees: what their S-expressions say, as numbers. Two subtrees have the same number
 * exactly when their S-expressions are the same text, which is never written out: the texts of all
 * subtrees of a deep tree are as long as its size squared. */
#pragma once

#include "table.h"

#include "pb/string.h"

/* Zero-initialised is empty; shared by the trees that are compared. */
typedef struct pb_code_shapes {
    pb_code_table words;  /* names of node types and fields */
    pb_code_table shapes; /* each a list: word, then per child its field's word (-1) and shape */
} pb_code_shapes;

void pb_code_shapes_clear(pb_code_shapes *s);
pb_status pb_code_shapes_word(pb_code_shapes *s, const char *text, int32_t *word) PB_MUST_USE;
/* `children` [count] pairs of field and shape. */
pb_status pb_code_shapes_add(pb_code_shapes *s, int32_t word, const int32_t (*children)[2],
                             int64_t count, int32_t *shape) PB_MUST_USE;
/* Appends the S-expression. */
pb_status pb_code_shapes_print(const pb_code_shapes *s, int32_t shape, pb_string *out) PB_MUST_USE;
