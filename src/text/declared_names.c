// SPDX-License-Identifier: Apache-2.0
/* Which names of special tokens count: tokenizer_config.json, overridden by special_tokens_map.json
 * where there is no added_tokens_decoder. */
#include "declared.h"

#include "pb/string.h"

#include <string.h>

pb_status declared_no_memory(void)
{
    return PB_FAIL(PB_ERR_MEMORY, "out of memory for the tokens of a tokenizer");
}

pb_status declared_take(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0 ? PB_OK : declared_no_memory();
}

pb_status declared_set(json_t *object, const char *key, json_t *value)
{
    return declared_take(object, key, json_incref(value));
}

const char *const declared_standard[STANDARD_NAMES] = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

bool declared_is_name(const char *key)
{
    size_t i = 0;

    while (i < STANDARD_NAMES && strcmp(declared_standard[i], key) != 0) {
        i++;
    }
    return i < STANDARD_NAMES;
}

bool declared_is_own(const char *key, const json_t *value)
{
    return pb_string_ends(key, "_token") && strcmp(key, "_token") != 0 && !declared_is_name(key) &&
           (json_is_string(value) || json_is_string(json_object_get(value, "content")));
}

pb_status declared_text(const text_source *source, const char *key, const json_t *value,
                        const char **out)
{
    const json_t *text = json_is_object(value) ? json_object_get(value, "content") : value;

    *out = NULL;
    if (value == NULL || json_is_null(value)) {
        return PB_OK;
    }
    if (!json_is_string(text)) {
        bool in_map = value == json_object_get(source->map, key);
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: %s: a string or an object is expected, an object with its text as "
                       "\"content\"; found %s",
                       in_map ? "special_tokens_map.json" : "tokenizer_config.json", key,
                       pb_json_kind(json_is_object(value) ? text : value));
    }
    *out = json_string_length(text) > 0 ? json_string_value(text) : NULL;
    return PB_OK;
}

bool declared_has_decoder(const text_source *source)
{
    const json_t *decoder = json_object_get(source->config, "added_tokens_decoder");

    return decoder != NULL && !json_is_null(decoder);
}

/* "additional_special_tokens" is the older word for "extra_special_tokens". */
static pb_status rename_list(json_t *names)
{
    json_t *older = json_object_get(names, "additional_special_tokens");
    json_t *extra = json_object_get(names, "extra_special_tokens");
    bool given    = (json_is_array(extra) && json_array_size(extra) > 0) ||
                 (json_is_object(extra) && json_object_size(extra) > 0);

    if (older == NULL || given) {
        return PB_OK;
    }
    PB_TRY(declared_set(names, "extra_special_tokens", older));
    (void)json_object_del(names, "additional_special_tokens");
    return PB_OK;
}

/* The map's entries replace those of the configuration; objects there are special. A list of extra
 * tokens is joined. */
static pb_status overlay_map(json_t *map, json_t *names)
{
    const char *key = NULL;
    json_t *value   = NULL;

    json_object_foreach(map, key, value)
    {
        json_t *known = json_object_get(names, key);
        if (strcmp(key, "extra_special_tokens") == 0 && json_is_array(value) &&
            json_is_array(known)) {
            json_t *joined = json_copy(known);
            if (joined == NULL || json_array_extend(joined, value) != 0 ||
                json_object_set_new(names, key, joined) != 0) {
                return declared_no_memory();
            }
            continue;
        }
        if (json_is_object(value) && strcmp(key, "extra_special_tokens") != 0 &&
            json_object_set_new(value, "special", json_true()) != 0) {
            return declared_no_memory();
        }
        PB_TRY(declared_set(names, key, value));
    }
    return PB_OK;
}

pb_status declared_names(text_source *source)
{
    source->names = source->config != NULL ? json_copy(source->config) : json_object();
    if (source->names == NULL) {
        return declared_no_memory();
    }
    PB_TRY(rename_list(source->names));
    if (!declared_has_decoder(source) && source->map != NULL) {
        PB_TRY(overlay_map(source->map, source->names));
        if (json_object_get(source->names, "extra_special_tokens") == NULL) {
            PB_TRY(rename_list(source->names));
        }
    }
    return PB_OK;
}

json_t *declared_list(const text_source *source)
{
    json_t *extra = json_object_get(source->names, "extra_special_tokens");
    json_t *older = json_object_get(source->names, "additional_special_tokens");

    return json_is_array(extra)                            ? extra
           : json_is_object(extra) && json_is_array(older) ? older
                                                           : NULL;
}

static bool is_value(const json_t *value, const char *text)
{
    const json_t *own = json_is_object(value) ? json_object_get(value, "content") : value;
    return json_is_string(own) && strcmp(json_string_value(own), text) == 0;
}

bool declared_lists(json_t *list, const char *text)
{
    size_t i      = 0;
    json_t *value = NULL;

    json_array_foreach(list, i, value)
    {
        if (is_value(value, text)) {
            return true;
        }
    }
    return false;
}

bool declared_is_named(const text_source *source, const char *text, bool all)
{
    const char *key = NULL;
    json_t *value   = NULL;
    json_t *extra   = json_object_get(source->names, "extra_special_tokens");

    json_object_foreach(source->names, key, value)
    {
        bool counts = all ? declared_is_name(key) || declared_is_own(key, value)
                          : declared_is_name(key) && (json_is_string(value) ||
                                                      value == json_object_get(source->map, key));
        if (counts && is_value(value, text)) {
            return true;
        }
    }
    if (all && json_is_object(extra)) {
        json_object_foreach(extra, key, value)
        {
            if (is_value(value, text)) {
                return true;
            }
        }
    }
    return false;
}
