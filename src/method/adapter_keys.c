// SPDX-License-Identifier: Apache-2.0
/* The keys that HF PEFT (to 0.21) writes into adapter_config.json. Those that change the
 * mathematics are read or refused by the methods; the others say where an adapter comes from or how
 * its training began. */
#include "internal.h"

#include "pb/log.h"
#include "pb/utf8.h"

#include <string.h>

/* Of every type of adapter, separated by spaces. */
static const char common[] = "auto_mapping base_model_name_or_path exclude_modules inference_mode "
                             "modules_to_save peft_type peft_version revision task_type";

static bool is_word_of(const char *words, const char *key)
{
    size_t length = strlen(key);

    for (const char *at = words; *at != '\0'; at += strspn(at, " ")) {
        size_t word = strcspn(at, " ");
        if (word == length && strncmp(at, key, length) == 0) {
            return true;
        }
        at += word;
    }
    return false;
}

static bool is_known(const char *type, const char *key)
{
    bool known = is_word_of(common, key);
    for (const pb_method_ops *const *ops = pb_method_registry(); *ops != NULL && !known; ops++) {
        known = (*ops)->peft_type != NULL && strcmp((*ops)->peft_type, type) == 0 &&
                (*ops)->adapter_keys != NULL && is_word_of((*ops)->adapter_keys, key);
    }
    return known;
}

/* What a later version writes for an option that is not used. */
static bool is_off(const json_t *value)
{
    return json_is_null(value) || json_is_false(value) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

pb_status adapter_warn_unknown(const pb_adapter_config *c, const char *type)
{
    const char *key  = NULL;
    json_t *value    = NULL;
    pb_string list   = {0};
    pb_status status = PB_OK;

    json_object_foreach((json_t *)(uintptr_t)c->json, key, value)
    {
        if (is_known(type, key) || is_off(value)) {
            continue;
        }
        PB_TRY_GOTO(status,
                    pb_string_printf(&list, "%s%.*s", list.length > 0 ? ", " : "", PB_FIT(key, 60)),
                    out_list);
    }
    if (list.length > 0) {
        pb_log0_warn(
            "%s: not known for an adapter of type %s and not used: %s; look up whether they "
            "change what it computes",
            c->path, type, list.data);
    }
out_list:
    pb_string_clear(&list);
    return status;
}
