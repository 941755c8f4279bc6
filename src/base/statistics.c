// SPDX-License-Identifier: Apache-2.0
#include "pb/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Item i of n is the upper half of word × n: its bias, below n / 2^32, is far smaller than the
 * noise of the samples. Four items share one block of the generator. */
void pb_statistics_resample(pb_random stream, int64_t count, double *weights)
{
    uint32_t key[2] = {(uint32_t)stream.key, (uint32_t)(stream.key >> 32)};
    uint64_t n      = (uint64_t)count;

    memset(weights, 0, (size_t)count * sizeof *weights);
    for (uint64_t block = 0; block * 4 < n; block++) {
        uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), 0, 0};
        uint32_t words[4];
        pb_random_philox(counter, key, words);
        for (uint64_t k = 0; k < 4 && block * 4 + k < n; k++) {
            weights[(words[k] * n) >> 32] += 1;
        }
    }
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

void pb_statistics_sort(double *values, int64_t count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
}

double pb_statistics_quantile(const double *sorted, int64_t count, double share)
{
    double place  = share * (double)(count - 1);
    int64_t below = (int64_t)place;
    int64_t above = below + 1 < count ? below + 1 : below;

    return sorted[below] + (place - (double)below) * (sorted[above] - sorted[below]);
}

double pb_statistics_relative(double a, double b)
{
    if (a == b || (isnan(a) && isnan(b))) {
        return 0.0;
    }
    return isfinite(a) && isfinite(b) ? fabs(a - b) / fmax(fabs(a), fabs(b)) : INFINITY;
}

void pb_statistics_interval(double *values, int64_t count, double *low, double *high)
{
    *low  = (double)NAN;
    *high = (double)NAN;
    if (count > 0) {
        pb_statistics_sort(values, count);
        *low  = pb_statistics_quantile(values, count, (1 - PB_STATISTICS_LEVEL) / 2);
        *high = pb_statistics_quantile(values, count, (1 + PB_STATISTICS_LEVEL) / 2);
    }
}
