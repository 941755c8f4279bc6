// SPDX-License-Identifier: Apache-2.0
/* Cases of attention over a forest: made, run over a backend, and compared with plain loops in
 * double. Everything fails the test that calls it. */
#pragma once

#include "support.h"

#include "pb/backend.h"

enum { MOST_SEGMENTS = 64, Q = 0, KEYS, VALUES, DOUT, INPUTS };

/* {rows, length, parent} of each segment. */
typedef struct branch {
    int64_t rows, length;
    int32_t parent;
} branch;

typedef struct shape {
    int64_t heads, kv_heads, width, window;
    int64_t only; /* every n-th row only; 0: all */
} shape;

/* A forest, its inputs, and what attention makes of them: F32 values of rows without padding. */
typedef struct attention_case {
    pb_segment segments[MOST_SEGMENTS];
    pb_forest forest;
    shape shape;
    pb_dtype dtype;
    int64_t skew; /* elements that rows are apart beyond their width */
    int64_t store;
    int32_t *only;
    int64_t queries;
    float *in[INPUTS];
    float *out, *lse, *dq, *dkeys, *dvalues;
} attention_case;

static inline int64_t q_width(const attention_case *c)
{
    return c->shape.heads * c->shape.width;
}

static inline int64_t kv_width(const attention_case *c)
{
    return c->shape.kv_heads * c->shape.width;
}

/* Keys of later segments come first in the store, with an unused row between them. */
void case_add_branches(attention_case *c, const branch *branches, int64_t count);
/* The inputs, when all branches are there; values depend on the segment's number less `first`, and
 * on the place within it. */
void case_fill(attention_case *c, int64_t first);
void case_run(pb_backend *be, attention_case *c);
void case_check(const char *name, const attention_case *c);
void case_clear(attention_case *c);
