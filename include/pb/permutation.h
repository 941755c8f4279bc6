// SPDX-License-Identifier: Apache-2.0
/* The permutations of numpy and torch, number for number, so that rows are split and ordered as by
 * these libraries with the same seed. */
#pragma once

#include <stdint.h>

void pb_permutation_numpy(int64_t n, uint64_t seed,
                          int64_t *order); /* default_rng(seed).permutation(n), n < 2^63 */
void pb_permutation_torch(int64_t n, uint64_t seed,
                          int64_t *order); /* randperm(n) after manual_seed(seed), n < 2^32 */

/* Numbers `skip` … skip + n - 1 that a float32 tensor's uniform_(low, high) draws on the CPU after
 * manual_seed(seed). */
void pb_uniform_torch(uint64_t seed, int64_t skip, float low, float high, int64_t n, float *out);
