// SPDX-License-Identifier: Apache-2.0
/* Whether networks may share a product: the bits of a row of x Wᵀ or dy W may depend on how many
 * rows there are, as the product library chooses its kernels. Where they do not, rows of several
 * networks go through one product, and each network has the bits that it has alone.
 *
 * Each number of rows is tried once for each shape of a weight; what was found stays until the
 * backend is closed or its products change their type.
 *
 *     PB_TRY(pb_rows_try(be, &weight, &alone, room, bytes)); …
 *     if (pb_rows_alike(be, &weight, &alone, &shared)) … */
#pragma once

#include "pb/backend.h"

/* Products of many rows are worth a trial: false on the CPU, which multiplies few rows as fast. */
bool pb_backend_shares(const pb_backend *be);

/* Rows in a product. Those of a part that rides (see pb/linear.h) have `rank` columns from `column`
 * on of a border of which `width` columns are multiplied. */
typedef struct pb_rows {
    int64_t rows;
    int64_t width, column, rank; /* 0: nothing rides */
} pb_rows;

/* Multiplies equal rows by a weight of the shape, type and stride of `weight`, forward and
 * backward, with what rides and without, unless that was done before. `room`: `bytes` of backend
 * memory, with undefined contents before and after; where it is too small, the rows count as unlike
 * all others. Waits for the backend. */
pb_status pb_rows_try(pb_backend *be, const pb_tensor *weight, const pb_rows *rows, void *room,
                      size_t bytes) PB_MUST_USE;

/* Both were tried, and a row has the same bits in products of either. */
bool pb_rows_alike(const pb_backend *be, const pb_tensor *weight, const pb_rows *a,
                   const pb_rows *b);

/* Logs whether products with weights of this shape are shared: the first time only. */
void pb_rows_report(pb_backend *be, const pb_tensor *weight, bool shared);
