// SPDX-License-Identifier: Apache-2.0
/* Where each name got its value: name → sorted list of leaf indices. One running state with a trail
 * of what it was before, so that branches start from the same state and are united. */
#pragma once

#include "pb/interned.h"

#include <stdbool.h>

/* Steps after which list operations stop and the text has no edges; only adversarial texts need
 * this many. */
#define CODE_STEP_LIMIT ((int64_t)1 << 24)

enum { CODE_UNKNOWN = -1 }; /* the list of a name that has no value */

typedef struct code_change {
    int32_t name, list;
} code_change;

/* Changes [first, first + count) of `outcomes`: how one branch left the names that it touched. */
typedef struct code_outcome {
    int64_t first, count;
} code_outcome;

typedef struct code_states {
    int32_t *lists;     /* [names] number of the list, or CODE_UNKNOWN */
    pb_interned values; /* lists of indices, and of names */
    int64_t branchings; /* that are open; the trail is kept for them */
    code_change *trail;
    int64_t trail_count;
    code_change *outcomes;
    int64_t outcome_count;
    /* [names] scratch of taking and uniting */
    int32_t *stamp, *seen, *united;
    int32_t now;
    int32_t *scratch; /* of list operations */
    int64_t steps;    /* work done so far, in list items and changes */
} code_states;

pb_status code_states_init(code_states *s, int32_t names) PB_MUST_USE;
void code_states_clear(code_states *s);

pb_status code_states_set(code_states *s, int32_t name, int32_t list) PB_MUST_USE;

/* The changes since the trail had `mark` entries as an outcome; the state is that of the mark
 * again. */
pb_status code_states_take(code_states *s, int64_t mark, code_outcome *out) PB_MUST_USE;
pb_status code_states_apply(code_states *s, code_outcome outcome) PB_MUST_USE;
/* Every name gets the union of its lists in the outcomes, and of its current list if `stays` is set
 * (a branch that does nothing) or an outcome left it alone. */
pb_status code_states_unite(code_states *s, const code_outcome *outcomes, int64_t count,
                            bool stays) PB_MUST_USE;

pb_status code_list_of(code_states *s, const int32_t *items, int64_t count,
                       int32_t *list) PB_MUST_USE;
/* Items of both, sorted; each once. */
pb_status code_list_sorted(code_states *s, int32_t a, int32_t b, int32_t *list) PB_MUST_USE;
/* Items of a, then of b, in order of first appearance; each once. All are names. */
pb_status code_list_joined(code_states *s, int32_t a, int32_t b, int32_t *list) PB_MUST_USE;
