// SPDX-License-Identifier: Apache-2.0
/* Every getter's error names the place, what was found and what is expected. */
#include "json.h"

#include "pb/utf8.h"

#include <inttypes.h>
#include <string.h>

/* True when `key` is one of the words of `keys`. */
static bool is_listed(const char *key, const char *keys)
{
    size_t length = strlen(key);

    while (*keys != '\0') {
        size_t word = strcspn(keys, " ");
        if (word == length && memcmp(keys, key, word) == 0) {
            return true;
        }
        keys += word;
        keys += strspn(keys, " ");
    }
    return false;
}

pb_status json_only(const json_t *node, const char *place, const char *keys)
{
    const char *key = NULL;
    json_t *value   = NULL;

    if (!json_is_object(node)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: an object is expected, found %s", place,
                       pb_json_kind(node));
    }
    json_object_foreach((json_t *)node, key, value)
    {
        if (!is_listed(key, keys)) {
            return PB_FAIL(PB_ERR_UNSUPPORTED,
                           "%s: the key \"%.*s\" is not supported (known: %s); use a tokenizer "
                           "without it",
                           place, PB_FIT(key, 60), keys);
        }
    }
    return PB_OK;
}

pb_status json_type_of(const json_t *node, const char *place, json_text *out)
{
    if (!json_is_object(node)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: an object is expected, found %s", place,
                       pb_json_kind(node));
    }
    return json_text_of(node, place, "type", out);
}

#define ONE(type) (1u << (type))

/* The value under the key, whose type must be one of `types`; NULL when absent or null. */
static pb_status get(const json_t *object, const char *place, const char *key, unsigned types,
                     const char *expected, json_t **out)
{
    json_t *value = json_object_get(object, key);

    *out = json_is_null(value) ? NULL : value;
    if (*out != NULL && (types & ONE(json_typeof(value))) == 0) {
        return PB_FAIL(PB_ERR_FORMAT, "%s.%s: %s is expected, found %s", place, key, expected,
                       pb_json_kind(value));
    }
    return PB_OK;
}

pb_status json_bool(const json_t *object, const char *place, const char *key, bool fallback,
                    bool *out)
{
    json_t *value = NULL;

    PB_TRY(get(object, place, key, ONE(JSON_TRUE) | ONE(JSON_FALSE), "true or false", &value));
    *out = value == NULL ? fallback : json_is_true(value);
    return PB_OK;
}

pb_status text_json_integer(const json_t *object, const char *place, const char *key,
                            int64_t fallback, int64_t *out)
{
    json_t *value = NULL;

    PB_TRY(get(object, place, key, ONE(JSON_INTEGER), "a whole number", &value));
    *out = value == NULL ? fallback : (int64_t)json_integer_value(value);
    return PB_OK;
}

pb_status json_text_or_none(const json_t *object, const char *place, const char *key,
                            json_text *out)
{
    json_t *value = NULL;

    PB_TRY(get(object, place, key, ONE(JSON_STRING), "a string", &value));
    *out = (json_text){json_string_value(value), json_string_length(value)};
    return PB_OK;
}

pb_status json_text_of(const json_t *object, const char *place, const char *key, json_text *out)
{
    json_text text = {0};

    PB_TRY(json_text_or_none(object, place, key, &text));
    if (text.data == NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "%s.%s: a string is expected, found nothing", place, key);
    }
    *out = text;
    return PB_OK;
}

pb_status text_json_array(const json_t *object, const char *place, const char *key, json_t **out)
{
    return get(object, place, key, ONE(JSON_ARRAY), "an array", out);
}
