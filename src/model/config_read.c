// SPDX-License-Identifier: Apache-2.0
/* Values of config.json with type and bounds. A key that is null counts as missing, as in
 * transformers. */
#include "config_read.h"

#include <inttypes.h>

const json_t *hf_value(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

pb_status hf_integer(const json_t *object, const char *key, int64_t minimum, int64_t maximum,
                     int64_t absent, int64_t *out)
{
    const json_t *value = hf_value(object, key);
    if (value == NULL && absent != HF_REQUIRED) {
        *out = absent;
        return PB_OK;
    }
    if (value == NULL) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s is missing; add it, a whole number from %" PRId64 " to %" PRId64, key,
                       minimum, maximum);
    }
    int64_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < minimum || number > maximum) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s is not a whole number from %" PRId64 " to %" PRId64 "; correct it", key,
                       minimum, maximum);
    }
    *out = number;
    return PB_OK;
}

pb_status hf_number(const json_t *object, const char *key, double minimum, double maximum,
                    bool required, double *out)
{
    const json_t *value = hf_value(object, key);
    if (value == NULL && !required) {
        return PB_OK;
    }
    if (value == NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "%s is missing; add it, a number from %g to %g", key, minimum,
                       maximum);
    }
    double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= minimum && number <= maximum)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s is not a number from %g to %g; correct it", key, minimum,
                       maximum);
    }
    *out = number;
    return PB_OK;
}

pb_status hf_bool(const json_t *object, const char *key, bool *out)
{
    const json_t *value = hf_value(object, key);
    if (value != NULL && !json_is_boolean(value)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s is neither true nor false; correct it", key);
    }
    *out = value != NULL && json_is_true(value);
    return PB_OK;
}

pb_status hf_text(const json_t *object, const char *key, const char **out)
{
    const json_t *value = hf_value(object, key);
    if (value != NULL && !json_is_string(value)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s is not a string; correct it", key);
    }
    *out = value != NULL ? json_string_value(value) : NULL;
    return PB_OK;
}
