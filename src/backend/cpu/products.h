// SPDX-License-Identifier: Apache-2.0
/* Which library computes a product, by its transposition and its shape class. Nothing here asks
 * the machine or multiplies, so all of it is tested everywhere. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef enum product_library {
    BY_BLAS, /* the CBLAS; always there */
    BY_F32,  /* oneDNN, F32 factors */
    BY_BF16, /* oneDNN, BF16 factors: where products round theirs to that type */
    BY_OWN,  /* kernels of this program; always there */
    BY_AMX,  /* the same with BF16 factors, but for products x^T y */
    PRODUCT_LIBRARIES
} product_library;

typedef enum product_form { FORM_NT, FORM_NN, FORM_TN, PRODUCT_FORMS } product_form;

/* By the rows of C [m, n]. */
typedef enum product_shape {
    SHAPE_FULL,
    SHAPE_FEW, /* m ≤ 32 */
    PRODUCT_SHAPES
} product_shape;

typedef struct products {
    uint8_t by[PRODUCT_FORMS][PRODUCT_SHAPES]; /* product_library */
} products;

/* What a library achieved; 0 seconds: it was not tried. */
typedef struct product_trial {
    double seconds;
    bool right;
} product_trial;

product_library products_by(const products *p, bool transpose_a, bool transpose_b, int64_t m);

/* A right one that is well ahead of those before it. False: none is right. */
bool products_pick(const product_trial trials[PRODUCT_LIBRARIES], product_library *out);

products products_all(product_library library);
bool products_have(const products *p, product_library library);

/* "nt=bf nn=bf tn=bb": for each form the libraries of full and few, by a letter of "bfhpa". */
enum { PRODUCTS_TEXT = 32 };
void products_write(const products *p, char text[PRODUCTS_TEXT]);
bool products_read(const char *text, products *out); /* false for any other text */
