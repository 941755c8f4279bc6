// SPDX-License-Identifier: Apache-2.0
/* Products by oneDNN, of F32 factors or of BF16 ones, for which it takes the processor's own
 * instructions (AVX512_BF16, AMX). Sums are F32, and a call stays on the thread that makes it. */
#pragma once

#include "pb/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct onednn onednn;

/* C = alpha op(A) op(B) + beta C; rows are `ld…` elements apart. */
typedef struct onednn_product {
    int64_t m, n, k;
    const void *a, *b; /* op(A) [m, k], op(B) [k, n] */
    float *c;          /* [m, n] */
    int64_t lda, ldb, ldc;
    bool transpose_a, transpose_b;
    bool bf16; /* the factors are BF16, alpha is 1, and beta 0 or 1; else F32 */
    float alpha, beta;
} onednn_product;

/* NULL where the program was built without oneDNN or with a static OpenMP, the library is not there
 * when it runs, or, if they are wanted, it has no products of BF16 for this processor. */
pb_status onednn_open(bool bf16, onednn **out) PB_MUST_USE;
void onednn_close(onednn *library); /* accepts NULL */
/* "oneDNN 2.6.3", once it was opened. */
const char *onednn_name(void);
/* Threads may call it at the same time. 0, or a status for onednn_failure. */
int onednn_multiply(onednn *library, const onednn_product *product) PB_MUST_USE;
pb_status onednn_failure(int status) PB_MUST_USE;
