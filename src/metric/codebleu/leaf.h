// SPDX-License-Identifier: Apache-2.0
/* The leaves of a syntax tree with their texts. Columns count bytes but are applied to characters,
 * as the package does: after a multi-byte character a text is cut too late. */
#pragma once

#include "syntax_tree.h"

typedef struct code_leaf {
    int32_t node;
    int32_t name;     /* number of its text */
    int32_t index;    /* in the order of the text; leaves at equal positions share the last one's */
    bool is_variable; /* the text is not the node's type */
} code_leaf;

/* Zero-initialised is empty. */
typedef struct code_leaves {
    code_leaf *leaves; /* [count] */
    int32_t count;
    int32_t *before; /* [nodes + 1] leaves before each node */
    int32_t depth;   /* of the deepest leaf */
    pb_interned names;
} code_leaves;

/* Nodes without children, but no comments, and strings as a whole. */
static inline bool code_is_leaf(const code_node *n)
{
    return n->kind == CODE_STRING || (n->first < 0 && n->kind != CODE_COMMENT);
}

pb_status code_leaves_find(const code_tree *tree, const char *text, size_t length,
                           code_leaves *out) PB_MUST_USE;
void code_leaves_clear(code_leaves *l);
