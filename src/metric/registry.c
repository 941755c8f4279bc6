// SPDX-License-Identifier: Apache-2.0
/* The metrics of registry.def, and the lookup by name. */
#include "metrics.h"

#include "pb/registry.h"

static const pb_metric *const metrics[] = {
#define PB_ENTRY(name, source) &metric_##name,
#include "registry.def"
    NULL,
};

static const pb_registry registry = {.kind = "metric", .entries = metrics};

const pb_metric *const *pb_metric_registry(void)
{
    return metrics;
}

pb_status pb_metric_find(const char *name, const pb_metric **out)
{
    size_t index;

    PB_TRY(pb_registry_find(&registry, name, &index));
    *out = metrics[index];
    return PB_OK;
}
