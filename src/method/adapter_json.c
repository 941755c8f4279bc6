// SPDX-License-Identifier: Apache-2.0
/* Keys of adapter_config.json, read one by one with messages that name file and key, and written.
 * Unknown keys are named in a warning, since each PEFT version has its own; keys that would change
 * the mathematics are refused by name. */
#include "internal.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const json_t *present(const pb_adapter_config *c, const char *key)
{
    const json_t *value = json_object_get(c->json, key);
    return value == NULL || json_is_null(value) ? NULL : value;
}

static pb_status fail_type(const pb_adapter_config *c, const char *key, const char *wanted)
{
    return PB_FAIL(PB_ERR_FORMAT, "%s: %s must be %s", c->path, key, wanted);
}

pb_status adapter_int(const pb_adapter_config *c, const char *key, int64_t minimum, int64_t *out)
{
    const json_t *value = present(c, key);
    if (value == NULL) {
        return PB_OK;
    }
    if (!json_is_integer(value)) {
        return fail_type(c, key, "an integer");
    }
    if (json_integer_value(value) < minimum || json_integer_value(value) > 1048576) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: %s is %lld; it must be %" PRId64 " … 1048576", c->path,
                       key, (long long)json_integer_value(value), minimum);
    }
    *out = json_integer_value(value);
    return PB_OK;
}

pb_status adapter_number(const pb_adapter_config *c, const char *key, double *out)
{
    const json_t *value = present(c, key);
    if (value == NULL) {
        return PB_OK;
    }
    if (!json_is_number(value) || !isfinite(json_number_value(value))) {
        return fail_type(c, key, "a number");
    }
    *out = json_number_value(value);
    return PB_OK;
}

pb_status adapter_dropout(const pb_adapter_config *c, const char *key, double *out)
{
    PB_TRY(adapter_number(c, key, out));
    if (!(*out >= 0.0 && *out < 1.0)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: %s is %g; it must be at least 0 and below 1", c->path,
                       key, *out);
    }
    return PB_OK;
}

pb_status adapter_refuse_null(const pb_adapter_config *c, const char *const *keys)
{
    for (size_t i = 0; keys[i] != NULL; i++) {
        if (json_is_null(json_object_get(c->json, keys[i]))) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "%s: %s is null; give its value, or leave the key out for the default "
                           "of HF PEFT",
                           c->path, keys[i]);
        }
    }
    return PB_OK;
}

pb_status adapter_bool(const pb_adapter_config *c, const char *key, bool *out)
{
    const json_t *value = present(c, key);
    if (value == NULL) {
        return PB_OK;
    }
    if (!json_is_boolean(value)) {
        return fail_type(c, key, "true or false");
    }
    *out = json_is_true(value);
    return PB_OK;
}

pb_status adapter_text(const pb_adapter_config *c, const char *key, const char **out)
{
    const json_t *value = present(c, key);
    *out                = NULL;
    if (value == NULL) {
        return PB_OK;
    }
    if (!json_is_string(value)) {
        return fail_type(c, key, "a string");
    }
    *out = json_string_value(value);
    return PB_OK;
}

pb_status adapter_choice(const pb_adapter_config *c, const char *key, const char *const *names,
                         int *out)
{
    char hint[PB_HINT_BYTES];
    const char *text = NULL;
    PB_TRY(adapter_text(c, key, &text));
    if (text == NULL) {
        return PB_OK;
    }
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], text) == 0) {
            *out = i;
            return PB_OK;
        }
    }
    return PB_FAIL(PB_ERR_UNSUPPORTED, "%s: %s \"%s\" is not known%s", c->path, key, text,
                   pb_string_hint(hint, text, names));
}

static void list_free(pb_config_list *list)
{
    pb_memory_free_texts(list->items, (size_t)list->count);
    *list = (pb_config_list){0};
}

pb_status targets_set(const char *const *texts, size_t count, pb_config_list *out)
{
    pb_config_list list = {0};
    PB_TRY(PB_ALLOC(list.items, count));
    for (size_t i = 0; i < count; i++) {
        list.items[i] = pb_memory_text(texts[i]);
        if (list.items[i] == NULL) {
            list_free(&list);
            return PB_ERR_MEMORY;
        }
        list.count++;
    }
    list_free(out);
    *out = list;
    return PB_OK;
}

