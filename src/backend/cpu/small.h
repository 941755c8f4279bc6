// SPDX-License-Identifier: Apache-2.0
/* The small products of attention: row-major blocks with leading dimensions, run on the calling
 * thread. Few rows (a decoding step) take loops of our own, blocks a CBLAS. */
#pragma once

#include <stdint.h>

/* A block of a row-major matrix: rows are `stride` elements apart. */
typedef struct small_block {
    float *data;
    int64_t stride;
} small_block;

/* C [m, n] = A [m, k] B [n, k]^T */
void small_nt(small_block c, small_block a, small_block b, int64_t m, int64_t n, int64_t k);
/* C [m, n] += A [m, k] B [k, n] */
void small_nn_add(small_block c, small_block a, small_block b, int64_t m, int64_t n, int64_t k);
/* C [m, n] += A [k, m]^T B [k, n] */
void small_tn_add(small_block c, small_block a, small_block b, int64_t m, int64_t n, int64_t k);
