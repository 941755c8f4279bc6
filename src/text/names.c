// SPDX-License-Identifier: Apache-2.0
/* Begin, end, padding and additional special tokens as tokenizer_config.json names them, or
 * special_tokens_map.json where the former is silent. */
#include "internal.h"

#include "pb/log.h"

#include <string.h>

/* A name is a string or an object with the string as "content". */
static pb_status read_name(const json_t *value, const char *file, const char *key,
                           pb_json_text *out)
{
    *out = (pb_json_text){0};
    if (json_is_object(value)) {
        return pb_json_text_of(value, key, "content", out);
    }
    if (value != NULL && !json_is_null(value) && !json_is_string(value)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: %s: a string or an object is expected, found %s", file,
                       key, pb_json_kind(value));
    }
    if (json_is_string(value)) {
        *out = (pb_json_text){json_string_value(value), json_string_length(value)};
    }
    return PB_OK;
}

/* The first of the two files that has the key, not null. */
static const json_t *find(const pb_source *source, const char *key, const char **file)
{
    const json_t *value = json_object_get(source->config, key);

    *file = "tokenizer_config.json";
    if (value == NULL || json_is_null(value)) {
        value = json_object_get(source->map, key);
        *file = "special_tokens_map.json";
    }
    return value;
}

static pb_status read_id(const pb_tokenizer *t, const pb_source *source, const char *key,
                         bool required, int32_t *out)
{
    const char *file    = NULL;
    const json_t *value = find(source, key, &file);
    pb_json_text name   = {0};

    *out = -1;
    PB_TRY(read_name(value, file, key, &name));
    if (name.data == NULL || pb_tokenizer_id(t, name.data, out)) {
        return PB_OK;
    }
    if (required) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: %s names \"%.60s\", which is no token of this tokenizer; correct it or "
                       "set it to null",
                       file, key, name.data);
    }
    pb_log_debug("%s: %s names \"%.60s\", which is no token of this tokenizer; it is taken as "
                 "absent",
                 file, key, name.data);
    return PB_OK;
}

/* Both names of the list that transformers has used. Entries that are no token cannot be
 * generated, so leaving them out changes nothing. */
static pb_status read_additional(pb_tokenizer *t, const pb_source *source)
{
    static const char *const keys[] = {"additional_special_tokens", "extra_special_tokens"};

    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const char *file   = NULL;
        const json_t *list = find(source, keys[k], &file);
        for (size_t i = 0; json_is_array(list) && i < json_array_size(list); i++) {
            int32_t id        = -1;
            pb_json_text name = {0};
            PB_TRY(read_name(json_array_get(list, i), file, keys[k], &name));
            if (name.data != NULL && pb_tokenizer_id(t, name.data, &id)) {
                PB_TRY(pb_ids_append(&t->additional, id));
            }
        }
    }
    return PB_OK;
}

pb_status pb_tokenizer_read_names(pb_tokenizer *t, const pb_source *source)
{
    PB_TRY(read_id(t, source, "bos_token", true, &t->bos));
    PB_TRY(read_id(t, source, "eos_token", true, &t->eos));
    PB_TRY(read_id(t, source, "pad_token", false, &t->pad));
    PB_TRY(read_additional(t, source));
    return PB_OK;
}
