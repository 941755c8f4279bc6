// SPDX-License-Identifier: Apache-2.0
/* The syntax tree of a Python text: the nodes that tree-sitter shows, in the order of the text, a
 * node before its children. syntax_tree.c is the only home of tree-sitter. */
#pragma once

#include "shape.h"

#include <stdbool.h>

/* Longer texts are refused. tree-sitter ends the process when it runs out of memory, and an
 * adversarial text costs up to 700 bytes and 20 microseconds per byte. */
#define PB_CODE_TEXT_LIMIT ((size_t)4 << 20)

/* The kinds of nodes that the data flow distinguishes. */
typedef enum pb_code_kind {
    PB_CODE_OTHER,
    PB_CODE_IDENTIFIER,
    PB_CODE_STRING,
    PB_CODE_COMMENT,
    PB_CODE_COMMA,
    PB_CODE_BLOCK,
    PB_CODE_DEFAULT_PARAMETER,
    PB_CODE_ASSIGNMENT, /* plain and augmented */
    PB_CODE_FOR_IN_CLAUSE,
    PB_CODE_FOR_STATEMENT,
    PB_CODE_WHILE_STATEMENT,
    PB_CODE_IF_STATEMENT,
    PB_CODE_ELIF_CLAUSE,
    PB_CODE_ELSE_CLAUSE,
    PB_CODE_ELSE, /* the word */
} pb_code_kind;

typedef struct pb_code_node {
    int32_t first, last, next;      /* children, and the next child of the same parent; -1: none */
    int32_t end;                    /* the first node after this one and its subtree */
    int32_t left, right;            /* child that is the field left or name, right or value; -1 */
    int32_t shape;                  /* of the subtree; -1 for a node without children */
    int32_t depth;                  /* the root has 1 */
    uint32_t start_row, start_byte; /* from 0; the byte within the row */
    uint32_t end_row, end_byte;
    const char *type;
    pb_code_kind kind;
} pb_code_node;

/* Zero-initialised is empty. */
typedef struct pb_code_tree {
    pb_code_node *nodes; /* [count]; the first is the root */
    int32_t count;
} pb_code_tree;

/* PB_ERR_CONFIG with what to do when the program was built without tree-sitter. */
pb_status pb_code_tree_available(void) PB_MUST_USE;
const char *pb_code_tree_library(void); /* versions, or "absent" */

/* Shapes are added to `shapes`. */
pb_status pb_code_tree_parse(const char *text, size_t length, pb_code_shapes *shapes,
                             pb_code_tree *out) PB_MUST_USE;
void pb_code_tree_clear(pb_code_tree *t);
