// SPDX-License-Identifier: Apache-2.0
/* The builders of registry.def, and the lookup by name. */
#include "builders.h"

#include "pb/registry.h"

static const pb_dataset_builder *const builders[] = {
#define PB_ENTRY(name, source) &builder_##name,
#include "registry.def"
    NULL,
};

static const pb_registry registry = {.kind = "builder", .entries = builders};

const pb_dataset_builder *const *pb_dataset_registry(void)
{
    return builders;
}

pb_status pb_dataset_find(const char *name, const pb_dataset_builder **out)
{
    size_t index;

    PB_TRY(pb_registry_find(&registry, name, &index));
    *out = builders[index];
    return PB_OK;
}
