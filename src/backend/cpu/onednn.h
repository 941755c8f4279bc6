// SPDX-License-Identifier: Apache-2.0
/* Products of BF16 factors by oneDNN, which takes the processor's own instructions for them
 * (AVX512_BF16, AMX). Sums are F32, and a call stays on the thread that makes it. */
#pragma once

#include "pb/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct onednn onednn;

/* C = op(A) op(B), or C += op(A) op(B); rows are `ld…` elements apart. */
typedef struct onednn_product {
    int64_t m, n, k;
    const uint16_t *a, *b; /* BF16; op(A) [m, k], op(B) [k, n] */
    float *c;              /* [m, n] */
    int64_t lda, ldb, ldc;
    bool transpose_a, transpose_b;
    bool adds;
} onednn_product;

/* NULL where the program was built without oneDNN or with a static OpenMP, the library is not there
 * when it runs, or it has no such products for this processor. */
pb_status onednn_open(onednn **out) PB_MUST_USE;
void onednn_close(onednn *library); /* accepts NULL */
/* "oneDNN 2.6.3", once it was opened. */
const char *onednn_name(void);
/* Threads may call it at the same time. 0, or a status for onednn_failure. */
int onednn_multiply(onednn *library, const onednn_product *product) PB_MUST_USE;
pb_status onednn_failure(int status) PB_MUST_USE;
