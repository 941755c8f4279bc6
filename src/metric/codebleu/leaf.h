// SPDX-License-Identifier: Apache-2.0
/* The leaves of a syntax tree with their texts. Columns count bytes but are applied to characters,
 * as the package does: after a multi-byte character a text is cut too late. */
#pragma once

#include "syntax_tree.h"

typedef struct pb_code_leaf {
    int32_t node;
    int32_t name;     /* number of its text */
    int32_t index;    /* in the order of the text; leaves at equal positions share the last one's */
    bool is_variable; /* the text is not the node's type */
} pb_code_leaf;

/* Zero-initialised is empty. */
typedef struct pb_code_leaves {
    pb_code_leaf *leaves; /* [count] */
    int32_t count;
    int32_t *before; /* [nodes + 1] leaves before each node */
    int32_t depth;   /* of the deepest leaf */
    pb_code_table names;
} pb_code_leaves;

/* Nodes without children, but no comments, and strings as a whole. */
static inline bool pb_code_is_leaf(const pb_code_node *n)
{
    return n->kind == PB_CODE_STRING || (n->first < 0 && n->kind != PB_CODE_COMMENT);
}

pb_status pb_code_leaves_find(const pb_code_tree *tree, const char *text, size_t length,
                              pb_code_leaves *out) PB_MUST_USE;
void pb_code_leaves_clear(pb_code_leaves *l);
