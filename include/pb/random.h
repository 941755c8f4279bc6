// SPDX-License-Identifier: Apache-2.0
/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011). A stream is a key (seed and purpose); item i of a stream is a pure function
 * of (key, i), so results do not depend on order, thread or rank. */
#pragma once

#include <stdint.h>

/* One purpose per use, so that no two uses of a seed share numbers. */
typedef enum pb_random_purpose {
    PB_RANDOM_INIT = 1,  /* initial values of trainable tensors */
    PB_RANDOM_DROPOUT,   /* masks */
    PB_RANDOM_ORDER,     /* order of rows */
    PB_RANDOM_SPLIT,     /* validation part */
    PB_RANDOM_SYNTHETIC, /* synthetic weights and rows */
    PB_RANDOM_BOOTSTRAP, /* confidence intervals */
    PB_RANDOM_TEST,
    PB_RANDOM_FLIPS,    /* signs of permutation tests */
    PB_RANDOM_PAIRS,    /* rows behind the interval of a paired difference */
    PB_RANDOM_BASELINE, /* answers of the baseline `random` */
} pb_random_purpose;

typedef struct pb_random {
    uint64_t key;
} pb_random;

/* `salt` separates streams of one purpose (tensor index, site, step). */
pb_random pb_random_stream(uint64_t seed, pb_random_purpose purpose, uint64_t salt);

/* The raw function: 4 words from counter and key. */
void pb_random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Word index mod 4 of the block with counter {index div 4 (low, high), 0, 0} and the stream's key
 * (low, high): a loop over many items may compute each block once. */
uint32_t pb_random_u32(pb_random stream, uint64_t index);
double pb_random_uniform(pb_random stream, uint64_t index); /* [0, 1), 32 random bits */
double pb_random_normal(pb_random stream, uint64_t index);  /* N(0, 1), Box-Muller on one block */
uint64_t pb_random_below(pb_random stream, uint64_t index,
                         uint64_t n); /* 0 … n-1, n ≤ 2^32; bias below n·2^-64 */
