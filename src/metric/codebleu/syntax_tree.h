// SPDX-License-Identifier: Apache-2.0
/* The syntax tree of a Python text: the nodes that tree-sitter shows, in the order of the text, a
 * node before its children. syntax_tree.c is the only home of tree-sitter. */
#pragma once

#include "shape.h"

#include <stdbool.h>

/* Longer texts are refused. tree-sitter ends the process when it runs out of memory, and an
 * adversarial text costs up to 700 bytes and 20 microseconds per byte. */
#define CODE_TEXT_LIMIT ((size_t)4 << 20)

/* The kinds of nodes that the data flow distinguishes. */
typedef enum code_kind {
    CODE_OTHER,
    CODE_IDENTIFIER,
    CODE_STRING,
    CODE_COMMENT,
    CODE_COMMA,
    CODE_BLOCK,
    CODE_DEFAULT_PARAMETER,
    CODE_ASSIGNMENT, /* plain and augmented */
    CODE_FOR_IN_CLAUSE,
    CODE_FOR_STATEMENT,
    CODE_WHILE_STATEMENT,
    CODE_IF_STATEMENT,
    CODE_ELIF_CLAUSE,
    CODE_ELSE_CLAUSE,
    CODE_ELSE, /* the word */
} code_kind;

typedef struct code_node {
    int32_t first, last, next;      /* children, and the next child of the same parent; -1: none */
    int32_t end;                    /* the first node after this one and its subtree */
    int32_t left, right;            /* child that is the field left or name, right or value; -1 */
    int32_t shape;                  /* of the subtree; -1 for a node without children */
    int32_t depth;                  /* the root has 1 */
    uint32_t start_row, start_byte; /* from 0; the byte within the row */
    uint32_t end_row, end_byte;
    const char *type;
    code_kind kind;
} code_node;

/* Zero-initialised is empty. */
typedef struct code_tree {
    code_node *nodes; /* [count]; the first is the root */
    int32_t count;
} code_tree;

/* PB_ERR_CONFIG with what to do when the program was built without tree-sitter. */
pb_status code_tree_available(void) PB_MUST_USE;
const char *code_tree_library(void); /* versions, or "absent" */

/* Shapes are added to `shapes`. */
pb_status code_tree_parse(const char *text, size_t length, code_shapes *shapes,
                          code_tree *out) PB_MUST_USE;
void code_tree_clear(code_tree *t);
