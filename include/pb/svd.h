// SPDX-License-Identifier: Apache-2.0
/* The singular value decomposition of a matrix in host memory, by LAPACK. */
#pragma once

#include "pb/status.h"

#include <stdint.h>

/* a [m, n] = u diag(s) vt with u [m, r], vt [r, n], r = min(m, n), all row by row, s descending;
 * computed in double. Signs are chosen: of the entries of a column of u, the first one of largest
 * magnitude is positive. PB_ERR_UNSUPPORTED in a build without LAPACK. */
pb_status pb_svd(const float *a, int64_t m, int64_t n, int threads, float *u,
                 float *vt) PB_MUST_USE;
