// SPDX-License-Identifier: Apache-2.0
/* A linear site with the products of small factors that the methods of the LoRA family add to it,
 * each to rows of its own:
 *
 *     y = W x + b + scale · outer ⊙ (B (inner ⊙ (A drop(x))))
 *
 * One operation, so that a backend can compute all of it at once. */
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
    pb_linear_part *parts;     /* [count] in the order of their rows, which are all rows, … */
    int64_t count;             /* … or 0: nothing is added */
} pb_linear;

/* Half the columns of the room that a part needs. */
int64_t pb_low_rank_room(const pb_low_rank *part);
