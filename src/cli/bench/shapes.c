// SPDX-License-Identifier: Apache-2.0
/* Shapes of models, by name or by size. */
#include "shapes.h"

#include "pb/json.h"
#include "pb/memory.h"

#include <stdlib.h>
#include <string.h>

typedef struct named_shape {
    const char *name;
    const char *architecture;
    int64_t layers, width, heads, kv_heads, head_dim, ff, vocab;
    bool tied;
} named_shape;

static const named_shape shapes[] = {
    {"tiny", "LlamaForCausalLM", 2, 128, 8, 2, 16, 192, 512, false},
    {"15m", "LlamaForCausalLM", 6, 288, 6, 6, 48, 768, 32000, true},
    {"40m", "LlamaForCausalLM", 8, 512, 8, 4, 64, 1408, 32000, true},
    {"42m", "LlamaForCausalLM", 8, 512, 8, 8, 64, 1376, 32000, true},
    {"smollm2-135m", "LlamaForCausalLM", 30, 576, 9, 3, 64, 1536, 49152, true},
    {"llama-3.2-1b", "LlamaForCausalLM", 16, 2048, 32, 8, 64, 8192, 128256, true},
    {"llama-3-8b", "LlamaForCausalLM", 32, 4096, 32, 8, 128, 14336, 128256, false},
    {NULL, NULL, 0, 0, 0, 0, 0, 0, 0, false},
};

/* One "key=number" of a shape, or its architecture; `part` lives as long as the shape. *given has a
 * bit for each key seen so far. */
static pb_status shape_part(const char *part, named_shape *s, unsigned *given)
{
    const struct {
        const char *key;
        int64_t *value; /* NULL: the architecture */
    } keys[] = {
        {"layers", &s->layers},     {"width", &s->width},       {"heads", &s->heads},
        {"kv_heads", &s->kv_heads}, {"head_dim", &s->head_dim}, {"ff", &s->ff},
        {"vocab", &s->vocab},       {"architecture", NULL},
    };
    size_t length     = strcspn(part, "=");
    const char *value = part[length] == '=' ? part + length + 1 : "";
    for (size_t i = 0; *value != '\0' && i < sizeof keys / sizeof *keys; i++) {
        char *end = NULL;
        if (strlen(keys[i].key) != length || strncmp(part, keys[i].key, length) != 0) {
            continue;
        }
        if ((*given & 1u << i) != 0) {
            return PB_FAIL(PB_ERR_USAGE, "--shape: %s is given twice", keys[i].key);
        }
        *given |= 1u << i;
        if (keys[i].value == NULL) {
            s->architecture = value;
            return PB_OK;
        }
        *keys[i].value = strtoll(value, &end, 10);
        if (*end == '\0' && *keys[i].value > 0 && *keys[i].value <= 10000000) {
            return PB_OK;
        }
    }
    return PB_FAIL(PB_ERR_USAGE,
                   "--shape: \"%s\" is neither a known name (tiny, 40m, smollm2-135m, "
                   "llama-3.2-1b, llama-3-8b) nor KEY=NUMBER "
                   "with layers, width, heads, kv_heads, head_dim, ff, vocab, nor "
                   "architecture=NAME",
                   part);
}

/* Applies the parts between commas to the default shape; `text` is cut up. */
static pb_status shape_parts(char *text, named_shape *s)
{
    unsigned given = 0;
    s->head_dim    = 0;
    for (char *part = text, *next = NULL; part != NULL; part = next) {
        next = strchr(part, ',');
        if (next != NULL) {
            *next++ = '\0';
        }
        PB_TRY(shape_part(part, s, &given));
    }
    s->head_dim = s->head_dim > 0 ? s->head_dim : s->width / s->heads;
    return PB_OK;
}

/* The shape as the config.json of its family. */
static pb_status shape_json(const named_shape *s, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 0);
    pb_json_put_array(&json, "architectures", PB_JSON_INLINE);
    pb_json_put_text(&json, NULL, s->architecture);
    pb_json_end(&json);
    pb_json_put_int(&json, "num_hidden_layers", s->layers);
    pb_json_put_int(&json, "hidden_size", s->width);
    pb_json_put_int(&json, "num_attention_heads", s->heads);
    pb_json_put_int(&json, "num_key_value_heads", s->kv_heads);
    pb_json_put_int(&json, "head_dim", s->head_dim);
    pb_json_put_int(&json, "intermediate_size", s->ff);
    pb_json_put_int(&json, "vocab_size", s->vocab);
    pb_json_put_int(&json, "max_position_embeddings", 1048576);
    pb_json_put_float(&json, "rms_norm_eps", 1e-5);
    pb_json_put_bool(&json, "tie_word_embeddings", s->tied);
    pb_json_put_null(&json, "bos_token_id");
    pb_json_put_null(&json, "eos_token_id");
    return pb_json_finish(&json, "");
}

static pb_status shape_config(const named_shape *s, pb_model_config *config)
{
    pb_string json   = {0};
    pb_status status = PB_OK;
    PB_TRY_GOTO(status, shape_json(s, &json), done);
    PB_TRY_GOTO(status, pb_model_config_parse(json.data, json.length, "--shape", config), done);
done:
    pb_string_clear(&json);
    return status;
}

pb_status bench_shape(const char *text, pb_model_config *config)
{
    named_shape s           = shapes[1];
    const named_shape *name = shapes;
    char *copy              = NULL; /* holds an architecture */
    pb_status status        = PB_OK;
    while (name->name != NULL && strcmp(name->name, text) != 0) {
        name++;
    }
    if (name->name != NULL) {
        s = *name;
    } else {
        copy = pb_memory_text(text);
        PB_TRY_GOTO(status, copy != NULL ? shape_parts(copy, &s) : PB_ERR_MEMORY, done);
    }
    if (s.heads % s.kv_heads != 0 || s.head_dim < 2 || s.head_dim % 2 != 0) {
        status = PB_FAIL(
            PB_ERR_USAGE,
            "--shape %s: heads must be a multiple of kv_heads, and the width of a head even", text);
        goto done;
    }
    PB_TRY_GOTO(status, shape_config(&s, config), done);
done:
    pb_memory_free(copy);
    return status;
}
