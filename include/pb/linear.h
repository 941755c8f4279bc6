// SPDX-License-Identifier: Apache-2.0
/* A linear site with the products of small factors that the methods of the LoRA family add to it,
 * each to rows of its own:
 *
 *     y = W x + b + scale · outer ⊙ (B (inner ⊙ (A drop(x))))
 *
 * One operation, so that a backend can compute all of it at once. Parts without vectors can ride in
 * the products of W, where W, the rows of x and those of dy have borders (see pb_tensor):
 *
 *     u  = drop(x) Aᵀ       y  = [x | u] [W | scale · B]ᵀ + b
 *     du = scale · dy B     dx = [dy | du] [W; A]
 *
 * A lies below W: a weight with a border has as many rows there as columns beside it. Parts have
 * their columns in their order, in which u and du are zero for the rows of others. With dropout dx
 * has a term of its own. */
#pragma once

#include "pb/tensor.h"

/* A dropout mask draws from pb_random_stream(seed, PB_RANDOM_DROPOUT, pass · stride + salt), with
 * the pass of the page. */
typedef struct pb_mask {
    uint64_t seed, stride, salt;
} pb_mask;

/* No gradient is computed where its tensor is none. */
typedef struct pb_low_rank {
    pb_tensor a, da;         /* [r, in] */
    pb_tensor b, db;         /* [out, r] */
    pb_tensor inner, dinner; /* [r]; none: ones */
    pb_tensor outer, douter; /* [out]; none: ones. With it b is frozen. */
    float scale;
    double dropout; /* probability */
    pb_mask mask;
} pb_low_rank;

/* What is added to `rows` rows, which are all that its mask counts. */
typedef struct pb_linear_part {
    pb_low_rank low_rank;
    int64_t first, rows;
    pb_tensor kept; /* [rows, r] A drop(x), from the forward to the backward */
    pb_tensor room; /* [rows, 2 · pb_low_rank_room], undefined contents */
} pb_linear_part;

typedef struct pb_linear {
    pb_tensor weight, dweight; /* [out, in] */
    pb_tensor bias, dbias;     /* [out]; none: zeros */
    pb_tensor residual;        /* [T, out] added in the forward; none: zeros */
    pb_linear_part *parts;     /* [count] in the order of their rows, which are all rows, … */
    int64_t count;             /* … or 0: nothing is added */
    bool rides;                /* the parts do, in the border of the weight … */
    bool holds;                /* … which holds them; else it is written first */
} pb_linear;

/* There are parts, and all may ride: without vectors, of ranks that keep memory aligned, and all
 * together in the border of a frozen weight. */
bool pb_linear_may_ride(const pb_linear *linear);
int64_t pb_linear_rank(const pb_linear *linear); /* of all parts together */
/* to = scale · from, one of several copies. */
typedef struct pb_scaled_copy {
    pb_tensor to, from;
    float scale;
} pb_scaled_copy;

/* The copies, [2 · count], that write the parts into the border. */
void pb_linear_border(const pb_linear *linear, pb_scaled_copy *copies);

/* Half the columns of the room that a part needs. */
int64_t pb_low_rank_room(const pb_low_rank *part);