pb_status adapter_list(const pb_adapter_config *c, const char *key, pb_config_list *out)
{
    const json_t *value = present(c, key);
    if (value == NULL) {
        return PB_OK;
    }
    if (!json_is_array(value)) {
        return fail_type(c, key, "a list of strings");
    }
    size_t count       = json_array_size(value);
    const char **texts = NULL;
    PB_TRY(PB_ALLOC(texts, count));
    for (size_t i = 0; i < count; i++) {
        texts[i] = json_string_value(json_array_get(value, i));
        if (texts[i] == NULL) {
            pb_memory_free(texts);
            return fail_type(c, key, "a list of strings");
        }
    }
    pb_string_sort(texts, count);
    pb_status status = targets_set(texts, count, out);
    pb_memory_free(texts);
    return status;
}

pb_status adapter_ints(const pb_adapter_config *c, const char *key, pb_config_ints *out)
{
    const json_t *value = present(c, key);
    size_t count        = json_is_array(value) ? json_array_size(value) : 1;
    int64_t *items      = NULL;
    if (value == NULL) {
        return PB_OK;
    }
    PB_TRY(PB_ALLOC(items, count));
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_integer(item) || json_integer_value(item) < 0) {
            pb_memory_free(items);
            return fail_type(c, key, "a whole number from 0, or a list of them");
        }
        items[i] = json_integer_value(item);
    }
    pb_memory_free(out->items);
    *out = (pb_config_ints){.items = items, .count = (int64_t)count};
    return PB_OK;
}

pb_status adapter_text_or_list(const pb_adapter_config *c, const char *key, char **text,
                               pb_config_list *list)
{
    const json_t *value = present(c, key);
    if (value == NULL || json_is_array(value)) {
        return adapter_list(c, key, list);
    }
    if (!json_is_string(value)) {
        return fail_type(c, key, "a string or a list of strings");
    }
    char *copy = NULL;
    PB_TRY(PB_TEXT(copy, json_string_value(value)));
    pb_memory_free(*text);
    *text = copy;
    return PB_OK;
}

static bool means_nothing(const json_t *value)
{
    if (value == NULL || json_is_null(value) || json_is_false(value)) {
        return true;
    }
    if (json_is_number(value)) {
        return json_number_value(value) == 0.0;
    }
    if (json_is_string(value)) {
        return strcmp(json_string_value(value), "none") == 0 || json_string_length(value) == 0;
    }
    return (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

bool adapter_is_on(const pb_adapter_config *c, const char *key)
{
    return !means_nothing(json_object_get(c->json, key));
}

pb_status adapter_refuse(const pb_adapter_config *c, const char *const *keys)
{
    for (size_t i = 0; keys[i] != NULL; i++) {
        const json_t *value = json_object_get(c->json, keys[i]);
        if (!means_nothing(value)) {
            char *text       = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
            pb_status status = PB_FAIL(PB_ERR_UNSUPPORTED,
                                       "%s: %s = %.*s changes what the adapter computes and is "
                                       "not supported",
                                       c->path, keys[i], PB_FIT(text != NULL ? text : "…", 200));
            free(text);
            return status;
        }
    }
    return PB_OK;
}

pb_status adapter_expect(const pb_adapter_config *c, const char *key, int64_t expected)
{
    int64_t value = expected;
    PB_TRY(adapter_int(c, key, 0, &value));
    if (value != expected) {
        return PB_FAIL(PB_ERR_SHAPE, "%s: %s is %" PRId64 ", this model needs %" PRId64, c->path,
                       key, value, expected);
    }
    return PB_OK;
}

void adapter_write_dropout(double dropout, const char *key, pb_json *json)
{
    if (dropout == 0.0) {
        pb_json_put_float(json, key, 0.0);
    } else {
        pb_json_put_number(json, key, dropout, PB_JSON_EXACT);
    }
}

void adapter_write_prompt(const pb_method *m, int64_t rows, int64_t heads, int64_t width,
                          pb_json *json)
{
    pb_json_put_int(json, "num_virtual_tokens", rows);
    pb_json_put_int(json, "token_dim", width);
    pb_json_put_int(json, "num_layers", pb_model_get_config(m->model)->layers);
    pb_json_put_int(json, "num_attention_heads", heads);
    pb_json_put_int(json, "num_transformer_submodules", 1);
}
