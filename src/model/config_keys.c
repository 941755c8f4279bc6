// SPDX-License-Identifier: Apache-2.0
/* The keys of config.json that are not values of pb_model_config: those without effect here, and
 * those that change what the network computes and are supported only with their neutral value. A
 * key in neither list is named in a warning. */
#include "config_read.h"

#include "pb/log.h"
#include "pb/string.h"
#include "pb/utf8.h"

#include <string.h>

/* Values other than null (and a missing key) that change nothing. */
typedef enum neutral { NEUTRAL_NULL, NEUTRAL_ZERO, NEUTRAL_ONE } neutral;

/* ZERO: 0 and false. */
static const struct {
    const char *key;
    neutral accepts;
} restricted[] = {
    {"add_cross_attention", NEUTRAL_ZERO},
    {"alibi", NEUTRAL_ZERO},
    {"attention_bias", NEUTRAL_ZERO},
    {"attention_chunk_size", NEUTRAL_NULL},
    {"attention_dropout", NEUTRAL_ZERO},
    {"attention_multiplier", NEUTRAL_NULL},
    {"attn_logit_softcapping", NEUTRAL_NULL},
    {"bias", NEUTRAL_ZERO},
    {"clip_qkv", NEUTRAL_NULL},
    {"compression_config", NEUTRAL_NULL},
    {"embedding_multiplier", NEUTRAL_ONE},
    {"final_logit_softcapping", NEUTRAL_NULL},
    {"embd_pdrop", NEUTRAL_ZERO},
    {"hidden_dropout", NEUTRAL_ZERO},
    {"is_encoder_decoder", NEUTRAL_ZERO},
    {"kv_lora_rank", NEUTRAL_NULL},
    {"lm_head_bias", NEUTRAL_ZERO},
    {"logit_scale", NEUTRAL_ONE},
    {"logits_scaling", NEUTRAL_ONE},
    {"mlp_bias", NEUTRAL_ZERO},
    {"moe_intermediate_size", NEUTRAL_NULL},
    {"n_routed_experts", NEUTRAL_ZERO},
    {"n_shared_experts", NEUTRAL_ZERO},
    {"no_rope_layer_interval", NEUTRAL_NULL},
    {"no_rope_layers", NEUTRAL_NULL},
    {"num_experts", NEUTRAL_ZERO},
    {"num_experts_per_tok", NEUTRAL_ZERO},
    {"num_local_experts", NEUTRAL_ZERO},
    {"partial_rotary_factor", NEUTRAL_ONE},
    {"pretraining_tp", NEUTRAL_ONE},
    {"qk_layernorm", NEUTRAL_ZERO},
    {"qk_norm", NEUTRAL_ZERO},
    {"qkv_bias", NEUTRAL_ZERO},
    {"quantization_config", NEUTRAL_NULL},
    {"query_pre_attn_scalar", NEUTRAL_NULL},
    {"resid_pdrop", NEUTRAL_ZERO},
    {"residual_dropout", NEUTRAL_ZERO},
    {"residual_multiplier", NEUTRAL_ONE},
    {"rope_interleaved", NEUTRAL_ZERO},
    {"rope_local_base_freq", NEUTRAL_NULL},
    {"rotary_pct", NEUTRAL_ONE},
    {"scale_depth", NEUTRAL_NULL},
    {"scale_emb", NEUTRAL_ONE},
    {"use_bias", NEUTRAL_ZERO},
    {"use_bidirectional_attention", NEUTRAL_ZERO},
    {"use_dynamic_ntk", NEUTRAL_ZERO},
    {"use_logn_attn", NEUTRAL_ZERO},
    {"use_parallel_residual", NEUTRAL_ZERO},
    {"use_qk_norm", NEUTRAL_ZERO},
};

/* Read elsewhere, or without effect on what is computed. */
static const char *const known[] = {
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "_sliding_window_pattern",
    "architectures",
    "auto_map",
    "bos_token_id",
    "cache_implementation",
    "dtype",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_activation",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "is_llama_config",
    "layer_types",
    "max_position_embeddings",
    "max_sequence_length",
    "max_window_layers",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "original_max_position_embeddings",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "return_dict",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "sliding_window_pattern",
    "tie_word_embeddings",
    "torch_dtype",
    "transformers_version",
    "unk_token_id",
    "use_cache",
    "use_sliding_window",
    "vocab_size",
    NULL,
};

static bool is_neutral(const json_t *value, neutral accepts)
{
    if (json_is_null(value)) {
        return true;
    }
    switch (accepts) {
    case NEUTRAL_ZERO:
        return json_is_false(value) || (json_is_number(value) && json_number_value(value) == 0.0);
    case NEUTRAL_ONE:
        return json_is_number(value) && json_number_value(value) == 1.0;
    case NEUTRAL_NULL:
        break;
    }
    return false;
}

/* Some keys are values of the configuration in one family and have to be neutral in the others. */
static bool is_read(const pb_family *family, const char *key)
{
    const struct {
        const char *key;
        bool read;
    } of_family[] = {
        {"attention_bias", family->reads_attention_bias},
        {"mlp_bias", family->reads_mlp_bias},
        {"query_pre_attn_scalar", family->query_scalar > 0},
        {"rope_local_base_freq", family->rope_theta_sliding > 0.0},
    };
    for (size_t i = 0; i < sizeof of_family / sizeof of_family[0]; i++) {
        if (strcmp(key, of_family[i].key) == 0) {
            return of_family[i].read;
        }
    }
    return false;
}

static const neutral *restriction(const char *key)
{
    for (size_t i = 0; i < sizeof restricted / sizeof restricted[0]; i++) {
        if (strcmp(key, restricted[i].key) == 0) {
            return &restricted[i].accepts;
        }
    }
    return NULL;
}

static pb_status check_neutral(const char *key, const json_t *value)
{
    const neutral *accepts = restriction(key);
    if (accepts == NULL || is_neutral(value, *accepts)) {
        return PB_OK;
    }
    return PB_FAIL(PB_ERR_UNSUPPORTED,
                   "%s changes what the model computes in a way that is not supported; without it, "
                   "or with its neutral value, the model can be used",
                   key);
}

pb_status hf_keys(const json_t *root, const pb_family *family, const char *path)
{
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)(uintptr_t)root, key, value)
    {
        if (is_read(family, key)) {
            continue;
        }
        PB_TRY(check_neutral(key, value));
        if (restriction(key) == NULL && !pb_string_is_in(key, known)) {
            pb_log0_warn("%s: key %.*s is not known here and is not used", path, PB_FIT(key, 100));
        }
    }
    return PB_OK;
}

pb_status hf_outer_keys(const json_t *root)
{
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)(uintptr_t)root, key, value)
    {
        PB_TRY(check_neutral(key, value));
    }
    return PB_OK;
}
