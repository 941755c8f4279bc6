// SPDX-License-Identifier: Apache-2.0
/* The bootstrap (Efron, "Bootstrap methods", 1979): a test set is resampled from its own units many
 * times, and an interval is taken from the values of these samples.
 *
 *     for (int64_t s = 0; s < samples; s++) {
 *         pb_statistics_resample(pb_random_stream(0, purpose, s), units, weights);
 *         values[s] = …;
 *     }
 *     pb_statistics_interval(values, samples, &low, &high); */
#pragma once

#include "pb/random.h"

/* The share of values that lie in an interval. */
#define PB_STATISTICS_LEVEL 0.95

/* How often each of `count` units is in one sample of that size, weights [count]. Draws depend only
 * on the stream and on `count`, which is below 2^32. */
void pb_statistics_resample(pb_random stream, int64_t count, double *weights);

/* Sorts upwards; none is NaN. */
void pb_statistics_sort(double *values, int64_t count);
/* The quantile `share` in 0 … 1 of sorted values, count >= 1: a straight line between neighbours.
 */
double pb_statistics_quantile(const double *sorted, int64_t count, double share);
/* The difference relative to the larger one; 0 where both are equal or unknown, infinite where one
 * is not finite. */
double pb_statistics_relative(double a, double b);
/* The percentile interval of values, which are sorted; NaN when there are none. */
void pb_statistics_interval(double *values, int64_t count, double *low, double *high);
