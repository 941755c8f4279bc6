// SPDX-License-Identifier: Apache-2.0
/* The edges found by a walk, reduced to one per index, to those that are connected, and to numbers
 * for names. */
#pragma once

#include "flow.h"
#include "states.h"

typedef struct pb_code_edge {
    int32_t name, index;
    pb_code_relation relation;
    int32_t names, indices; /* lists of the states' table: the parents */
} pb_code_edge;

/* Zero-initialised is empty. */
typedef struct pb_code_edges {
    pb_code_edge *all; /* [count] */
    int64_t count;
} pb_code_edges;

pb_status pb_code_edges_add(pb_code_edges *e, pb_code_edge edge) PB_MUST_USE;
/* From `first` on, those of one name, index and relation become one, where the first was. */
pb_status pb_code_edges_merge(pb_code_edges *e, int64_t first, pb_code_states *s) PB_MUST_USE;
/* Sorts by index, stably; keeps indices that have parents or are parents; makes one edge of those
 * with the same index, with the later one's relation. `indices` is one more than the largest. */
pb_status pb_code_edges_reduce(pb_code_edges *e, int32_t indices, pb_code_states *s) PB_MUST_USE;
/* The edges as numbers in `table`; names are numbered on first sight, parents first. */
pb_status pb_code_edges_number(const pb_code_edges *e, const pb_code_states *s, int32_t names,
                               pb_code_table *table, pb_code_flow *out) PB_MUST_USE;
