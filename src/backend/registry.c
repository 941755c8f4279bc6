// SPDX-License-Identifier: Apache-2.0
/* The backends of registry.def, and the lookup by name. */
#include "internal.h"

#include "pb/registry.h"

static const pb_backend_ops *const backends[] = {
#define PB_ENTRY(name, source) &backend_##name,
#include "registry.def"
    NULL,
};

static const pb_registry registry = {.kind = "backend", .entries = backends, .also = "auto"};

const pb_backend_ops *const *pb_backend_registry(void)
{
    return backends;
}

pb_status pb_backend_find(const char *name, const pb_backend_ops **out)
{
    size_t index;

    PB_TRY(pb_registry_find(&registry, name, &index));
    *out = backends[index];
    return PB_OK;
}
