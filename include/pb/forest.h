// SPDX-License-Identifier: Apache-2.0
/* The forest of segments: the structure of every batch, in training and in generation.
 *
 * A segment is a run of consecutive tokens. Its keys and values are seen by itself (causally) and
 * by all its descendants. Keys and values are in a key store [S, K·E]; the last `rows` of a
 * segment's `length` keys belong to packed rows that are computed in this pass, the earlier ones
 * already exist (cached tokens, prefix keys). So a plain batch is one root per row; a shared
 * instruction is a root with the rows as children; prompt tuning's virtual rows are a root; prefix
 * tuning's keys are a root without rows; a cached past is ancestors with rows == 0, and a new token
 * is the last row of its segment. */
#pragma once

#include <stdint.h>

typedef struct pb_segment {
    int64_t row;      /* first packed row that is computed */
    int64_t rows;     /* number of computed rows: 0 … length */
    int64_t key;      /* first row in the key store */
    int64_t length;   /* keys, those of the computed rows last */
    int64_t position; /* of the first key: rope, masks, windows */
    int32_t parent;   /* an earlier segment, -1 for a root */
    int32_t cell;     /* whose adapter acts on it, when several cells train as a gang */
} pb_segment;

typedef struct pb_forest {
    const pb_segment *segments; /* parents before children; rows ascending, no gap and no overlap */
    int64_t count;
    int64_t rows; /* T: sum of segments' rows */
    int64_t keys; /* S: rows of the key store that are in use */
} pb_forest;
