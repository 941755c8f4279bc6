// SPDX-License-Identifier: Apache-2.0
/* A checkpoint in Hugging Face layout: model.safetensors first, then config.json in the keys of
 * transformers 4, which every later version reads too; windows that differ by layer as layer_types,
 * which it reads since 4.53. */
#include "config_read.h"
#include "model_private.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 80

/* Enough digits to read back the same double; a whole number keeps its point, which tells readers
 * that it is a float. */
static pb_status put_number(pb_string *json, const char *indent, const char *key, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.17g", value);
    for (int digits = 1; digits < 17; digits++) {
        char shorter[40];
        double back = 0.0;
        snprintf(shorter, sizeof shorter, "%.*g", digits, value);
        if (sscanf(shorter, "%lf", &back) == 1 && back == value) {
            memcpy(text, shorter, sizeof text);
            break;
        }
    }
    const char *point = strpbrk(text, ".eE") == NULL ? ".0" : "";
    return pb_string_printf(json, "%s\"%s\": %s%s,\n", indent, key, text, point);
}

static pb_status put_integer(pb_string *json, const char *indent, const char *key, int64_t value)
{
    return pb_string_printf(json, "%s\"%s\": %" PRId64 ",\n", indent, key, value);
}

static pb_status put_bool(pb_string *json, const char *key, bool value)
{
    return pb_string_printf(json, "  \"%s\": %s,\n", key, value ? "true" : "false");
}

static pb_status put_id(pb_string *json, const char *key, int64_t id)
{
    return id < 0 ? pb_string_printf(json, "  \"%s\": null,\n", key)
                  : put_integer(json, "  ", key, id);
}

/* All of them are written: the classes of some families have defaults beyond a small vocabulary,
 * and then do not load. */
static pb_status put_ids(pb_string *json, const pb_model_config *c)
{
    PB_TRY(put_id(json, "bos_token_id", c->bos_id));
    PB_TRY(put_id(json, "pad_token_id", c->pad_id));
    if (c->eos_count == 0) {
        return pb_string_puts(json, "  \"eos_token_id\": null,\n");
    }
    if (c->eos_count == 1) {
        return put_integer(json, "  ", "eos_token_id", c->eos_ids[0]);
    }
    PB_TRY(pb_string_puts(json, "  \"eos_token_id\": ["));
    for (int64_t i = 0; i < c->eos_count; i++) {
        PB_TRY(pb_string_printf(json, "%s%" PRId64, i > 0 ? ", " : "", c->eos_ids[i]));
    }
    return pb_string_puts(json, "],\n");
}

/* The object of one rope. theta is inside where each type of layer has an object. */
static pb_status put_rope(pb_string *json, const char *indent, const char *key,
                          const pb_rope_config *r, bool with_theta)
{
    char inner[16];
    snprintf(inner, sizeof inner, "%s  ", indent);
    if (r->type == PB_ROPE_DEFAULT && !with_theta) {
        return pb_string_printf(json, "%s\"%s\": null", indent, key);
    }
    PB_TRY(pb_string_printf(json, "%s\"%s\": {\n", indent, key));
    if (with_theta) {
        PB_TRY(put_number(json, inner, "rope_theta", r->theta));
    }
    if (r->type != PB_ROPE_DEFAULT) {
        PB_TRY(put_number(json, inner, "factor", r->factor));
    }
    if (r->type == PB_ROPE_LLAMA3) {
        PB_TRY(put_number(json, inner, "low_freq_factor", r->low_freq));
        PB_TRY(put_number(json, inner, "high_freq_factor", r->high_freq));
    }
    if (r->type == PB_ROPE_YARN) {
        PB_TRY(put_number(json, inner, "attention_factor", r->attention_factor));
        PB_TRY(put_number(json, inner, "beta_fast", r->beta_fast));
        PB_TRY(put_number(json, inner, "beta_slow", r->beta_slow));
        PB_TRY(
            pb_string_printf(json, "%s\"truncate\": %s,\n", inner, r->truncate ? "true" : "false"));
    }
    if (r->type == PB_ROPE_LLAMA3 || r->type == PB_ROPE_YARN) {
        PB_TRY(put_integer(json, inner, "original_max_position_embeddings", r->original_positions));
    }
    return pb_string_printf(json, "%s\"rope_type\": \"%s\"\n%s}", inner, pb_rope_type_name(r->type),
                            indent);
}

/* In the keys of transformers 4, except what they cannot express: a scaling of the sliding
 * layers. */
