// SPDX-License-Identifier: Apache-2.0
/* The values of a result by name. */
#pragma once

#include "pb/metric.h"

#include <math.h>
#include <string.h>

/* NaN when there is none. */
static inline double metric_value(const pb_metric_result *result, const char *name)
{
    for (int64_t i = 0; i < result->count; i++) {
        if (strcmp(result->values[i].name, name) == 0) {
            return result->values[i].value;
        }
    }
    return (double)NAN;
}
