// SPDX-License-Identifier: Apache-2.0
/* The families of models that this program computes, as one table of differences: names, defaults
 * of keys that config.json may omit, and departures from Llama's mathematics. */
#pragma once

#include "pb/model.h"

/* How config.json says which layers slide. */
typedef enum model_window_rule {
    WINDOW_NEVER,      /* sliding_window is refused */
    WINDOW_ALL,        /* every layer, where sliding_window is a number */
    WINDOW_FROM_LAYER, /* layers from max_window_layers on, with use_sliding_window */
    WINDOW_PATTERN     /* all but every sliding_window_pattern-th */
} model_window_rule;

struct pb_family {
    const char *architecture, *model_type;
    /* A model of several parts that has one of this family inside, and that part's key in
     * config.json; or NULL. Tensors of the other parts are left alone. */
    const char *outer_architecture, *outer_model_type, *inner_key;
    const char *activation;           /* where config.json gives none; the only known value */
    const char *activation_key;       /* hidden_act */
    const char *const *names;         /* [PB_SITE_KIND_COUNT] HF's, NULL: no such site */
    const char *const *default_norms; /* of LN tuning, NULL-terminated */
    double norm_offset;
    double rope_theta, rope_theta_sliding; /* defaults; sliding: 0 where there is one rope */
    double rms_eps;                        /* default */
    bool scales_embedding;                 /* by sqrt(D) */
    bool plain_rope;                       /* rope_type default is the only one */
    bool qkv_bias;                         /* q, k, v have biases whatever config.json says */
    bool reads_attention_bias;             /* attention_bias says whether q, k, v, o have biases */
    bool reads_mlp_bias;
    bool tied; /* default of tie_word_embeddings */
    model_window_rule window_rule;
    /* Defaults of sizes that config.json may omit; 0: required. */
    int64_t vocab, heads, kv_heads, head_dim, query_scalar, positions, window, window_pattern;
    int64_t bos_id, eos_id, pad_id; /* -1: none */
};

/* NULL-terminated. */
const pb_family *const *model_families(void);
