// SPDX-License-Identifier: Apache-2.0
/* The process groups of registry.def, and the lookup by name. */
#include "group.h"

#include "pb/registry.h"

static const pb_comm_ops *const groups[] = {
#define PB_ENTRY(name, source) &comm_##name,
#include "registry.def"
    NULL,
};

static const pb_registry registry = {.kind = "process group", .entries = groups};

const pb_comm_ops *const *pb_comm_registry(void)
{
    return groups;
}

pb_status pb_comm_find(const char *name, const pb_comm_ops **out)
{
    size_t index;

    PB_TRY(pb_registry_find(&registry, name, &index));
    *out = groups[index];
    return PB_OK;
}
