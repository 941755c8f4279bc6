// SPDX-License-Identifier: Apache-2.0
/* config.json of a Hugging Face checkpoint → pb_model_config. Bounds keep every product of sizes
 * far inside 63 bits. */
#include "config_read.h"
#include "family.h"

#include "pb/file.h"
#include "pb/json.h"
#include "pb/memory.h"
#include "pb/string.h"
#include "pb/utf8.h"

#include <jansson.h>

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define CONFIG_NAME "config.json"
#define CONFIG_MAX  ((size_t)4 << 20) /* bytes */

#define WIDTH_MAX     1000000 /* also of all heads together */
#define FF_MAX        10000000
#define VOCAB_MAX     100000000
#define POSITIONS_MAX 1000000000

/* The known architectures in one text for messages. */
static pb_status fail_architecture(const char *name)
{
    pb_string known = {0};
    pb_status status;
    for (const pb_family *const *f = model_families(); *f != NULL; f++) {
        PB_TRY_GOTO(
            status,
            pb_string_printf(&known, "%s%s", known.length > 0 ? ", " : "", (*f)->architecture),
            done);
        if ((*f)->outer_architecture != NULL) {
            PB_TRY_GOTO(status, pb_string_printf(&known, ", %s", (*f)->outer_architecture), done);
        }
    }
    status =
        name == NULL
            ? PB_FAIL(PB_ERR_FORMAT, "architectures is not a list of one name; known are %s",
                      known.data)
            : PB_FAIL(PB_ERR_UNSUPPORTED, "architecture \"%.*s\" is not supported; known are %s",
                      PB_FIT(name, 60), known.data);
done:
    pb_string_clear(&known);
    return status;
}

static pb_status check_type(const json_t *root, const char *architecture, const char *expected)
{
    const char *type = NULL;
    PB_TRY(hf_text(root, "model_type", &type));
    if (type != NULL && strcmp(type, expected) != 0) {
        return PB_FAIL(PB_ERR_FORMAT, "model_type is \"%.*s\", but %s has \"%s\"; correct it",
                       PB_FIT(type, 60), architecture, expected);
    }
    return PB_OK;
}

/* The family, and in *part what describes it: the file's root, or an object inside. */
static pb_status read_architecture(const json_t *root, pb_model_config *config, const json_t **part)
{
    const json_t *list = json_object_get(root, "architectures");
    const char *name   = json_string_value(json_array_get(list, 0));
    if (name == NULL || json_array_size(list) != 1) {
        return fail_architecture(NULL);
    }
    for (const pb_family *const *f = model_families(); *f != NULL; f++) {
        const pb_family *family = *f;
        if (strcmp(name, family->architecture) == 0) {
            config->family = family;
            *part          = root;
            return check_type(root, name, family->model_type);
        }
        if (family->outer_architecture != NULL && strcmp(name, family->outer_architecture) == 0) {
            config->family = family;
            config->inner  = true;
            *part          = json_object_get(root, family->inner_key);
            if (!json_is_object(*part)) {
                return PB_FAIL(PB_ERR_FORMAT,
                               "%s is missing or not an object; %s keeps its keys there",
                               family->inner_key, name);
            }
            PB_TRY(check_type(root, name, family->outer_model_type));
            return check_type(*part, name, family->model_type);
        }
    }
    return fail_architecture(name);
}

static int64_t or_required(int64_t absent)
{
    return absent > 0 ? absent : HF_REQUIRED;
}

