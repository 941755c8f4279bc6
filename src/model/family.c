// SPDX-License-Identifier: Apache-2.0
#include "family.h"

#define LLAMA_NAMES                                                         \
    [PB_SITE_O] = "self_attn.o_proj", [PB_SITE_DOWN] = "mlp.down_proj",     \
    [PB_SITE_ATTN_NORM] = "input_layernorm", [PB_SITE_FINAL_NORM] = "norm", \
    [PB_SITE_EMBEDDING] = "embed_tokens", [PB_SITE_HEAD] = "lm_head"

#define SEPARATE_NAMES                                                  \
    [PB_SITE_Q] = "self_attn.q_proj", [PB_SITE_K] = "self_attn.k_proj", \
    [PB_SITE_V] = "self_attn.v_proj", [PB_SITE_GATE] = "mlp.gate_proj", \
    [PB_SITE_UP] = "mlp.up_proj"

#define HEAD_NORM_NAMES [PB_SITE_Q_NORM] = "self_attn.q_norm", [PB_SITE_K_NORM] = "self_attn.k_norm"

static const char *const llama_names[PB_SITE_KIND_COUNT] = {
    LLAMA_NAMES, SEPARATE_NAMES, [PB_SITE_MLP_NORM] = "post_attention_layernorm"};

static const char *const qwen3_names[PB_SITE_KIND_COUNT] = {
    LLAMA_NAMES, SEPARATE_NAMES, HEAD_NORM_NAMES, [PB_SITE_MLP_NORM] = "post_attention_layernorm"};

static const char *const gemma3_names[PB_SITE_KIND_COUNT] = {
    LLAMA_NAMES,
    SEPARATE_NAMES,
    HEAD_NORM_NAMES,
    [PB_SITE_ATTN_OUT_NORM] = "post_attention_layernorm",
    [PB_SITE_MLP_NORM]      = "pre_feedforward_layernorm",
    [PB_SITE_MLP_OUT_NORM]  = "post_feedforward_layernorm",
};

static const char *const phi3_names[PB_SITE_KIND_COUNT] = {
    LLAMA_NAMES,
    [PB_SITE_QKV]      = "self_attn.qkv_proj",
    [PB_SITE_GATE_UP]  = "mlp.gate_up_proj",
    [PB_SITE_MLP_NORM] = "post_attention_layernorm",
};

static const char *const llama_norms[]  = {"input_layernorm", "post_attention_layernorm", "norm",
                                           NULL};
static const char *const no_norms[]     = {NULL}; /* HF PEFT asks for their names */
static const char *const qwen_norms[]   = {"post_attention_layernorm", NULL};
static const char *const gemma3_norms[] = {"input_layernorm",
                                           "post_attention_layernorm",
                                           "pre_feedforward_layernorm",
                                           "post_feedforward_layernorm",
                                           "norm",
                                           NULL};

static const pb_family llama = {
    .architecture         = "LlamaForCausalLM",
    .model_type           = "llama",
    .reads_attention_bias = true,
    .reads_mlp_bias       = true,
    .activation           = "silu",
    .activation_key       = "hidden_act",
    .names                = llama_names,
    .default_norms        = llama_norms,
    .rope_theta           = 1e4,
    .bos_id               = 1,
    .eos_id               = 2,
    .pad_id               = -1,
};

static const pb_family mistral = {
    .architecture   = "MistralForCausalLM",
    .model_type     = "mistral",
    .activation     = "silu",
    .activation_key = "hidden_act",
    .names          = llama_names,
    .default_norms  = llama_norms,
    .rope_theta     = 1e4,
    .window_rule    = WINDOW_ALL,
    .window         = 4096,
    .kv_heads       = 8,
    .bos_id         = 1,
    .eos_id         = 2,
    .pad_id         = -1,
};

static const pb_family qwen2 = {
    .architecture   = "Qwen2ForCausalLM",
    .model_type     = "qwen2",
    .activation     = "silu",
    .activation_key = "hidden_act",
    .names          = llama_names,
    .default_norms  = qwen_norms,
    .rope_theta     = 1e4,
    .qkv_bias       = true,
    .window_rule    = WINDOW_FROM_LAYER,
    .window         = 4096,
    .bos_id         = -1,
    .eos_id         = -1,
    .pad_id         = -1,
};

static const pb_family qwen3 = {
    .architecture         = "Qwen3ForCausalLM",
    .model_type           = "qwen3",
    .reads_attention_bias = true,
    .activation           = "silu",
    .activation_key       = "hidden_act",
    .names                = qwen3_names,
    .default_norms        = qwen_norms,
    .rope_theta           = 1e4,
    .window_rule          = WINDOW_FROM_LAYER,
    .window               = 4096,
    .head_dim             = 128,
    .bos_id               = -1,
    .eos_id               = -1,
    .pad_id               = -1,
};

static const pb_family gemma3 = {
    .architecture         = "Gemma3ForCausalLM",
    .model_type           = "gemma3_text",
    .reads_attention_bias = true,
    .outer_architecture   = "Gemma3ForConditionalGeneration",
    .outer_model_type     = "gemma3",
    .inner_key            = "text_config",
    .activation           = "gelu_pytorch_tanh",
    .activation_key       = "hidden_activation",
    .names                = gemma3_names,
    .default_norms        = gemma3_norms,
    .norm_offset          = 1.0,
    .rope_theta           = 1e6,
    .rope_theta_sliding   = 1e4,
    .rms_eps              = 1e-6,
    .scales_embedding     = true,
    .tied                 = true,
    .window_rule          = WINDOW_PATTERN,
    .vocab                = 262208,
    .heads                = 8,
    .kv_heads             = 4,
    .head_dim             = 256,
    .query_scalar         = 256,
    .positions            = 131072,
    .window               = 4096,
    .window_pattern       = 6,
    .bos_id               = 2,
    .eos_id               = 1,
    .pad_id               = 0,
};

static const pb_family phi3 = {
    .architecture   = "Phi3ForCausalLM",
    .model_type     = "phi3",
    .activation     = "silu",
    .activation_key = "hidden_act",
    .names          = phi3_names,
    .default_norms  = no_norms,
    .rope_theta     = 1e4,
    .plain_rope     = true,
    .window_rule    = WINDOW_ALL,
    .bos_id         = 1,
    .eos_id         = 32000,
    .pad_id         = 32000,
};

static const pb_family *const families[] = {&llama, &mistral, &qwen2, &qwen3, &gemma3, &phi3, NULL};

const pb_family *const *model_families(void)
{
    return families;
}
