// SPDX-License-Identifier: Apache-2.0
/* Prefix tuning (Li & Liang, "Prefix-tuning: Optimizing continuous prompts for generation",
 * ACL 2021).
 *
 *     K_l = [P_{2l}; K_l],  V_l = [P_{2l+1}; V_l],   P [n, L·2·K·E], used as they are (no rope)
 *     with a projection:  P = tanh(e W_1ᵀ + b_1) W_2ᵀ + b_2,   e [n, K·E]
 *
 * Without projection P itself is trained and starts as N(0, 1). */
#include "encoder.h"

typedef struct prefix_options {
    int64_t num_virtual_tokens;
    bool projection;
    int64_t encoder_hidden_size;
} prefix_options;

static const pb_config_field fields[] = {
    PB_FIELD_INT(prefix_options, num_virtual_tokens, 32, 1, 65536, "tokens",
                 "keys and values before those of the tokens"),
    PB_FIELD_BOOL(prefix_options, projection, true, "make the prefix by a two-layer network"),
    PB_FIELD_INT(prefix_options, encoder_hidden_size, 512, 1, 1048576, "",
                 "hidden width of the projection"),
    PB_FIELD_END,
};

static int64_t key_width(const pb_model *model)
{
    const pb_model_config *c = pb_model_get_config(model);
    return c->kv_heads * c->head_dim;
}

static pb_status plan(pb_method *m)
{
    const prefix_options *o = m->options;
    int64_t width           = key_width(m->model);
    int64_t columns         = pb_model_get_config(m->model)->layers * 2 * width;
    if (!o->projection) {
        return encoder_rows(m, PROMPT_NAME, o->num_virtual_tokens, columns);
    }
    method_encoder encoder = {.rows       = o->num_virtual_tokens,
                              .layers     = 2,
                              .widths     = {width, o->encoder_hidden_size, columns},
                              .activation = PB_ACTIVATION_TANH,
                              .embedded   = width};
    return encoder_plan(m, &encoder, "transform");
}

static int64_t virtual_keys(const pb_method *m)
{
    return ((const prefix_options *)m->options)->num_virtual_tokens;
}

static const char adapter_keys[] = PROMPT_KEYS "encoder_hidden_size init_weights prefix_projection";

static void config_write(const pb_method *m, pb_json *json)
{
    const prefix_options *o = m->options;
    adapter_write_prompt(m, o->num_virtual_tokens, pb_model_get_config(m->model)->kv_heads,
                         key_width(m->model), json);
    pb_json_put_bool(json, "prefix_projection", o->projection);
    pb_json_put_int(json, "encoder_hidden_size", o->encoder_hidden_size);
}

static pb_status config_read(void *options, const pb_adapter_config *c)
{
    prefix_options *o            = options;
    const pb_model_config *model = pb_model_get_config(c->model);
    o->projection                = false;
    o->encoder_hidden_size       = key_width(c->model);
    PB_TRY(adapter_expect(c, "token_dim", key_width(c->model)));
    PB_TRY(adapter_expect(c, "num_layers", model->layers));
    PB_TRY(adapter_expect(c, "num_attention_heads", model->kv_heads));
    PB_TRY(adapter_expect(c, "num_transformer_submodules", 1));
    PB_TRY(adapter_int(c, "num_virtual_tokens", 1, &o->num_virtual_tokens));
    PB_TRY(adapter_int(c, "encoder_hidden_size", 1, &o->encoder_hidden_size));
    PB_TRY(adapter_bool(c, "prefix_projection", &o->projection));
    o->projection = o->projection && c->encoder;
    return PB_OK;
}

const pb_method_ops method_prefix = {
    .name                 = "prefix",
    .help                 = "prefix tuning: trained keys and values before those of the tokens",
    .options_size         = sizeof(prefix_options),
    .fields               = fields,
    .plan                 = plan,
    .destroy              = encoder_destroy,
    .virtual_keys         = virtual_keys,
    .keys_forward         = encoder_forward,
    .keys_backward        = encoder_backward,
    .peft_type            = "PREFIX_TUNING",
    .adapter_keys         = adapter_keys,
    .adapter_config_write = config_write,
    .adapter_config_read  = config_read,
};
