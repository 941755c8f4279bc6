// SPDX-License-Identifier: Apache-2.0
/* The sign-flip test (Fisher, "The design of experiments", 1935): independent differences d that
 * are symmetric about 0 keep their distribution when signs are flipped, so p is the share of all
 * 2^n flips whose sum is as far from 0 as that of d.
 *
 *     PB_TRY(flips_open(differences, count, &tests[i]));    many of them
 *     PB_TRY(flips_draw(tests, n));                         p of those that are too large
 *     … tests[i].p …                                        then flips_close each
 */
#pragma once

#include "pb/status.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    FLIPS_ENUMERATED = 32,    /* up to this many differences, all flips are enumerated */
    FLIPS_DRAWN      = 10000, /* flips at random where p cannot be computed */
};

typedef struct flips {
    double p; /* two-sided, above 0 */
    bool exact;
    /* Of a test that has to be drawn: */
    double *sizes;   /* [count] |d|, the largest 1, none 0 */
    uint32_t *below; /* [count] a random word below this flips the sign */
    int64_t count;
    double tilt, room; /* see flips.c */
    double log_weight; /* of a flip that flips nothing */
    double sum;        /* of weights */
} flips;

/* Computes p where it can. */
pb_status flips_open(const double *differences, int64_t count, flips *out) PB_MUST_USE;
/* Draws p of the tests that are not exact. A draw depends only on the number of the flip and the
 * index of the difference: tests share draws, and each gets the p it would get alone. */
pb_status flips_draw(flips *tests, int64_t count) PB_MUST_USE;
void flips_close(flips *test); /* accepts a zeroed one */