static pb_status read_sizes(const json_t *root, pb_model_config *c)
{
    const int64_t required = HF_REQUIRED;
    const pb_family *f     = c->family;
    PB_TRY(hf_integer(root, "num_hidden_layers", 1, PB_MODEL_LAYERS_MAX, required, &c->layers));
    PB_TRY(hf_integer(root, "hidden_size", 1, WIDTH_MAX, required, &c->width));
    PB_TRY(hf_integer(root, "num_attention_heads", 1, WIDTH_MAX, or_required(f->heads), &c->heads));
    PB_TRY(hf_integer(root, "num_key_value_heads", 1, WIDTH_MAX,
                      f->kv_heads > 0 ? f->kv_heads : c->heads, &c->kv_heads));
    PB_TRY(hf_integer(root, "head_dim", 1, WIDTH_MAX, f->head_dim, &c->head_dim));
    PB_TRY(hf_integer(root, "intermediate_size", 1, FF_MAX, required, &c->ff));
    PB_TRY(hf_integer(root, "vocab_size", 1, VOCAB_MAX, or_required(f->vocab), &c->vocab));
    PB_TRY(hf_integer(root, "max_position_embeddings", 1, POSITIONS_MAX, or_required(f->positions),
                      &c->max_positions));
    c->rms_eps = f->rms_eps;
    PB_TRY(hf_number(root, "rms_norm_eps", 0.0, 1.0, f->rms_eps == 0.0, &c->rms_eps));
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

/* A number, a list, or null for none. */
static pb_status read_eos(const json_t *eos, pb_model_config *config)
{
    config->eos_count = 0;
    if (json_is_null(eos)) {
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

/* Padding is not used here, so an id outside the vocabulary, which some files have, counts as
 * none. */
static int64_t read_pad(const json_t *pad, const pb_model_config *config)
{
    int64_t id = pad != NULL ? json_integer_value(pad) : config->family->pad_id;
    bool given = pad == NULL || json_is_integer(pad);
    return given && id >= 0 && id < config->vocab ? id : -1;
}

/* Null is "none"; a missing key has the family's default. */
static pb_status read_ids(const json_t *root, const json_t *part, pb_model_config *config)
{
    const json_t *bos  = json_object_get(root, "bos_token_id");
    const json_t *eos  = json_object_get(root, "eos_token_id");
    const json_t *pad  = json_object_get(root, "pad_token_id");
    const pb_family *f = config->family;

    pad                = pad != NULL ? pad : json_object_get(part, "pad_token_id");
    config->pad_id     = read_pad(pad, config);
    bos                = bos != NULL ? bos : json_object_get(part, "bos_token_id");
    eos                = eos != NULL ? eos : json_object_get(part, "eos_token_id");
    config->bos_id     = bos == NULL && f->bos_id < config->vocab ? f->bos_id : -1;
    config->eos_count  = eos == NULL && f->eos_id >= 0 && f->eos_id < config->vocab ? 1 : 0;
    config->eos_ids[0] = f->eos_id;
    if (bos != NULL && !json_is_null(bos)) {
        PB_TRY(read_id(bos, "bos_token_id", config->vocab, &config->bos_id));
    }
    return eos != NULL ? read_eos(eos, config) : PB_OK;
}

static pb_status read_activation(const json_t *root, pb_model_config *config)
{
    static const struct {
        const char *name;
        pb_activation activation;
    } known[] = {{"silu", PB_ACTIVATION_SILU}, {"gelu_pytorch_tanh", PB_ACTIVATION_GELU_TANH}};
    const pb_family *f = config->family;
    const char *text   = NULL;
    PB_TRY(hf_text(root, f->activation_key, &text));
    text = text != NULL ? text : f->activation;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(text, known[i].name) == 0) {
            config->activation = known[i].activation;
            return PB_OK;
        }
    }
    return PB_FAIL(PB_ERR_UNSUPPORTED,
                   "%s \"%.*s\" is not supported; silu and gelu_pytorch_tanh are",
                   f->activation_key, PB_FIT(text, 40));
}

/* Which products have biases. Keys that a family does not read were checked to be neutral. */
static pb_status read_biases(const json_t *root, pb_model_config *config)
{
    const pb_family *f = config->family;
    bool attention     = false;
    if (f->reads_attention_bias) {
        PB_TRY(hf_bool(root, "attention_bias", &attention));
    }
    config->qkv_bias = f->qkv_bias || attention;
    config->o_bias   = attention;
    return f->reads_mlp_bias ? hf_bool(root, "mlp_bias", &config->mlp_bias) : PB_OK;
}

static pb_status read_scales(const json_t *root, pb_model_config *config)
{
    const pb_family *f   = config->family;
    config->query_scalar = (double)config->head_dim;
    if (f->query_scalar > 0) {
        config->query_scalar = (double)f->query_scalar;
        PB_TRY(hf_number(root, "query_pre_attn_scalar", 1e-6, 1e9, false, &config->query_scalar));
    }
    config->embedding_scale = f->scales_embedding ? sqrt((double)config->width) : 1.0;
    config->norm_offset     = f->norm_offset;
    return PB_OK;
}

static pb_status read_rest(const json_t *root, const json_t *part, pb_model_config *config)
{
    const json_t *tied_at = part;
    const char *text      = NULL;
    PB_TRY(read_activation(part, config));
    PB_TRY(read_biases(part, config));
    PB_TRY(read_scales(part, config));
    if (json_object_get(root, "tie_word_embeddings") != NULL) {
        tied_at = root;
    }
    PB_TRY(hf_bool(tied_at, "tie_word_embeddings", &config->tied));
    if (json_object_get(tied_at, "tie_word_embeddings") == NULL) {
        config->tied = config->family->tied;
    }
    /* The weight files decide the dtype; only the type of the key is checked here. */
    PB_TRY(hf_text(root, "torch_dtype", &text));
    return hf_text(root, "dtype", &text);
}

static pb_status read_all(const json_t *root, const char *path, pb_model_config *config)
{
    const json_t *part = NULL;
    PB_TRY(read_architecture(root, config, &part));
    if (part != root) {
        PB_TRY(hf_outer_keys(root));
    }
    PB_TRY(hf_keys(part, config->family, path));
    PB_TRY(read_sizes(part, config));
    PB_TRY(read_rest(root, part, config));
    PB_TRY(read_ids(root, part, config));
    PB_TRY(hf_windows(part, config));
    return hf_rope(part, config);
}

/* Takes over `root`. */
static pb_status read_root(json_t *root, const char *path, pb_model_config *config)
{
    pb_model_config read = {0};
    pb_status status     = read_all(root, path, &read);
    json_decref(root);
    if (status != PB_OK) {
        pb_error_prefix(status, "%s", path);
        return status;
    }
    *config = read;
    return PB_OK;
}

pb_status pb_model_config_parse(const char *json, size_t length, const char *path,
                                pb_model_config *config)
{
    pb_string text = {.data = (char *)(uintptr_t)json, .length = length};
    json_t *root   = NULL;
    PB_TRY(pb_json_parse(path, &text, 0, &root));
    return read_root(root, path, config);
}

/* generation_config.json, where present, decides what ends a generation, as in transformers. */
static pb_status read_generation(const char *directory, pb_model_config *config)
{
    pb_status status = PB_OK;
    char *path       = NULL;
    json_t *root     = NULL;
    PB_TRY(pb_path_join(directory, "generation_config.json", &path));
    if (!pb_path_exists(path)) {
        goto out_path;
    }
    PB_TRY_GOTO(status, pb_json_file_read(path, CONFIG_MAX, &root), out_path);
    if (json_object_get(root, "eos_token_id") != NULL) {
        status = read_eos(json_object_get(root, "eos_token_id"), config);
        if (status != PB_OK) {
            pb_error_prefix(status, "%s", path);
        }
    }
    json_decref(root);
out_path:
    pb_memory_free(path);
    return status;
}

pb_status pb_model_config_read(const char *directory, pb_model_config *config)
{
    pb_status status     = PB_OK;
    pb_model_config read = {0};
    char *path           = NULL;
    json_t *root         = NULL;

    PB_TRY(pb_path_join(directory, CONFIG_NAME, &path));
    PB_TRY_GOTO(status, pb_json_file_read(path, CONFIG_MAX, &root), out_path);
    PB_TRY_GOTO(status, read_root(root, path, &read), out_path);
    PB_TRY_GOTO(status, read_generation(directory, &read), out_path);
    *config = read;
out_path:
    pb_memory_free(path);
    return status;
}
