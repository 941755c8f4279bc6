// SPDX-License-Identifier: Apache-2.0
/* Checked access to parsed JSON. `place` is the path of the object ("pre_tokenizer.pattern"), for
 * messages; the opener of the file prefixes its name. An absent key and a null are the same. */
#pragma once

#include "pb/json.h"
#include "pb/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PLACE_SIZE = 192 };

/* A borrowed text of the JSON; data is NULL where it is absent. */
typedef struct json_text {
    const char *data;
    size_t length;
} json_text;

/* Refuses anything that is not an object or has a key other than `keys` (separated by spaces): an
 * unknown option might change the ids. */
pb_status json_only(const json_t *node, const char *place, const char *keys) PB_MUST_USE;

pb_status json_bool(const json_t *object, const char *place, const char *key, bool fallback,
                    bool *out) PB_MUST_USE;
pb_status text_json_integer(const json_t *object, const char *place, const char *key,
                            int64_t fallback, int64_t *out) PB_MUST_USE;
/* Absent is fine. */
pb_status json_text_or_none(const json_t *object, const char *place, const char *key,
                            json_text *out) PB_MUST_USE;
/* Absent is an error. */
pb_status json_text_of(const json_t *object, const char *place, const char *key,
                       json_text *out) PB_MUST_USE;
/* The text under "type" of what must be an object. */
pb_status json_type_of(const json_t *node, const char *place, json_text *out) PB_MUST_USE;
/* The array under the key;NULL when absent. */
pb_status text_json_array(const json_t *object, const char *place, const char *key,
                          json_t **out) PB_MUST_USE;
