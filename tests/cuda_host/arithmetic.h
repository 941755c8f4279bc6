// SPDX-License-Identifier: Apache-2.0
/* The inner loops of products, compiled without the sanitizers: their bounds are checked by the
 * callers, and they take most of the time. Every sum is F32, in the order of its terms. */
#pragma once

#include <cstdint>

namespace cuda_host
{

/* One mma.sync.m16n8k16 of a warp: `in` [32] of 64 bytes begins with four registers of A and two of
 * B, both BF16, and four sums; `out` [32] of 64 bytes with the new sums. */
void tile_product_of(const unsigned char *in, unsigned char *out);

/* sums [n] += a[0] b_0 … a[k - 1] b_(k - 1), with b [k, n] in rows of n. */
void row_product(float *sums, const float *a, const float *b, int64_t k, int64_t n);

} // namespace cuda_host
