// SPDX-License-Identifier: Apache-2.0
/* A frozen checkpoint in Hugging Face layout: its configuration, its weights, and the named sites
 * at which a method may act.
 *
 * Weights are views of a read-only mapping, so all ranks of a node share the pages, which are the
 * system's and not accounted: linear weights and the embedding in the F32, BF16 or F16 of the file,
 * norms and biases in F32. Anything else in the file is converted once per node into a shared
 * window. Weights are never written. */
#pragma once

#include "pb/backend.h"
#include "pb/comm.h"
#include "pb/hash.h"
#include "pb/tensor.h"

#define PB_MODEL_EOS_MAX 8

#define PB_MODEL_LAYERS_MAX 1000

typedef enum pb_rope_type {
    PB_ROPE_DEFAULT,
    PB_ROPE_LINEAR,
    PB_ROPE_DYNAMIC, /* the longest row of a pass sets the frequencies */
    PB_ROPE_YARN,
    PB_ROPE_LLAMA3
} pb_rope_type;

/* One kind of rotary positions; HF's keys of rope_scaling or rope_parameters in the comments. */
typedef struct pb_rope_config {
    pb_rope_type type;           /* rope_type */
    double theta;                /* rope_theta, rope_local_base_freq */
    double factor;               /* factor */
    double low_freq, high_freq;  /* low_freq_factor, high_freq_factor (llama3) */
    double beta_fast, beta_slow; /* yarn */
    double attention_factor;     /* yarn: on cosine and sine; else 1 */
    bool truncate;               /* yarn: the ramp's ends are whole numbers */
    int64_t original_positions;  /* original_max_position_embeddings; dynamic: max_positions */
} pb_rope_config;

/* What distinguishes the families beyond the values of config.json: see src/model/family.h. */
typedef struct pb_family pb_family;

/* The values of config.json under our names; HF's key in the comment. */
typedef struct pb_model_config {
    const pb_family *family;
    bool inner;            /* the language part of a model of several parts */
    int64_t layers;        /* L, num_hidden_layers */
    int64_t width;         /* D, hidden_size */
    int64_t heads;         /* H, num_attention_heads */
    int64_t kv_heads;      /* K, num_key_value_heads */
    int64_t head_dim;      /* E, head_dim or D / H */
    int64_t ff;            /* F, intermediate_size */
    int64_t vocab;         /* V, vocab_size */
    int64_t max_positions; /* max_position_embeddings */
    double rms_eps;        /* rms_norm_eps */
    bool tied;             /* tie_word_embeddings */
    bool qkv_bias;         /* biases on q, k, v: attention_bias, or the family's own */
    bool o_bias;           /* attention_bias */
    bool mlp_bias;
    pb_activation activation; /* hidden_act, hidden_activation */
    double query_scalar;      /* q·k is divided by its root: query_pre_attn_scalar or head_dim */
    double embedding_scale;   /* on looked-up rows of the embedding: 1, gemma: sqrt(D) */
    double norm_offset;       /* y = x / rms(x) · (offset + w): 0, gemma: 1 */
    /* Number of keys that a query of a sliding layer sees, its own included: sliding_window; 0
     * where no layer slides. */
    int64_t window;
    bool sliding[PB_MODEL_LAYERS_MAX]; /* by layer: layer_types, sliding_window_pattern, … */
    pb_rope_config rope;               /* of all layers, or of the full ones */
    pb_rope_config rope_sliding;       /* of the sliding ones */
    bool two_ropes;                    /* they differ */
    int64_t bos_id;                    /* -1 when there is none */
    int64_t eos_ids[PB_MODEL_EOS_MAX]; /* a number or a list in the file */
    int64_t eos_count;
    int64_t pad_id; /* -1 when there is none; kept for readers of a saved copy */
} pb_model_config;

typedef enum pb_site_kind {
    PB_SITE_Q, /* linear sites of a layer: weight [out, in], bias [out] or none */
    PB_SITE_K,
    PB_SITE_V,
    PB_SITE_O,
    PB_SITE_GATE,
    PB_SITE_UP,
    PB_SITE_DOWN,
    PB_SITE_QKV,       /* in place of q, k, v: their outputs side by side (phi3) */
    PB_SITE_GATE_UP,   /* in place of gate and up (phi3) */
    PB_SITE_ATTN_NORM, /* norm sites of a layer: weight [D] */
    PB_SITE_MLP_NORM,
    PB_SITE_ATTN_OUT_NORM, /* on the output of a block before it is added (gemma) */
    PB_SITE_MLP_OUT_NORM,
    PB_SITE_Q_NORM, /* on every head before rope: weight [E] (qwen3, gemma) */
    PB_SITE_K_NORM,
    PB_SITE_FINAL_NORM, /* once: layer is -1 */
    PB_SITE_EMBEDDING,  /* weight [V, D] */
    PB_SITE_HEAD,       /* weight [V, D]; that of the embedding when tied */
    PB_SITE_KIND_COUNT
} pb_site_kind;

