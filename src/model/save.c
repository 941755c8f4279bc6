// SPDX-License-Identifier: Apache-2.0
/* A checkpoint in Hugging Face layout: model.safetensors first, then config.json in the keys of
 * transformers 4, which every later version reads too; windows that differ by layer as layer_types,
 * which it reads since 4.53. */
#include "config_read.h"
#include "model_private.h"

#include "pb/file.h"
#include "pb/json.h"
#include "pb/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 80

static void put_id(pb_json *json, const char *key, int64_t id)
{
    if (id < 0) {
        pb_json_put_null(json, key);
    } else {
        pb_json_put_int(json, key, id);
    }
}

/* All of them are written: the classes of some families have defaults beyond a small vocabulary,
 * and then do not load. */
static void put_ids(pb_json *json, const pb_model_config *c)
{
    put_id(json, "bos_token_id", c->bos_id);
    put_id(json, "pad_token_id", c->pad_id);
    if (c->eos_count < 2) {
        put_id(json, "eos_token_id", c->eos_count > 0 ? c->eos_ids[0] : -1);
        return;
    }
    pb_json_put_array(json, "eos_token_id", PB_JSON_INLINE);
    for (int64_t i = 0; i < c->eos_count; i++) {
        pb_json_put_int(json, NULL, c->eos_ids[i]);
    }
    pb_json_end(json);
}

/* The object of one rope. theta is inside where each type of layer has an object. */
static void put_rope(pb_json *json, const char *key, const pb_rope_config *r, bool with_theta)
{
    if (r->type == PB_ROPE_DEFAULT && !with_theta) {
        pb_json_put_null(json, key);
        return;
    }
    pb_json_put_object(json, key, PB_JSON_LINES);
    if (with_theta) {
        pb_json_put_float(json, "rope_theta", r->theta);
    }
    if (r->type != PB_ROPE_DEFAULT) {
        pb_json_put_float(json, "factor", r->factor);
    }
    if (r->type == PB_ROPE_LLAMA3) {
        pb_json_put_float(json, "low_freq_factor", r->low_freq);
        pb_json_put_float(json, "high_freq_factor", r->high_freq);
    }
    if (r->type == PB_ROPE_YARN) {
        pb_json_put_float(json, "attention_factor", r->attention_factor);
        pb_json_put_float(json, "beta_fast", r->beta_fast);
        pb_json_put_float(json, "beta_slow", r->beta_slow);
        pb_json_put_bool(json, "truncate", r->truncate);
    }
    if (r->type == PB_ROPE_LLAMA3 || r->type == PB_ROPE_YARN) {
        pb_json_put_int(json, "original_max_position_embeddings", r->original_positions);
    }
    pb_json_put_text(json, "rope_type", rope_type_name(r->type));
    pb_json_end(json);
}

/* In the keys of transformers 4, except what they cannot express: a scaling of the sliding
 * layers. */
static void put_ropes(pb_json *json, const pb_model_config *c)
{
    if (c->two_ropes && c->rope_sliding.type != PB_ROPE_DEFAULT) {
        pb_json_put_object(json, "rope_parameters", PB_JSON_LINES);
        put_rope(json, "full_attention", &c->rope, true);
        put_rope(json, "sliding_attention", &c->rope_sliding, true);
        pb_json_end(json);
        return;
    }
    pb_json_put_float(json, "rope_theta", c->rope.theta);
    if (c->two_ropes) {
        pb_json_put_float(json, "rope_local_base_freq", c->rope_sliding.theta);
    }
    put_rope(json, "rope_scaling", &c->rope, false);
}

static void put_windows(pb_json *json, const pb_model_config *c)
{
    const pb_family *f = c->family;
    if (f->window_rule == WINDOW_NEVER) {
        return;
    }
    if (f->window_rule == WINDOW_FROM_LAYER) {
        pb_json_put_bool(json, "use_sliding_window", c->window > 0);
    }
    put_id(json, "sliding_window", c->window > 0 ? c->window : -1);
    if (f->window_rule == WINDOW_ALL) {
        return;
    }
    pb_json_put_array(json, "layer_types", PB_JSON_INLINE);
    for (int64_t l = 0; l < c->layers; l++) {
        pb_json_put_text(json, NULL, c->sliding[l] ? "sliding_attention" : "full_attention");
    }
    pb_json_end(json);
}

static void put_sizes(pb_json *json, const pb_model_config *c)
{
    pb_json_put_int(json, "num_hidden_layers", c->layers);
    pb_json_put_int(json, "hidden_size", c->width);
    pb_json_put_int(json, "num_attention_heads", c->heads);
    pb_json_put_int(json, "num_key_value_heads", c->kv_heads);
    pb_json_put_int(json, "head_dim", c->head_dim);
    pb_json_put_int(json, "intermediate_size", c->ff);
    pb_json_put_int(json, "vocab_size", c->vocab);
    pb_json_put_int(json, "max_position_embeddings", c->max_positions);
}

