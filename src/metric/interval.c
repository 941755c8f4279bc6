// SPDX-License-Identifier: Apache-2.0
/* Percentile intervals by the bootstrap (Efron, "Bootstrap methods", 1979): the test set is drawn
 * again and again from its own units. A metric is computed from sums over units, so a resample is
 * no more than a count per unit and one weighted sum of their parts. */
#include "pb/memory.h"
#include "pb/metric.h"
#include "pb/random.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 0 };

/* weights [units] say how often each unit is in resample `number`. Index i of n is the upper half
 * of word × n: its bias, below n / 2^32, is far smaller than the noise of the resamples. */
static void draw(int64_t number, int64_t units, double *weights)
{
    pb_random stream = pb_random_stream(SEED, PB_RANDOM_BOOTSTRAP, (uint64_t)number);
    uint32_t key[2]  = {(uint32_t)stream.key, (uint32_t)(stream.key >> 32)};
    uint64_t n       = (uint64_t)units;

    memset(weights, 0, (size_t)units * sizeof *weights);
    for (uint64_t block = 0; block * 4 < n; block++) {
        uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), 0, 0};
        uint32_t words[4];
        pb_random_philox(counter, key, words);
        for (uint64_t k = 0; k < 4 && block * 4 + k < n; k++) {
            weights[(words[k] * n) >> 32] += 1;
        }
    }
}

/* `main` of the weighted units; `sums` [width] is scratch. Without weights each unit counts once.
 */
static double value_of(const pb_metric_result *r, const double *weights, double *sums)
{
    const double *part = r->parts;

    memset(sums, 0, (size_t)r->width * sizeof *sums);
    for (int64_t u = 0; u < r->units; u++, part += r->width) {
        double w = weights != NULL ? weights[u] : 1;
        for (int64_t k = 0; w > 0 && k < r->width; k++) {
            sums[k] += w * part[k];
        }
    }
    return r->metric->main_of != NULL ? r->metric->main_of(r->protocol, sums, r->width)
                                      : sums[0] / sums[1];
}

static double difference_of(const pb_metric_result *a, const pb_metric_result *b,
                            const double *weights, double *sums)
{
    double value = value_of(a, weights, sums);
    return b != NULL ? value - value_of(b, weights, sums) : value;
}

static int compare_values(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Of sorted values, between neighbours by a straight line. */
static double quantile(const double *sorted, int64_t count, double share)
{
    double place  = share * (double)(count - 1);
    int64_t below = (int64_t)place;
    int64_t above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (place - (double)below) * (sorted[above] - sorted[below]);
}

static pb_status check(const pb_metric_result *a, const pb_metric_result *b)
{
    if (b != NULL && (a->metric != b->metric || a->protocol != b->protocol ||
                      a->units != b->units || a->width != b->width)) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "results of other metrics, protocols or rows cannot be paired: %s with "
                       "%" PRId64 " units of %" PRId64 ", %s with %" PRId64 " of %" PRId64,
                       a->metric->name, a->units, a->width, b->metric->name, b->units, b->width);
    }
    return PB_OK;
}

pb_status pb_metric_interval(const pb_metric_result *a, const pb_metric_result *b, double *low,
                             double *high)
{
    double *weights = NULL, *sums = NULL, *values = NULL;
    int64_t defined  = 0;
    pb_status status = PB_OK;

    PB_TRY(check(a, b));
    *low  = (double)NAN;
    *high = (double)NAN;
    if (a->units < 2 || isnan(a->main) || (b != NULL && isnan(b->main))) {
        return PB_OK;
    }
    PB_TRY_GOTO(status, PB_ALLOC(weights, a->units), done);
    PB_TRY_GOTO(status, PB_ALLOC(sums, a->width), done);
    PB_TRY_GOTO(status, PB_ALLOC(values, PB_METRIC_RESAMPLES), done);
    for (int64_t i = 0; i < PB_METRIC_RESAMPLES; i++) {
        draw(i, a->units, weights);
        double value = difference_of(a, b, weights, sums);
        if (!isnan(value)) {
            values[defined++] = value;
        }
    }
    if (defined > 0) {
        qsort(values, (size_t)defined, sizeof *values, compare_values);
        *low  = quantile(values, defined, (1 - PB_METRIC_LEVEL) / 2);
        *high = quantile(values, defined, (1 + PB_METRIC_LEVEL) / 2);
    }
done:
    pb_memory_free(weights);
    pb_memory_free(sums);
    pb_memory_free(values);
    return status;
}
