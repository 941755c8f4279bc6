// SPDX-License-Identifier: Apache-2.0
/* See pb/registry.h. */
#include "pb/registry.h"

#include "pb/memory.h"
#include "pb/string.h"

#include <string.h>

const char *pb_registry_name(const pb_registry *registry, size_t index)
{
    const char *const *name = NULL; /* the first member of the entry */

    if (registry->stride > 0) {
        name = (const void *)((const char *)registry->entries + index * registry->stride);
    } else { /* copied, since the array's elements are pointers to some struct */
        memcpy(&name, (const char *)registry->entries + index * sizeof name, sizeof name);
    }
    return name != NULL ? *name : NULL;
}

static pb_status fail_unknown(const pb_registry *registry, const char *name, size_t count)
{
    char hint[PB_HINT_BYTES];
    const char **names = NULL;
    size_t known       = 0;

    PB_TRY(PB_ALLOC(names, count + 2));
    if (registry->also != NULL) {
        names[known++] = registry->also;
    }
    for (size_t i = 0; i < count; i++) {
        names[known++] = pb_registry_name(registry, i);
    }
    pb_string_hint(hint, name, names);
    pb_memory_free(names);
    return PB_FAIL(PB_ERR_CONFIG, "unknown %s \"%s\"%s", registry->kind, name, hint);
}

pb_status pb_registry_find(const pb_registry *registry, const char *name, size_t *index)
{
    size_t i = 0;

    for (const char *known; (known = pb_registry_name(registry, i)) != NULL; i++) {
        if (strcmp(known, name) == 0) {
            *index = i;
            return PB_OK;
        }
    }
    return fail_unknown(registry, name, i);
}
