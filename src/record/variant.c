// SPDX-License-Identifier: Apache-2.0
/* Takes the names of variants apart. */
#include "pb/variant.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int pb_variant_base(const char *name)
{
    size_t length = strlen(name);
    bool variant  = length > 0 && name[length - 1] == '}';
    return (int)(variant ? strcspn(name, "{") : length);
}

bool pb_variant_next(const char *name, const char **at, pb_variant_setting *out)
{
    int base = pb_variant_base(name);
    if (*at == NULL) {
        *at = name[base] == '{' ? name + base + 1 : "";
    }
    size_t length = strcspn(*at, ",}");
    size_t key    = strcspn(*at, "=,}");
    if (key == length) { /* no "=": the end, or a name of another origin */
        return false;
    }
    *out = (pb_variant_setting){.key          = *at,
                                .value        = *at + key + 1,
                                .key_length   = (int)key,
                                .value_length = (int)(length - key - 1)};
    *at += length + ((*at)[length] == ',');
    return true;
}

bool pb_variant_find(const char *name, const char *key, pb_variant_setting *out)
{
    const char *at = NULL;
    while (pb_variant_next(name, &at, out)) {
        if ((size_t)out->key_length == strlen(key) &&
            memcmp(out->key, key, (size_t)out->key_length) == 0) {
            return true;
        }
    }
    return false;
}

bool pb_variant_is_of(const char *name, const char *base)
{
    size_t length = strlen(base);
    return strcmp(name, base) == 0 ||
           ((size_t)pb_variant_base(name) == length && memcmp(name, base, length) == 0);
}

static bool is(const pb_variant_setting *setting, const char *word)
{
    return (size_t)setting->value_length == strlen(word) &&
           memcmp(setting->value, word, strlen(word)) == 0;
}

double pb_variant_number(const pb_variant_setting *setting)
{
    char *end    = NULL;
    double value = strtod(setting->value, &end);
    if (is(setting, "true") || is(setting, "false")) {
        return is(setting, "true");
    }
    return setting->value_length > 0 && end == setting->value + setting->value_length &&
                   isfinite(value)
               ? value
               : NAN;
}
