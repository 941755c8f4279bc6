// SPDX-License-Identifier: Apache-2.0
/* Products of the shapes of training. */
#pragma once

#include "setup.h"

enum { WEIGHT_SHAPES = 5 };

typedef struct weight_shape {
    const char *name;
    int64_t in, out;
} weight_shape;

/* The stacks of a layer of an 8B Llama and its head, or tiny ones; index below WEIGHT_SHAPES. */
const weight_shape *weight_shape_at(const bench *b, int index);

/* c [m, out] = a [m, in] Wᵀ, or backward c [m, in] = a [m, out] W, with random values. `border`:
 * more columns of a, and of W rows and columns, as its stack has them. With enough `copies` of W,
 * which call_product takes in turn, none is still in the device's cache. */
typedef struct product {
    pb_tensor a, b, c;
    pb_tensor block; /* `copies` of the block that b is part of, one below the other */
    int64_t copies, turn;
    bool transposed;
    double flops; /* without the border */
} product;

pb_status product_open(const bench *b, pb_backend *be, int64_t m, const weight_shape *w,
                       bool backward, int64_t border, int64_t copies, product *out) PB_MUST_USE;
void product_close(pb_backend *be, product *p);
