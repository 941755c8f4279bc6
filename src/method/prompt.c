// SPDX-License-Identifier: Apache-2.0
/* Prompt tuning (Lester et al., "The power of scale for parameter-efficient prompt tuning",
 * EMNLP 2021).
 *
 *     x_0 … x_{n-1} = P [n, D],   the embedded tokens follow at positions n, n + 1, …
 *
 * P starts as N(0, 1), or as embeddings of the vocabulary's first ids in random order. */
#include "encoder.h"

#include "pb/memory.h"

enum { INIT_NORMAL, INIT_VOCABULARY };

static const char *const inits[] = {"normal", "vocabulary", NULL};

/* The first ids of a vocabulary are its frequent ones (Lester et al., section 3.2). */
enum { VOCABULARY_IDS = 5000 };

typedef struct prompt_options {
    int64_t num_virtual_tokens;
    int init;
} prompt_options;

static const pb_config_field fields[] = {
    PB_FIELD_INT(prompt_options, num_virtual_tokens, 100, 1, 65536, "tokens",
                 "rows before the tokens"),
    PB_FIELD_CHOICE(prompt_options, init, INIT_VOCABULARY, inits,
                    "start: N(0, 1), or embeddings of the first 5000 ids in random order"),
    PB_FIELD_END,
};

static pb_status plan(pb_method *m)
{
    const prompt_options *o = m->options;
    pb_trainable rows       = {
              .ndim  = 2,
              .shape = {o->num_virtual_tokens, pb_model_get_config(m->model)->width},
              .init  = o->init == INIT_NORMAL ? PB_INIT_NORMAL : PB_INIT_ZERO,
              .scale = 1.0,
    };
    PB_TRY(trainable_name(&rows, PROMPT_NAME));
    return pb_method_declare(m, &rows, NULL);
}

/* A random permutation of the first `count` ids (Fisher-Yates). */
static void shuffle(uint64_t seed, int32_t *ids, int64_t count)
{
    pb_random stream = pb_random_stream(seed, PB_RANDOM_INIT, 0);
    for (int64_t i = 0; i < count; i++) {
        ids[i] = (int32_t)i;
    }
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j    = (int64_t)pb_random_below(stream, (uint64_t)i, (uint64_t)i + 1);
        int32_t swap = ids[i];
        ids[i]       = ids[j];
        ids[j]       = swap;
    }
}

/* Scaled embeddings of ids; a prompt longer than the list wraps around. */
static void embed(const pb_method *m, const int32_t *ids, int64_t count, pb_tensor *rows)
{
    const pb_tensor *table = &pb_model_site(m->model, PB_SITE_EMBEDDING, 0)->weight;
    float scale            = (float)pb_model_get_config(m->model)->embedding_scale;
    int64_t width          = rows->shape[1];
    for (int64_t i = 0; i < rows->shape[0]; i++) {
        pb_tensor from = pb_tensor_rows(table, ids[i % count], 1);
        float *to      = (float *)rows->data + i * width;
        pb_floats_to_f32(to, from.data, from.dtype, width);
        for (int64_t j = 0; j < width; j++) {
            to[j] *= scale;
        }
    }
}

static pb_status initialise(pb_method *m)
{
    const prompt_options *o  = m->options;
    const pb_model_config *c = pb_model_get_config(m->model);
    int64_t known            = c->vocab < VOCABULARY_IDS ? c->vocab : VOCABULARY_IDS;
    int32_t *ids             = NULL;
    float *host              = NULL;
    pb_status status         = PB_OK;
    if (o->init != INIT_VOCABULARY) {
        return PB_OK;
    }
    PB_TRY_GOTO(status, PB_ALLOC(ids, known), done);
    PB_TRY_GOTO(status, PB_ALLOC(host, o->num_virtual_tokens * c->width), done);
    pb_tensor rows = pb_tensor_2d(host, PB_DTYPE_F32, o->num_virtual_tokens, c->width);
    shuffle(m->seed, ids, known);
    embed(m, ids, known, &rows);
    PB_TRY_GOTO(status, pb_copy(m->backend, &m->trainables[0].value, &rows), done);
done:
    pb_memory_free(host);
    pb_memory_free(ids);
    return status;
}

static int64_t virtual_rows(const pb_method *m)
{
    return ((const prompt_options *)m->options)->num_virtual_tokens;
}

static const char adapter_keys[] = PROMPT_KEYS
    "prompt_tuning_init prompt_tuning_init_text tokenizer_kwargs tokenizer_name_or_path";

static void config_write(const pb_method *m, pb_json *json)
{
    const pb_model_config *model = pb_model_get_config(m->model);
    adapter_write_prompt(m, virtual_rows(m), model->heads, model->width, json);
    pb_json_put_text(json, "prompt_tuning_init", "RANDOM");
}

static pb_status config_read(void *options, const pb_adapter_config *c)
{
    prompt_options *o = options;
    o->init           = INIT_NORMAL; /* the values come from the file */
    PB_TRY(adapter_expect(c, "token_dim", pb_model_get_config(c->model)->width));
    PB_TRY(adapter_expect(c, "num_transformer_submodules", 1));
    return adapter_int(c, "num_virtual_tokens", 1, &o->num_virtual_tokens);
}

const pb_method_ops method_prompt = {
    .name                 = "prompt",
    .help                 = "prompt tuning: trained rows before the tokens",
    .options_size         = sizeof(prompt_options),
    .fields               = fields,
    .plan                 = plan,
    .initialise           = initialise,
    .virtual_rows         = virtual_rows,
    .rows_forward         = encoder_forward,
    .rows_backward        = encoder_backward,
    .peft_type            = "PROMPT_TUNING",
    .adapter_keys         = adapter_keys,
    .adapter_config_write = config_write,
    .adapter_config_read  = config_read,
};
