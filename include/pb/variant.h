// SPDX-License-Identifier: Apache-2.0
/* Names of variants. "lora{r=4,learning_rate=1e-04}" is "lora", the base, with two settings. A grid
 * makes such names, and the names of its files hold no braces: so a name says all about what
 * varies, wherever it is found. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* A setting inside a name; the texts are not terminated. */
typedef struct pb_variant_setting {
    const char *key, *value;
    int key_length, value_length;
} pb_variant_setting;

/* Bytes of the base; of the whole name where it is not that of a variant. */
int pb_variant_base(const char *name);

/* The setting at *at, which then points to the next one; NULL begins with the first. False at the
 * end. */
bool pb_variant_next(const char *name, const char **at, pb_variant_setting *out);
bool pb_variant_find(const char *name, const char *key, pb_variant_setting *out);

/* `name` is `base`, or a variant of it. */
bool pb_variant_is_of(const char *name, const char *base);

/* Numbers, and 1 and 0 for true and false; NaN for any other value. */
double pb_variant_number(const pb_variant_setting *setting);
