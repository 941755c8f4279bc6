// SPDX-License-Identifier: Apache-2.0
/* The keys that HF PEFT (to 0.21) writes into adapter_config.json, by type of adapter. Those that
 * change the mathematics are read or refused by the methods; the others say where an adapter comes
 * from or how its training began. */
#include "internal.h"

#include "pb/log.h"

#include <string.h>

#define PROMPT_KEYS \
    "num_attention_heads num_layers num_transformer_submodules num_virtual_tokens token_dim "

/* Separated by spaces. */
static const char common[] = "auto_mapping base_model_name_or_path exclude_modules inference_mode "
                             "modules_to_save peft_type peft_version revision task_type ";

static const struct {
    const char *type, *keys;
} own[] = {
    {"LORA",
     "alora_invocation_tokens alpha_pattern arrow_config bias corda_config enable_lora "
     "ensure_weight_tying eva_config fan_in_fan_out init_lora_weights kasa_config "
     "layer_replication layers_pattern layers_to_transform loftq_config lora_alpha lora_bias "
     "lora_dropout lora_ga_config megatron_config megatron_core merge_weights monteclora_config "
     "qalora_group_size r rank_pattern runtime_config target_modules target_parameters "
     "trainable_token_indices use_bdlora use_dora use_qalora use_rslora velora_config "},
    {"IA3", "fan_in_fan_out feedforward_modules init_ia3_weights merge_weights target_modules "},
    {"LN_TUNING", "target_modules "},
    {"BITFIT", "target_modules "},
    {"PROMPT_TUNING", PROMPT_KEYS "prompt_tuning_init prompt_tuning_init_text tokenizer_kwargs "
                                  "tokenizer_name_or_path "},
    {"PREFIX_TUNING", PROMPT_KEYS "encoder_hidden_size init_weights prefix_projection "},
    {"P_TUNING", PROMPT_KEYS "encoder_dropout encoder_hidden_size encoder_num_layers "
                             "encoder_reparameterization_type "},
};

static bool is_word_of(const char *words, const char *key)
{
    size_t length = strlen(key);

    for (const char *at = words; *at != '\0'; at += strcspn(at, " ") + 1) {
        if (strncmp(at, key, length) == 0 && at[length] == ' ') {
            return true;
        }
    }
    return false;
}

/* What a later version writes for an option that is not used. */
static bool is_off(const json_t *value)
{
    return json_is_null(value) || json_is_false(value) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

pb_status pb_adapter_warn_unknown(const pb_adapter_config *c, const char *type)
{
    const char *keys = "";
    const char *key  = NULL;
    json_t *value    = NULL;
    pb_string list   = {0};
    pb_status status = PB_OK;

    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        keys = strcmp(own[i].type, type) == 0 ? own[i].keys : keys;
    }
    json_object_foreach((json_t *)(uintptr_t)c->json, key, value)
    {
        if (is_word_of(common, key) || is_word_of(keys, key) || is_off(value)) {
            continue;
        }
        PB_TRY_GOTO(status, pb_string_printf(&list, "%s%.60s", list.length > 0 ? ", " : "", key),
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