#define PB_SITE_LAYER_KINDS PB_SITE_FINAL_NORM /* kinds below this one belong to a layer */

typedef enum pb_site_class { PB_SITE_LINEAR, PB_SITE_NORM, PB_SITE_TABLE } pb_site_class;

typedef struct pb_site {
    int32_t index; /* in the model's list */
    pb_site_kind kind;
    pb_site_class site_class; /* what its kind is */
    bool attention;           /* belongs to the attention block of its layer */
    bool has_weight;          /* false: the head of a tied model, whose weight is the embedding's */
    bool has_bias;
    int32_t layer;    /* -1: exists once */
    char name[40];    /* "layers.0.attn.q" */
    char hf_name[64]; /* "model.layers.0.self_attn.q_proj" */
    int64_t out, in;  /* norms: their width, 1; embedding and head: V, D */
    pb_tensor weight; /* frozen, F32, BF16 or F16 (norms: F32); none in a model without weights */
    pb_tensor bias;   /* F32 [out], or none */
} pb_site;

typedef struct pb_model pb_model;

/* Reads and checks config.json alone (old and new key style). */
pb_status pb_model_config_read(const char *directory, pb_model_config *config) PB_MUST_USE;
/* The same from a text; `path` is for messages. */
pb_status pb_model_config_parse(const char *json, size_t length, const char *path,
                                pb_model_config *config) PB_MUST_USE;

/* The whole checkpoint, checked: every tensor there with its shape, nothing unknown, all values
 * finite. With a comm of more than one rank this is collective, fails on all ranks or on none, and
 * the ranks of a node share the work, each with `threads` threads. comm may be NULL. */
pb_status pb_model_open(const char *directory, pb_comm *comm, int threads,
                        pb_model **out) PB_MUST_USE;

/* Sites without weights, for counting (plan). */
pb_status pb_model_open_shape(const pb_model_config *config, pb_model **out) PB_MUST_USE;

/* Random weights, N(0, 0.02²) as HF initialises, norms one; private memory. For benchmarks and for
 * training from scratch. The values do not depend on `threads`, at least 1. */
pb_status pb_model_open_random(const pb_model_config *config, uint64_t seed, int threads,
                               pb_model **out) PB_MUST_USE;

void pb_model_close(pb_model *model); /* accepts NULL; local even when the open was collective */
/* For weights that were copied elsewhere: this process gives back the memory of the mapped pages
 * that it has read. They stay valid, and are read again where they are used. */
void pb_model_release(const pb_model *model);

const pb_model_config *pb_model_get_config(const pb_model *model);
const char *pb_model_directory(const pb_model *model); /* "" for random ones */
int64_t pb_model_site_count(const pb_model *model);
const pb_site *pb_model_site_at(const pb_model *model, int64_t index);
/* NULL when the family has no site of that kind; layer is ignored for kinds that exist once. */
const pb_site *pb_model_site(const pb_model *model, pb_site_kind kind, int64_t layer);
int64_t pb_model_parameters(const pb_model *model); /* a tied head counts once */
size_t pb_model_bytes(const pb_model *model);       /* of all weights as held */

/* SHA-256 over config.json and all weight files; computed on the first call. */
pb_status pb_model_hash(pb_model *model, char text[PB_HASH_TEXT]) PB_MUST_USE;
/* The same over the files as they are now. */
pb_status pb_model_hash_files(const pb_model *model, char text[PB_HASH_TEXT]) PB_MUST_USE;

/* As config.json names it: "LlamaForCausalLM". */
const char *pb_model_architecture(const pb_model_config *config);
/* The norms of the family that HF PEFT's LN tuning trains by default, NULL-terminated. */
const char *const *pb_model_default_norms(const pb_model_config *config);

/* The window of a layer, 0: all keys. */
int64_t pb_model_window(const pb_model_config *config, int64_t layer);

/* cos/sin table [positions, E] for pb_rope, computed in double, with the scalings of transformers'
 * modeling_rope_utils; dynamic: for rows of `positions`. */
pb_status pb_model_rope_table(const pb_rope_config *rope, int64_t head_dim, int64_t positions,
                              float *table) PB_MUST_USE;

/* Writes config.json and model.safetensors in HF layout. Both arrays follow the model's list of
 * sites; the head of a tied model is not written. site_biases may be NULL where config has none.
 * `backend`: whose memory some of the tensors are in; NULL: all are the host's. */
pb_status pb_model_save(const char *directory, const pb_model_config *config, pb_backend *backend,
                        const pb_tensor *site_weights, const pb_tensor *site_biases) PB_MUST_USE;
