// SPDX-License-Identifier: Apache-2.0
/* All methods, in the order in which help lists them, and the lookup by name. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

static const pb_method_ops *const methods[] = {
    &pb_method_none,         &pb_method_full,
    &pb_method_lora,         &pb_method_ia3,
    &pb_method_lntuning,     &pb_method_bitfit,
    &pb_method_prompt,       &pb_method_prefix,
    &pb_method_ptuning,      &pb_method_majority,
    &pb_method_all_positive, &pb_method_random,
    &pb_method_mean,         NULL,
};

enum { METHODS = sizeof methods / sizeof methods[0] };

const pb_method_ops *const *pb_method_registry(void)
{
    return methods;
}

pb_status pb_method_find(const char *name, const pb_method_ops **out)
{
    const char *names[METHODS] = {NULL};
    for (int i = 0; methods[i] != NULL; i++) {
        if (strcmp(methods[i]->name, name) == 0) {
            *out = methods[i];
            return PB_OK;
        }
        names[i] = methods[i]->name;
    }

    char hint[PB_HINT_BYTES];
    return PB_FAIL(PB_ERR_CONFIG, "there is no method \"%s\"%s", name,
                   pb_string_hint(hint, name, names));
}

typedef struct method_name {
    char *name;
} method_name;

static const pb_config_field name_fields[] = {
    PB_FIELD_TEXT(method_name, name, NULL, "method of the registry"),
    PB_FIELD_END,
};

/* Which other keys the group may have is known once the method is: here all of them pass. */
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
        return pb_error_frame(status, __FILE__, __LINE__, __func__);
    }
    return PB_OK;
}
