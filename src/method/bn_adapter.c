// SPDX-License-Identifier: Apache-2.0
/* Bottleneck adapters after a block of a layer, before its output is added to the residual:
 *
 *     h' = h + W_up act(W_down h + b_down) + b_up,   W_down [b, D], W_up [D, b]
 *
 * placement "houlsby": after attention and after the feed-forward block (Houlsby et al.,
 * "Parameter-efficient transfer learning for NLP", ICML 2019); "pfeiffer": after the feed-forward
 * block alone (Pfeiffer et al., "AdapterFusion", EACL 2021). Weights start as N(0, 0.02²), biases
 * as zero, as in the library `adapters`.
 *
 * That library's own configuration named after Pfeiffer feeds the adapter h plus the residual; here
 * every adapter sees h. HF PEFT has no such method; the files are laid out as its adapters are. */
#include "internal.h"

enum { PLACEMENT_HOULSBY, PLACEMENT_PFEIFFER };

static const char *const placements[] = {"houlsby", "pfeiffer", NULL};

/* In the order of pb_activation. */
static const char *const activations[] = {"silu", "gelu_tanh", "relu", "tanh", "sigmoid", NULL};

typedef struct bn_options {
    int placement, activation;
    int64_t size, reduction_factor;
} bn_options;

static const pb_config_field fields[] = {
    PB_FIELD_CHOICE(bn_options, placement, PLACEMENT_HOULSBY, placements,
                    "after attention and feed-forward, or after feed-forward alone"),
    PB_FIELD_CHOICE(bn_options, activation, PB_ACTIVATION_RELU, activations,
                    "between the two products"),
    PB_FIELD_INT(bn_options, size, 0, 0, 1048576, "",
                 "width of the bottleneck; 0: that of the model / reduction_factor"),
    PB_FIELD_INT(bn_options, reduction_factor, 16, 1, 1048576, "",
                 "width of the model over that of the bottleneck, where size is 0"),
    PB_FIELD_END,
};

static const char adapter_keys[] = "bottleneck_size non_linearity placement";

enum { DOWN_WEIGHT, DOWN_BIAS, UP_WEIGHT, UP_BIAS };

static int64_t bottleneck(const pb_method *m)
{
    const bn_options *o = m->options;
    int64_t shrunk      = pb_model_get_config(m->model)->width / o->reduction_factor;
    return o->size > 0 ? o->size : shrunk > 0 ? shrunk : 1;
}

/* One product of the adapter: weight [to, from] and bias [to]. */
static pb_status declare(pb_method *m, const pb_site *site, const char *name, int64_t to,
                         int64_t from)
{
    pb_trainable weight = {.ndim = 2, .shape = {to, from}, .init = PB_INIT_NORMAL, .scale = 0.02};
    pb_trainable bias   = {.ndim = 1, .shape = {to}, .init = PB_INIT_ZERO};
    PB_TRY(trainable_name(&weight, "base_model.model.%s.adapter_%s.weight", site->hf_name, name));
    PB_TRY(trainable_name(&bias, "base_model.model.%s.adapter_%s.bias", site->hf_name, name));
    PB_TRY(pb_method_declare(m, &weight, NULL));
    return pb_method_declare(m, &bias, NULL);
}

static pb_status plan(pb_method *m)
{
    bool both = ((const bn_options *)m->options)->placement == PLACEMENT_HOULSBY;
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        const pb_site *site = pb_model_site_at(m->model, i);
        if (site->kind == PB_SITE_DOWN || (site->kind == PB_SITE_O && both)) {
            m->sites[i] = m->count;
            PB_TRY(declare(m, site, "down", bottleneck(m), site->out));
            PB_TRY(declare(m, site, "up", site->out, bottleneck(m)));
        }
    }
    return PB_OK;
}

/* h, then z = W_down h + b_down. */
static int64_t kept_width(const pb_method *m, const pb_site *site)
{
    return m->sites[site->index] >= 0 ? site->out + bottleneck(m) : 0;
}

/* First half: act(z); second half: the gradient of z. */
static int64_t scratch_width(const pb_method *m, const pb_site *site)
{
    return m->sites[site->index] >= 0 ? bottleneck(m) : 0;
}

