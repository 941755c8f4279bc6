// SPDX-License-Identifier: Apache-2.0
/* Typed reading of config.json's values with bounds; shared by config.c and config_rope.c. Messages
 * name the key; the caller puts the file before them. */
#pragma once

#include "family.h"

#include <jansson.h>

/* NULL when the key is missing or null. */
const json_t *hf_value(const json_t *object, const char *key);

/* `absent` is used when the key is missing or null; HF_REQUIRED makes that an error. */
#define HF_REQUIRED INT64_MIN

pb_status hf_integer(const json_t *object, const char *key, int64_t minimum, int64_t maximum,
                     int64_t absent, int64_t *out) PB_MUST_USE;

/* `required`: a missing or null key is an error, else *out stays as it is. */
pb_status hf_number(const json_t *object, const char *key, double minimum, double maximum,
                    bool required, double *out) PB_MUST_USE;

/* Missing and null are false. */
pb_status hf_bool(const json_t *object, const char *key, bool *out) PB_MUST_USE;

/* Missing and null are NULL; the object keeps the text. */
pb_status hf_text(const json_t *object, const char *key, const char **out) PB_MUST_USE;

/* sliding_window with the keys that choose the layers: layer_types, sliding_window_pattern,
 * max_window_layers, or the family alone. */
pb_status hf_windows(const json_t *root, pb_model_config *config) PB_MUST_USE;

/* rope_theta, rope_scaling (transformers 4) or rope_parameters (transformers 5). */
pb_status hf_rope(const json_t *root, pb_model_config *config) PB_MUST_USE;

/* As the files write it. */
const char *rope_type_name(pb_rope_type type);

/* Refuses, by name, keys that change the mathematics in a way that is not supported, and warns of
 * unknown ones. `path` is for the warning. */
pb_status hf_keys(const json_t *root, const pb_family *family, const char *path) PB_MUST_USE;
/* The same for the root of a model of several parts, whose other keys do not matter. */
pb_status hf_outer_keys(const json_t *root) PB_MUST_USE;
