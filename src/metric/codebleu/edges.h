// SPDX-License-Identifier: Apache-2.0
/* The edges found by a walk, reduced to one per index, to those that are connected, and to numbers
 * for names. */
#pragma once

#include "flow.h"
#include "states.h"

typedef struct code_edge {
    int32_t name, index;
    code_relation relation;
    int32_t names, indices; /* lists of the states' table: the parents */
} code_edge;

/* Zero-initialised is empty. */
typedef struct code_edges {
    code_edge *all; /* [count] */
    int64_t count;
} code_edges;

pb_status code_edges_add(code_edges *e, code_edge edge) PB_MUST_USE;
/* From `first` on, those of one name, index and relation become one, where the first was. */
pb_status code_edges_merge(code_edges *e, int64_t first, code_states *s) PB_MUST_USE;
/* Sorts by index, stably; keeps indices that have parents or are parents; makes one edge of those
 * with the same index, with the later one's relation. `indices` is one more than the largest. */
pb_status code_edges_reduce(code_edges *e, int32_t indices, code_states *s) PB_MUST_USE;
/* The edges as numbers in `table`; names are numbered on first sight, parents first. */
pb_status code_edges_number(const code_edges *e, const code_states *s, int32_t names,
                            pb_interned *table, code_flow *out) PB_MUST_USE;