static pb_status output_forward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                                pb_tensor *y, const pb_tensor *x, pb_tensor *kept)
{
    static const pb_matmul_args set = {.transpose_b = true, .alpha = 1.0f};
    static const pb_matmul_args add = {.transpose_b = true, .alpha = 1.0f, .beta = 1.0f};
    int act                         = ((const bn_options *)m->options)->activation;
    const pb_trainable *t           = site_trainable(m, site, 0);
    pb_tensor h                     = pb_tensor_columns(kept, 0, site->out);
    pb_tensor z                     = pb_tensor_columns(kept, site->out, bottleneck(m));
    pb_tensor a                     = pb_tensor_half(ctx->scratch, 0, bottleneck(m));
    (void)x;
    PB_TRY(pb_copy(m->backend, &h, y));
    PB_TRY(pb_matmul(m->backend, &z, &h, &t[DOWN_WEIGHT].value, &set));
    PB_TRY(pb_bias_forward(m->backend, &z, &t[DOWN_BIAS].value));
    PB_TRY(pb_activation_forward(m->backend, &a, &z, (pb_activation)act));
    PB_TRY(pb_matmul(m->backend, y, &a, &t[UP_WEIGHT].value, &add));
    return pb_bias_forward(m->backend, y, &t[UP_BIAS].value);
}

static pb_status output_backward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                                 pb_tensor *dy, pb_tensor *dx, const pb_tensor *x,
                                 const pb_tensor *kept)
{
    static const pb_matmul_args add = {.transpose_a = true, .alpha = 1.0f, .beta = 1.0f};
    pb_backend *be                  = m->backend;
    pb_activation act               = (pb_activation)((const bn_options *)m->options)->activation;
    pb_trainable *t                 = site_trainable(m, site, 0);
    pb_tensor h                     = pb_tensor_columns(kept, 0, site->out);
    pb_tensor z                     = pb_tensor_columns(kept, site->out, bottleneck(m));
    pb_tensor a                     = pb_tensor_half(ctx->scratch, 0, bottleneck(m));
    pb_tensor dz                    = pb_tensor_half(ctx->scratch, 1, bottleneck(m));
    (void)dx;
    (void)x;
    PB_TRY(pb_activation_forward(be, &a, &z, act));
    PB_TRY(pb_bias_backward(be, &t[UP_BIAS].grad, dy));
    PB_TRY(pb_matmul(be, &t[UP_WEIGHT].grad, dy, &a, &add));
    PB_TRY(pb_matmul(be, &dz, dy, &t[UP_WEIGHT].value, &(pb_matmul_args){.alpha = 1.0f}));
    PB_TRY(pb_activation_backward(be, &dz, &dz, &z, act));
    PB_TRY(pb_bias_backward(be, &t[DOWN_BIAS].grad, &dz));
    PB_TRY(pb_matmul(be, &t[DOWN_WEIGHT].grad, &dz, &h, &add));
    return pb_matmul(be, dy, &dz, &t[DOWN_WEIGHT].value,
                     &(pb_matmul_args){.alpha = 1.0f, .beta = 1.0f});
}

/* The two products of every site. */
static double extra_flops(const pb_method *m, int64_t tokens)
{
    double total = 0.0;
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        const pb_site *site = pb_model_site_at(m->model, i);
        if (m->sites[site->index] >= 0) {
            total += 4.0 * (double)tokens * (double)(site->out * bottleneck(m));
        }
    }
    return total;
}

static void config_write(const pb_method *m, pb_json *json)
{
    const bn_options *o = m->options;
    pb_json_put_text(json, "placement", placements[o->placement]);
    pb_json_put_int(json, "bottleneck_size", bottleneck(m));
    pb_json_put_text(json, "non_linearity", activations[o->activation]);
}

static pb_status config_read(void *options, const pb_adapter_config *c)
{
    bn_options *o = options;
    PB_TRY(adapter_choice(c, "placement", placements, &o->placement));
    PB_TRY(adapter_choice(c, "non_linearity", activations, &o->activation));
    return adapter_int(c, "bottleneck_size", 1, &o->size);
}

const pb_method_ops method_bn_adapter = {
    .name                   = "bn_adapter",
    .help                   = "bottleneck adapters after the blocks of a layer",
    .options_size           = sizeof(bn_options),
    .fields                 = fields,
    .plan                   = plan,
    .acts                   = acts_on_output,
    .linear_output_forward  = output_forward,
    .linear_output_backward = output_backward,
    .kept_width             = kept_width,
    .scratch_width          = scratch_width,
    .extra_flops            = extra_flops,
    .peft_type              = "BOTTLENECK",
    .adapter_keys           = adapter_keys,
    .adapter_config_write   = config_write,
    .adapter_config_read    = config_read,
};
