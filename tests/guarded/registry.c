// SPDX-License-Identifier: Apache-2.0
/* The backends of a test build, in place of src/backend/registry.c: those of the program, and
 * `guarded` before them, so that "auto" does not take it. */
#include "internal.h"

#include "pb/registry.h"

extern const pb_backend_ops backend_guarded;

static const pb_backend_ops *const backends[] = {
    &backend_guarded,
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
