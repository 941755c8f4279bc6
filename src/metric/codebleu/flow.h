// SPDX-License-Identifier: Apache-2.0
/* Data flow: which names of a text get their values from which, as CodeBLEU's walk over the syntax
 * tree finds it. Names are numbered in the order in which the edges show them, so that renaming
 * changes nothing. */
#pragma once

#include "syntax_tree.h"

/* A text with deeper leaves has no edges: Python's limit of 1000 calls ends the package's walk
 * there. */
#define CODE_DEPTH_LIMIT 994

typedef enum code_relation { CODE_COMES_FROM, CODE_COMPUTED_FROM } code_relation;

/* Zero-initialised is empty. */
typedef struct code_flow {
    int32_t *edges; /* [count] numbers of edges in a table that texts share */
    int64_t count;
} code_flow;

/* An edge in `edges` is the list: number of the name, relation, numbers of its parents. */
pb_status code_flow_find(const code_tree *tree, const char *text, size_t length, pb_interned *edges,
                         code_flow *out) PB_MUST_USE;
void code_flow_clear(code_flow *f);
