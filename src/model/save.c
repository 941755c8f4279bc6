// SPDX-License-Identifier: Apache-2.0
/* A checkpoint in Hugging Face layout: model.safetensors first, then config.json in the keys of
 * transformers 4, which every later version reads too. */
#include "model_private.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 80

/* Digits enough that reading gives the same double; a whole number keeps its point, since readers
 * tell integers from floats by it. */
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

static pb_status put_ids(pb_string *json, const pb_model_config *c)
{
    if (c->bos_id < 0) {
        PB_TRY(pb_string_puts(json, "  \"bos_token_id\": null,\n"));
    } else {
        PB_TRY(put_integer(json, "  ", "bos_token_id", c->bos_id));
    }
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

static pb_status put_rope(pb_string *json, const pb_model_config *c)
{
    PB_TRY(put_number(json, "  ", "rope_theta", c->rope_theta));
    if (c->rope_type == PB_ROPE_DEFAULT) {
        return pb_string_puts(json, "  \"rope_scaling\": null,\n");
    }
    PB_TRY(pb_string_puts(json, "  \"rope_scaling\": {\n"));
    PB_TRY(put_number(json, "    ", "factor", c->rope_factor));
    PB_TRY(put_number(json, "    ", "low_freq_factor", c->rope_low_freq));
    PB_TRY(put_number(json, "    ", "high_freq_factor", c->rope_high_freq));
    PB_TRY(
        put_integer(json, "    ", "original_max_position_embeddings", c->rope_original_positions));
    return pb_string_puts(json, "    \"rope_type\": \"llama3\"\n  },\n");
}

static pb_status build_config(const pb_model_config *c, pb_dtype dtype, pb_string *json)
{
    const char *name = dtype == PB_DTYPE_BF16  ? "bfloat16"
                       : dtype == PB_DTYPE_F16 ? "float16"
                                               : "float32";
    PB_TRY(pb_string_printf(json, "{\n  \"architectures\": [\"%s\"],\n", c->architecture));
    PB_TRY(pb_string_puts(json, "  \"model_type\": \"llama\",\n"));
    PB_TRY(put_integer(json, "  ", "num_hidden_layers", c->layers));
    PB_TRY(put_integer(json, "  ", "hidden_size", c->width));
    PB_TRY(put_integer(json, "  ", "num_attention_heads", c->heads));
    PB_TRY(put_integer(json, "  ", "num_key_value_heads", c->kv_heads));
    PB_TRY(put_integer(json, "  ", "head_dim", c->head_dim));
    PB_TRY(put_integer(json, "  ", "intermediate_size", c->ff));
    PB_TRY(put_integer(json, "  ", "vocab_size", c->vocab));
    PB_TRY(put_integer(json, "  ", "max_position_embeddings", c->max_positions));
    PB_TRY(pb_string_puts(json, "  \"hidden_act\": \"silu\",\n"));
    PB_TRY(put_number(json, "  ", "rms_norm_eps", c->rms_eps));
    PB_TRY(put_bool(json, "tie_word_embeddings", c->tied));
    PB_TRY(put_bool(json, "attention_bias", c->attention_bias));
    PB_TRY(put_bool(json, "mlp_bias", c->mlp_bias));
    PB_TRY(put_ids(json, c));
    PB_TRY(put_rope(json, c));
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
        if (pb_site_has_weight(&model->config, site->kind)) {
            PB_TRY(add_tensor(site, "weight", &weight, &weights[i], names + *count * NAME_BYTES,
                              &list[*count]));
            (*count)++;
        }
        if (pb_site_has_bias(&model->config, site->kind)) {
            PB_TRY(add_tensor(site, "bias", &bias, biases != NULL ? &biases[i] : NULL,
                              names + *count * NAME_BYTES, &list[*count]));
            (*count)++;
        }
    }
    return PB_OK;
}

static pb_status save_files(const char *directory, const pb_model_config *config,
                            const pb_named_tensor *list, int64_t count)
{
    pb_status status   = PB_OK;
    pb_string json     = {0};
    char *weights_path = NULL;
    char *config_path  = NULL;
    PB_TRY(pb_path_make_directories(directory));
    PB_TRY_GOTO(status, pb_path_join(directory, "model.safetensors", &weights_path), out);
    PB_TRY_GOTO(status, pb_path_join(directory, "config.json", &config_path), out);
    PB_TRY_GOTO(status, build_config(config, list[0].tensor.dtype, &json), out);
    PB_TRY_GOTO(status, pb_safetensors_write(weights_path, list, count, "pt"), out);
    PB_TRY_GOTO(status, pb_file_write_atomic(config_path, json.data, json.length), out);
out:
    pb_string_clear(&json);
    pb_memory_free(config_path);
    pb_memory_free(weights_path);
    return status;
}

pb_status pb_model_save(const char *directory, const pb_model_config *config,
                        const pb_tensor *site_weights, const pb_tensor *site_biases)
{
    pb_status status      = PB_OK;
    pb_model *model       = NULL;
    pb_named_tensor *list = NULL;
    char *names           = NULL;
    int64_t count         = 0;

    PB_TRY(pb_model_open_shape(config, &model));
    PB_TRY_GOTO(status, PB_ALLOC(list, 2 * model->site_count), out);
    PB_TRY_GOTO(status, PB_ALLOC(names, 2 * model->site_count * NAME_BYTES), out);
    PB_TRY_GOTO(status, list_tensors(model, site_weights, site_biases, names, list, &count), out);
    PB_TRY_GOTO(status, save_files(directory, config, list, count), out);
out:
    pb_memory_free(names);
    pb_memory_free(list);
    pb_model_close(model);
    return status;
}
