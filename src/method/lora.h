// SPDX-License-Identifier: Apache-2.0
/* What lora and the methods built on it share: options, factors at a site, and the file of an
 * adapter. */
#pragma once

#include "low_rank.h"

typedef struct lora_options {
    method_targets where;
    int64_t r;
    double alpha, dropout;
    bool rslora;
    pb_config_list rank_pattern, alpha_pattern;
    double lora_plus_ratio;
} lora_options;

extern const pb_config_field lora_fields[];

/* Also the keys of adalora's files. */
#define LORA_ADAPTER_KEYS                                                                        \
    "alora_invocation_tokens alpha_pattern arrow_config bias corda_config enable_lora "          \
    "ensure_weight_tying eva_config fan_in_fan_out init_lora_weights kasa_config "               \
    "layer_replication layers_pattern layers_to_transform loftq_config lora_alpha lora_bias "    \
    "lora_dropout lora_ga_config megatron_config megatron_core merge_weights monteclora_config " \
    "qalora_group_size r rank_pattern runtime_config target_modules target_parameters "          \
    "trainable_token_indices use_bdlora use_dora use_qalora use_rslora velora_config"

/* The first member of the state of a method with these options. */
typedef struct lora_state {
    float *scales; /* [sites] alpha / r */
    site_plan plan_more;
} lora_state;

/* Makes a state of that size, and plans A and B of every site; `plan_more` (may be NULL) declares
 * what comes next at the site. */
pb_status lora_plan(pb_method *m, size_t state_size, site_plan plan_more) PB_MUST_USE;
void lora_destroy(pb_method *m);

bool lora_drops(const pb_method *m);
pb_low_rank lora_at(const pb_method *m, const pb_site *site);

/* 2 per parameter and token: A x and B (A x), and of dora m, which scales twice. */
double lora_flops(const pb_method *m, int64_t tokens);
void lora_config_write(const pb_method *m, bool dora, pb_json *json);
/* All keys but use_dora. */
pb_status lora_config_read(void *options, const pb_adapter_config *c) PB_MUST_USE;
