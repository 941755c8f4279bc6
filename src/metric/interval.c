// SPDX-License-Identifier: Apache-2.0
/* A metric is computed from sums over units, so a sample of the test set is no more than a count
 * per unit and one weighted sum of their parts. */
#include "metrics.h"

#include "pb/memory.h"
#include "pb/statistics.h"

#include <math.h>
#include <string.h>

enum { SEED = 0 };

pb_status metric_make_parts(pb_metric_parts *parts, int64_t units, int64_t width)
{
    PB_TRY(PB_ALLOC(parts->dense, units * width));
    parts->units = units;
    parts->width = width;
    return PB_OK;
}

pb_status metric_make_places(pb_metric_parts *parts, int64_t units, int64_t width)
{
    PB_TRY(PB_ALLOC(parts->places, units));
    parts->units = units;
    parts->width = width;
    return PB_OK;
}

void metric_parts_clear(pb_metric_parts *parts)
{
    pb_memory_free(parts->dense);
    pb_memory_free(parts->places);
    pb_memory_free(parts->kept);
    *parts = (pb_metric_parts){0};
}

double metric_parts_main(const pb_metric_parts *parts, const double *weights, double *sums)
{
    const double *part = parts->dense;

    memset(sums, 0, (size_t)parts->width * sizeof *sums);
    for (int64_t u = 0; u < parts->units; u++) {
        double w = weights != NULL ? weights[u] : 1;
        if (part == NULL) {
            sums[parts->places[u]] += w;
            continue;
        }
        for (int64_t k = 0; w > 0 && k < parts->width; k++) {
            sums[k] += w * part[k];
        }
        part += parts->width;
    }
    const pb_metric *ops = parts->metric;
    double main          = ops->main_of != NULL ? ops->main_of(parts->protocol, sums, parts->width)
                                                : sums[0] / sums[1];
    return isnan(main) && ops->main_of_sample != NULL ? ops->main_of_sample(parts, weights) : main;
}

pb_status metric_interval(const pb_metric_parts *parts, double main, double *low, double *high)
{
    double *weights = NULL, *sums = NULL, *values = NULL;
    int64_t defined  = 0;
    pb_status status = PB_OK;

    *low  = (double)NAN;
    *high = (double)NAN;
    if (parts->units < 2 || isnan(main)) {
        return PB_OK;
    }
    PB_TRY_GOTO(status, PB_ALLOC(weights, parts->units), done);
    PB_TRY_GOTO(status, PB_ALLOC(sums, parts->width), done);
    PB_TRY_GOTO(status, PB_ALLOC(values, METRIC_RESAMPLES), done);
    for (uint64_t i = 0; i < METRIC_RESAMPLES; i++) {
        pb_statistics_resample(pb_random_stream(SEED, PB_RANDOM_BOOTSTRAP, i), parts->units,
                               weights);
        values[defined] = metric_parts_main(parts, weights, sums);
        defined += !isnan(values[defined]);
    }
    pb_statistics_interval(values, defined, low, high);
done:
    pb_memory_free(weights);
    pb_memory_free(sums);
    pb_memory_free(values);
    return status;
}
