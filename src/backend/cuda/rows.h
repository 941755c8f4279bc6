// SPDX-License-Identifier: Apache-2.0
/* How elementwise kernels see tensors of one shape: as rows, or, where nothing is between the rows,
 * as one long run in rows of its own. */
#pragma once

#include "cuda.h"

/* Of `count` tensors of one shape. */
extent rows_extent(const pb_tensor *const *tensors, int count);
/* One of them. */
view rows_view(const pb_tensor *t, const extent *shape);

/* Of a matrix whose columns matter. */
static inline extent rows_of(const pb_tensor *t)
{
    return (extent){t->shape[0], t->shape[1], t->shape[1]};
}