static void put_scales(pb_json *json, const pb_model_config *c)
{
    const pb_family *f = c->family;
    pb_json_put_float(json, "rms_norm_eps", c->rms_eps);
    pb_json_put_bool(json, "tie_word_embeddings", c->tied);
    if (f->reads_attention_bias) {
        pb_json_put_bool(json, "attention_bias", c->o_bias);
    }
    if (f->reads_mlp_bias) {
        pb_json_put_bool(json, "mlp_bias", c->mlp_bias);
    }
    if (f->query_scalar > 0 && floor(c->query_scalar) == c->query_scalar) {
        /* An integer to transformers 5, which checks types. */
        pb_json_put_int(json, "query_pre_attn_scalar", (int64_t)c->query_scalar);
    } else if (f->query_scalar > 0) {
        pb_json_put_float(json, "query_pre_attn_scalar", c->query_scalar);
    }
}

static pb_status build_config(const pb_model_config *c, pb_dtype dtype, pb_string *text)
{
    const pb_family *f = c->family;
    pb_json json       = pb_json_begin(text, PB_JSON_LINES, 2);
    pb_json_put_array(&json, "architectures", PB_JSON_INLINE);
    pb_json_put_text(&json, NULL, f->architecture);
    pb_json_end(&json);
    pb_json_put_text(&json, "model_type", f->model_type);
    put_sizes(&json, c);
    pb_json_put_text(&json, f->activation_key,
                     c->activation == PB_ACTIVATION_SILU ? "silu" : "gelu_pytorch_tanh");
    put_scales(&json, c);
    put_windows(&json, c);
    put_ids(&json, c);
    put_ropes(&json, c);
    pb_json_put_text(&json, "torch_dtype",
                     dtype == PB_DTYPE_BF16  ? "bfloat16"
                     : dtype == PB_DTYPE_F16 ? "float16"
                                             : "float32");
    return pb_json_finish(&json, "\n");
}

/* One tensor of the file; fails when the caller's does not have the site's shape. */
static pb_status add_tensor(const pb_site *site, const char *part, const pb_tensor *expected,
                            const pb_tensor *given, char *name, pb_named_tensor *out)
{
    char given_text[128];
    char expected_text[128];
    if (given == NULL || !pb_tensor_same_shape(given, expected)) {
        return PB_FAIL(
            PB_ERR_SHAPE, "saving a model: %s.%s has shape %s, not %s", site->hf_name, part,
            given != NULL ? pb_tensor_shape_text(given, given_text, sizeof given_text) : "none",
            pb_tensor_shape_text(expected, expected_text, sizeof expected_text));
    }
    snprintf(name, NAME_BYTES, "%s.%s", site->hf_name, part);
    *out = (pb_named_tensor){.name = name, .tensor = *given};
    return PB_OK;
}

static pb_status list_tensors(const pb_model *model, const pb_tensor *weights,
                              const pb_tensor *biases, char *names, pb_named_tensor *list,
                              int64_t *count)
{
    for (int64_t i = 0; i < model->site_count; i++) {
        const pb_site *site = &model->sites[i];
        pb_tensor weight    = site_weight_shape(site);
        pb_tensor bias      = site_bias_shape(site);
        if (site->has_weight) {
            PB_TRY(add_tensor(site, "weight", &weight, &weights[i], names + *count * NAME_BYTES,
                              &list[*count]));
            (*count)++;
        }
        if (site->has_bias) {
            PB_TRY(add_tensor(site, "bias", &bias, biases != NULL ? &biases[i] : NULL,
                              names + *count * NAME_BYTES, &list[*count]));
            (*count)++;
        }
    }
    return PB_OK;
}

static pb_status save_files(const char *directory, const pb_model_config *config,
                            pb_backend *backend, const pb_named_tensor *list, int64_t count)
{
    pb_status status   = PB_OK;
    pb_string json     = {0};
    char *weights_path = NULL;
    char *config_path  = NULL;
    PB_TRY(pb_path_make_directories(directory));
    PB_TRY_GOTO(status, pb_path_join(directory, "model.safetensors", &weights_path), out);
    PB_TRY_GOTO(status, pb_path_join(directory, "config.json", &config_path), out);
    PB_TRY_GOTO(status, build_config(config, list[0].tensor.dtype, &json), out);
    PB_TRY_GOTO(status, pb_safetensors_write_from(backend, weights_path, list, count, "pt"), out);
    PB_TRY_GOTO(status, pb_file_write_atomic(config_path, json.data, json.length), out);
out:
    pb_string_clear(&json);
    pb_memory_free(config_path);
    pb_memory_free(weights_path);
    return status;
}

pb_status pb_model_save(const char *directory, const pb_model_config *config, pb_backend *backend,
                        const pb_tensor *site_weights, const pb_tensor *site_biases)
{
    pb_status status      = PB_OK;
    pb_model *model       = NULL;
    pb_named_tensor *list = NULL;
    char *names           = NULL;
    int64_t count         = 0;

    pb_model_config own = *config; /* a part is saved as a model of its own */
    own.inner           = false;
    PB_TRY(pb_model_open_shape(&own, &model));
    PB_TRY_GOTO(status, PB_ALLOC(list, 2 * model->site_count), out);
    PB_TRY_GOTO(status, PB_ALLOC(names, 2 * model->site_count * NAME_BYTES), out);
    PB_TRY_GOTO(status, list_tensors(model, site_weights, site_biases, names, list, &count), out);
    PB_TRY_GOTO(status, save_files(directory, config, backend, list, count), out);
out:
    pb_memory_free(names);
    pb_memory_free(list);
    pb_model_close(model);
    return status;
}