static pb_status put_ropes(pb_string *json, const pb_model_config *c)
{
    if (c->two_ropes && c->rope_sliding.type != PB_ROPE_DEFAULT) {
        PB_TRY(pb_string_puts(json, "  \"rope_parameters\": {\n"));
        PB_TRY(put_rope(json, "    ", "full_attention", &c->rope, true));
        PB_TRY(pb_string_puts(json, ",\n"));
        PB_TRY(put_rope(json, "    ", "sliding_attention", &c->rope_sliding, true));
        return pb_string_puts(json, "\n  },\n");
    }
    PB_TRY(put_number(json, "  ", "rope_theta", c->rope.theta));
    if (c->two_ropes) {
        PB_TRY(put_number(json, "  ", "rope_local_base_freq", c->rope_sliding.theta));
    }
    PB_TRY(put_rope(json, "  ", "rope_scaling", &c->rope, false));
    return pb_string_puts(json, ",\n");
}

static pb_status put_windows(pb_string *json, const pb_model_config *c)
{
    const pb_family *f = c->family;
    if (f->window_rule == PB_WINDOW_NEVER) {
        return PB_OK;
    }
    if (f->window_rule == PB_WINDOW_FROM_LAYER) {
        PB_TRY(put_bool(json, "use_sliding_window", c->window > 0));
    }
    if (c->window > 0) {
        PB_TRY(put_integer(json, "  ", "sliding_window", c->window));
    } else {
        PB_TRY(pb_string_puts(json, "  \"sliding_window\": null,\n"));
    }
    if (f->window_rule == PB_WINDOW_ALL) {
        return PB_OK;
    }
    PB_TRY(pb_string_puts(json, "  \"layer_types\": ["));
    for (int64_t l = 0; l < c->layers; l++) {
        PB_TRY(pb_string_printf(json, "%s\"%s\"", l > 0 ? ", " : "",
                                c->sliding[l] ? "sliding_attention" : "full_attention"));
    }
    return pb_string_puts(json, "],\n");
}

static pb_status put_sizes(pb_string *json, const pb_model_config *c)
{
    PB_TRY(put_integer(json, "  ", "num_hidden_layers", c->layers));
    PB_TRY(put_integer(json, "  ", "hidden_size", c->width));
    PB_TRY(put_integer(json, "  ", "num_attention_heads", c->heads));
    PB_TRY(put_integer(json, "  ", "num_key_value_heads", c->kv_heads));
    PB_TRY(put_integer(json, "  ", "head_dim", c->head_dim));
    PB_TRY(put_integer(json, "  ", "intermediate_size", c->ff));
    PB_TRY(put_integer(json, "  ", "vocab_size", c->vocab));
    return put_integer(json, "  ", "max_position_embeddings", c->max_positions);
}

static pb_status build_config(const pb_model_config *c, pb_dtype dtype, pb_string *json)
{
    const pb_family *f     = c->family;
    const char *name       = dtype == PB_DTYPE_BF16  ? "bfloat16"
                             : dtype == PB_DTYPE_F16 ? "float16"
                                                     : "float32";
    const char *activation = c->activation == PB_ACTIVATION_SILU ? "silu" : "gelu_pytorch_tanh";
    PB_TRY(pb_string_printf(json, "{\n  \"architectures\": [\"%s\"],\n", f->architecture));
    PB_TRY(pb_string_printf(json, "  \"model_type\": \"%s\",\n", f->model_type));
    PB_TRY(put_sizes(json, c));
    PB_TRY(pb_string_printf(json, "  \"%s\": \"%s\",\n", f->activation_key, activation));
    PB_TRY(put_number(json, "  ", "rms_norm_eps", c->rms_eps));
    PB_TRY(put_bool(json, "tie_word_embeddings", c->tied));
    if (f->reads_attention_bias) {
        PB_TRY(put_bool(json, "attention_bias", c->o_bias));
    }
    if (f->reads_mlp_bias) {
        PB_TRY(put_bool(json, "mlp_bias", c->mlp_bias));
    }
    if (f->query_scalar > 0 && floor(c->query_scalar) == c->query_scalar) {
        /* An integer to transformers 5, which checks types. */
        PB_TRY(put_integer(json, "  ", "query_pre_attn_scalar", (int64_t)c->query_scalar));
    } else if (f->query_scalar > 0) {
        PB_TRY(put_number(json, "  ", "query_pre_attn_scalar", c->query_scalar));
    }
    PB_TRY(put_windows(json, c));
    PB_TRY(put_ids(json, c));
    PB_TRY(put_ropes(json, c));
    return pb_string_printf(json, "  \"torch_dtype\": \"%s\"\n}\n", name);
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
        pb_tensor weight    = pb_site_weight_shape(site);
        pb_tensor bias      = pb_site_bias_shape(site);
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
