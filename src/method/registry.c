// SPDX-License-Identifier: Apache-2.0
/* The methods of registry.def, and the lookup by name. */
#include "internal.h"

#include "pb/registry.h"

#include <stdio.h>

static const pb_method_ops *const methods[] = {
#define PB_ENTRY(name, source) &method_##name,
#include "registry.def"
    NULL,
};

static const pb_registry registry = {.kind = "method", .entries = methods};

const pb_method_ops *const *pb_method_registry(void)
{
    return methods;
}

pb_status pb_method_find(const char *name, const pb_method_ops **out)
{
    size_t index;

    PB_TRY(pb_registry_find(&registry, name, &index));
    *out = methods[index];
    return PB_OK;
}

typedef struct method_name {
    char *name;
} method_name;

static const pb_config_field name_fields[] = {
    PB_FIELD_TEXT(method_name, name, NULL, "method of the registry"),
    PB_FIELD_END,
};

/* Which other keys the group may have depends on the method: here all of them pass. */
pb_status pb_method_find_in(const pb_config *config, const char *group, const pb_method_ops **out)
{
    enum { KEYS = 64, PLACE = 512 };
    const char *keys[KEYS] = {NULL};
    method_name named      = {0};
    char key[PLACE];
    char place[PLACE];
    for (int64_t i = 0; i < KEYS - 1; i++) {
        PB_TRY(pb_config_key(config, group, i, &keys[i]));
        if (keys[i] == NULL) {
            break;
        }
    }
    PB_TRY(pb_config_read(config, group, name_fields, keys, &named));
    pb_status status = pb_method_find(named.name, out);
    pb_config_clear(name_fields, &named);
    if (status != PB_OK) {
        snprintf(key, sizeof key, "%s.name", group);
        pb_error_prefix(status, "%s", pb_config_where(config, key, place, sizeof place));
        return PB_FRAME(status);
    }
    return PB_OK;
}
