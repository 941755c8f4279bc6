// SPDX-License-Identifier: Apache-2.0
/* P-tuning (Liu et al., "GPT understands, too", 2021): rows P [n, D] before the tokens, made of an
 * embedding e [n, D] by an encoder of hidden width h:
 *
 *     mlp     P = relu(relu(e W_1ᵀ + b_1) W_2ᵀ + b_2) W_3ᵀ + b_3
 *     lstm    P = relu(LSTM(e) W_1ᵀ + b_1) W_2ᵀ + b_2,   LSTM bidirectional, its output [n, 2h]
 *
 * encoder = "none" trains P itself: what is left of an adapter whose encoder was not saved. */
#include "encoder.h"

#include <inttypes.h>

enum { LSTM_LAYERS_MAX = 64 };
enum { ENCODER_MLP, ENCODER_LSTM, ENCODER_NONE };

static const char *const encoders[] = {"mlp", "lstm", "none", NULL};
static const char *const types[]    = {"MLP", "LSTM", NULL}; /* in adapters */

typedef struct ptuning_options {
    int64_t num_virtual_tokens;
    int encoder;
    int64_t encoder_hidden_size, encoder_num_layers;
} ptuning_options;

static const pb_config_field fields[] = {
    PB_FIELD_INT(ptuning_options, num_virtual_tokens, 100, 1, 65536, "tokens",
                 "rows before the tokens"),
    PB_FIELD_CHOICE(ptuning_options, encoder, ENCODER_MLP, encoders,
                    "what makes the rows; none: the rows themselves are trained"),
    PB_FIELD_INT(ptuning_options, encoder_hidden_size, 768, 1, 1048576, "",
                 "hidden width of the encoder, of each direction of an lstm"),
    PB_FIELD_INT_FOR(PB_KEPT_BEFORE, ptuning_options, encoder_num_layers, 2, 1, LSTM_LAYERS_MAX, "",
                     "layers of an lstm; an mlp has two hidden ones"),
    PB_FIELD_END,
};

static pb_status plan(pb_method *m)
{
    const ptuning_options *o = m->options;
    int64_t width            = pb_model_get_config(m->model)->width;
    if (o->encoder == ENCODER_NONE) {
        return encoder_rows(m, PROMPT_NAME, o->num_virtual_tokens, width);
    }
    int64_t hidden         = o->encoder_hidden_size;
    method_encoder encoder = {.rows       = o->num_virtual_tokens,
                              .layers     = 3,
                              .widths     = {width, hidden, hidden, width},
                              .activation = PB_ACTIVATION_RELU,
                              .embedded   = width};
    if (o->encoder == ENCODER_LSTM) {
        encoder.layers      = 2;
        encoder.lstm_layers = o->encoder_num_layers;
        encoder.widths[0]   = 2 * hidden;
        encoder.widths[1]   = 2 * hidden;
        encoder.widths[2]   = width;
    }
    return encoder_plan(m, &encoder, "mlp_head");
}

static int64_t virtual_rows(const pb_method *m)
{
    return ((const ptuning_options *)m->options)->num_virtual_tokens;
}

static const char adapter_keys[] = PROMPT_KEYS
    "encoder_dropout encoder_hidden_size encoder_num_layers encoder_reparameterization_type";

static void config_write(const pb_method *m, pb_json *json)
{
    const ptuning_options *o     = m->options;
    const pb_model_config *model = pb_model_get_config(m->model);
    adapter_write_prompt(m, o->num_virtual_tokens, model->heads, model->width, json);
    pb_json_put_text(json, "encoder_reparameterization_type", types[o->encoder == ENCODER_LSTM]);
    pb_json_put_int(json, "encoder_hidden_size", o->encoder_hidden_size);
    pb_json_put_int(json, "encoder_num_layers", o->encoder_num_layers);
    pb_json_put_float(json, "encoder_dropout", 0.0);
}

/* An MLP has its two hidden layers and no dropout in HF, whatever these keys say. */
static pb_status lstm_read(ptuning_options *o, const pb_adapter_config *c)
{
    static const char *const between_layers[] = {"encoder_dropout", NULL};
    PB_TRY(adapter_int(c, "encoder_num_layers", 1, &o->encoder_num_layers));
    if (o->encoder_num_layers > LSTM_LAYERS_MAX) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: encoder_num_layers is %" PRId64 "; it must be 1 … %d",
                       c->path, o->encoder_num_layers, LSTM_LAYERS_MAX);
    }
    return o->encoder_num_layers > 1 ? adapter_refuse(c, between_layers) : PB_OK;
}

static pb_status config_read(void *options, const pb_adapter_config *c)
{
    ptuning_options *o     = options;
    int64_t width          = pb_model_get_config(c->model)->width;
    o->encoder_hidden_size = width; /* HF's choice for null */
    PB_TRY(adapter_expect(c, "token_dim", width));
    PB_TRY(adapter_expect(c, "num_transformer_submodules", 1));
    PB_TRY(adapter_int(c, "num_virtual_tokens", 1, &o->num_virtual_tokens));
    PB_TRY(adapter_int(c, "encoder_hidden_size", 1, &o->encoder_hidden_size));
    o->encoder = ENCODER_MLP;
    PB_TRY(adapter_choice(c, "encoder_reparameterization_type", types, &o->encoder));
    if (!c->encoder) {
        o->encoder = ENCODER_NONE;
    }
    return o->encoder == ENCODER_LSTM ? lstm_read(o, c) : PB_OK;
}

const pb_method_ops method_ptuning = {
    .name                 = "ptuning",
    .help                 = "p-tuning: rows before the tokens, made by a small network",
    .options_size         = sizeof(ptuning_options),
    .fields               = fields,
    .plan                 = plan,
    .destroy              = encoder_destroy,
    .virtual_rows         = virtual_rows,
    .rows_forward         = encoder_forward,
    .rows_backward        = encoder_backward,
    .peft_type            = "P_TUNING",
    .adapter_keys         = adapter_keys,
    .adapter_config_write = config_write,
    .adapter_config_read  = config_read,
};
