// SPDX-License-Identifier: Apache-2.0
/* Products in place of a backend's own, so that a test decides whether a row depends on the number
 * of rows, and counts them. */
#pragma once

#include "pb/backend.h"

typedef enum products_rows {
    PRODUCTS_ALIKE,  /* each row has the bits that it has alone */
    PRODUCTS_DEPEND, /* all rows are scaled by a function of their number */
} products_rows;

/* For the life of the backend, which does not share products then; one backend at a time. */
void products_replace(pb_backend *be, products_rows rows);
void products_share(pb_backend *be); /* from now on, where it finds that it may */

/* Products of rows with a matrix since the last call; sums over rows are not among them. */
int64_t products_take_count(void);
