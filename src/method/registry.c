// SPDX-License-Identifier: Apache-2.0
/* All methods, in the order in which help lists them, and the lookup by name. */
#include "internal.h"

#include <string.h>

static const pb_method_ops *const methods[] = {
    &pb_method_none,     &pb_method_full,
    &pb_method_lora,     &pb_method_ia3,
    &pb_method_lntuning, &pb_method_bitfit,
    &pb_method_prompt,   &pb_method_prefix,
    &pb_method_ptuning,  NULL,
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

    pb_string known = {0};
    for (int i = 0; names[i] != NULL; i++) {
        pb_status status = pb_string_printf(&known, "%s%s", i > 0 ? ", " : "", names[i]);
        if (status != PB_OK) {
            pb_string_clear(&known);
            return status;
        }
    }
    const char *near = pb_string_nearest(name, names);
    pb_status status = PB_FAIL(PB_ERR_CONFIG, "there is no method \"%s\"%s%s%s; known are %s", name,
                               near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                               near != NULL ? "\"?" : "", known.data);
    pb_string_clear(&known);
    return status;
}
