// SPDX-License-Identifier: Apache-2.0
/* config.json of a Hugging Face checkpoint → pb_model_config. Bounds keep every product of sizes
 * far inside 63 bits. */
#include "config_read.h"

#include "pb/file.h"
#include "pb/json.h"
#include "pb/memory.h"

#include <jansson.h>

#include <inttypes.h>
#include <string.h>

#define CONFIG_NAME "config.json"
#define CONFIG_MAX  ((size_t)4 << 20) /* bytes */

#define LAYERS_MAX    1000
#define WIDTH_MAX     1000000 /* also of all heads together */
#define FF_MAX        10000000
#define VOCAB_MAX     100000000
#define POSITIONS_MAX 1000000000

#define ARCHITECTURE "LlamaForCausalLM"
#define MODEL_TYPE   "llama"

static pb_status read_architecture(const json_t *root, pb_model_config *config)
{
    const json_t *list = json_object_get(root, "architectures");
    const char *name   = json_string_value(json_array_get(list, 0));
    const char *type   = NULL;
    if (name == NULL || json_array_size(list) != 1) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "architectures is not a list of one name; known is " ARCHITECTURE);
    }
    if (strcmp(name, ARCHITECTURE) != 0) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "architecture \"%.60s\" is not supported; known is " ARCHITECTURE, name);
    }
    PB_TRY(pb_hf_text(root, "model_type", &type));
    if (type != NULL && strcmp(type, MODEL_TYPE) != 0) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "model_type is \"%.60s\", but " ARCHITECTURE " has \"" MODEL_TYPE
                       "\"; correct it",
                       type);
    }
    memcpy(config->architecture, ARCHITECTURE, sizeof ARCHITECTURE);
    return PB_OK;
}

static pb_status read_sizes(const json_t *root, pb_model_config *c)
{
    const int64_t required = PB_HF_REQUIRED;
    PB_TRY(pb_hf_integer(root, "num_hidden_layers", 1, LAYERS_MAX, required, &c->layers));
    PB_TRY(pb_hf_integer(root, "hidden_size", 1, WIDTH_MAX, required, &c->width));
    PB_TRY(pb_hf_integer(root, "num_attention_heads", 1, WIDTH_MAX, required, &c->heads));
    PB_TRY(pb_hf_integer(root, "num_key_value_heads", 1, WIDTH_MAX, c->heads, &c->kv_heads));
    PB_TRY(pb_hf_integer(root, "head_dim", 1, WIDTH_MAX, 0, &c->head_dim));
    PB_TRY(pb_hf_integer(root, "intermediate_size", 1, FF_MAX, required, &c->ff));
    PB_TRY(pb_hf_integer(root, "vocab_size", 1, VOCAB_MAX, required, &c->vocab));
    PB_TRY(pb_hf_integer(root, "max_position_embeddings", 1, POSITIONS_MAX, required,
                         &c->max_positions));
    PB_TRY(pb_hf_number(root, "rms_norm_eps", 0.0, 1.0, true, &c->rms_eps));
    if (c->heads % c->kv_heads != 0) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "num_attention_heads %" PRId64 " is not a multiple of num_key_value_heads "
                       "%" PRId64 "; correct them",
                       c->heads, c->kv_heads);
    }
    if (c->head_dim == 0 && c->width % c->heads != 0) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "hidden_size %" PRId64 " is not a multiple of num_attention_heads %" PRId64
                       " and head_dim is missing; correct them",
                       c->width, c->heads);
    }
    if (c->head_dim == 0) {
        c->head_dim = c->width / c->heads;
    }
    if (c->head_dim % 2 != 0) {
        return PB_FAIL(PB_ERR_FORMAT, "head_dim %" PRId64 " is odd; rotary positions need pairs",
                       c->head_dim);
    }
    if (c->heads * c->head_dim > WIDTH_MAX) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "num_attention_heads %" PRId64 " times head_dim %" PRId64
                       " is above %d; correct them",
                       c->heads, c->head_dim, WIDTH_MAX);
    }
    return PB_OK;
}

/* One id of the vocabulary. */
static pb_status read_id(const json_t *value, const char *key, int64_t vocab, int64_t *id)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) >= vocab) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s is not a token id from 0 to %" PRId64 " (vocab_size - 1); correct it",
                       key, vocab - 1);
    }
    *id = json_integer_value(value);
    return PB_OK;
}

/* Null is "none"; a missing key has the default of LlamaConfig: bos 1, eos 2. */
static pb_status read_ids(const json_t *root, pb_model_config *config)
{
    const json_t *bos = json_object_get(root, "bos_token_id");
    const json_t *eos = json_object_get(root, "eos_token_id");

    config->bos_id     = bos == NULL && config->vocab > 1 ? 1 : -1;
    config->eos_count  = eos == NULL && config->vocab > 2 ? 1 : 0;
    config->eos_ids[0] = 2;
    if (bos != NULL && !json_is_null(bos)) {
        PB_TRY(read_id(bos, "bos_token_id", config->vocab, &config->bos_id));
    }
    if (eos == NULL || json_is_null(eos)) {
        return PB_OK;
    }
    if (!json_is_array(eos)) {
        config->eos_count = 1;
        return read_id(eos, "eos_token_id", config->vocab, &config->eos_ids[0]);
    }
    if (json_array_size(eos) > PB_MODEL_EOS_MAX) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "eos_token_id lists %zu ids, at most %d are supported",
                       json_array_size(eos), PB_MODEL_EOS_MAX);
    }
    config->eos_count = (int64_t)json_array_size(eos);
    for (size_t i = 0; i < json_array_size(eos); i++) {
        PB_TRY(read_id(json_array_get(eos, i), "eos_token_id", config->vocab, &config->eos_ids[i]));
    }
    return PB_OK;
}

static pb_status read_rest(const json_t *root, pb_model_config *config)
{
    const char *text = NULL;
    PB_TRY(pb_hf_text(root, "hidden_act", &text));
    if (text != NULL && strcmp(text, "silu") != 0) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "hidden_act \"%.40s\" is not supported; silu is", text);
    }
    config->activation = PB_ACTIVATION_SILU;
    PB_TRY(pb_hf_bool(root, "tie_word_embeddings", &config->tied));
    PB_TRY(pb_hf_bool(root, "attention_bias", &config->attention_bias));
    PB_TRY(pb_hf_bool(root, "mlp_bias", &config->mlp_bias));
    /* What the weights are is said by the weight files; here only the type is checked. */
    PB_TRY(pb_hf_text(root, "torch_dtype", &text));
    PB_TRY(pb_hf_text(root, "dtype", &text));
    return PB_OK;
}

static pb_status read_all(const json_t *root, const char *path, pb_model_config *config)
{
    PB_TRY(read_architecture(root, config));
    PB_TRY(pb_hf_keys(root, path));
    PB_TRY(read_sizes(root, config));
    PB_TRY(read_rest(root, config));
    PB_TRY(read_ids(root, config));
    return pb_hf_rope(root, config);
}

pb_status pb_model_config_read(const char *directory, pb_model_config *config)
{
    pb_status status     = PB_OK;
    pb_model_config read = {0};
    char *path           = NULL;
    json_t *root         = NULL;

    PB_TRY(pb_path_join(directory, CONFIG_NAME, &path));
    PB_TRY_GOTO(status, pb_json_file_read(path, CONFIG_MAX, &root), out_path);
    status = read_all(root, path, &read);
    if (status != PB_OK) {
        pb_error_prefix(status, "%s", path);
        goto out_root;
    }
    *config = read;
out_root:
    json_decref(root);
out_path:
    pb_memory_free(path);
    return status;
}
