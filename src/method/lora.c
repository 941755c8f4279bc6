// SPDX-License-Identifier: Apache-2.0
/* LoRA (Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR 2022) and its
 * rank-stabilised scaling (Kalajdzievski 2023).
 *
 *     y = W x + s B (A drop(x)),   A [r, in], B [out, r],   s = alpha / r, or alpha / sqrt(r)
 *
 * A starts as U(±1/sqrt(in)), B as zero. */
#include "internal.h"

#include <math.h>
#include <string.h>

typedef struct lora_options {
    int64_t r;
    double alpha, dropout;
    bool rslora;
    pb_config_list targets;
} lora_options;

static const pb_config_field fields[] = {
    PB_FIELD_INT(lora_options, r, 16, 1, 65536, "", "width of the adapter"),
    PB_FIELD_FLOAT(lora_options, alpha, 16, -1e6, 1e6, "", "numerator of the scale alpha / r"),
    PB_FIELD_FLOAT(lora_options, dropout, 0.05, 0, 0.999, "",
                   "probability of dropping an input of A in training"),
    PB_FIELD_BOOL(lora_options, rslora, false, "scale alpha / sqrt(r) in place of alpha / r"),
    PB_FIELD_TEXT_LIST(lora_options, targets, "k_proj v_proj down_proj",
                       "linear modules to adapt, by the end of their path"),
    PB_FIELD_END,
};

static float scale_of(const pb_method *m)
{
    const lora_options *o = m->options;
    return (float)(o->alpha / (o->rslora ? sqrt((double)o->r) : (double)o->r));
}

static pb_status plan_site(pb_method *m, const pb_site *site)
{
    const lora_options *o = m->options;
    pb_trainable a        = {
               .ndim  = 2,
               .shape = {o->r, site->in},
               .init  = PB_INIT_UNIFORM,
               .scale = 1.0 / sqrt((double)site->in),
    };
    pb_trainable b = {.ndim = 2, .shape = {site->out, o->r}, .init = PB_INIT_ZERO};
    PB_TRY(pb_trainable_name(&a, "base_model.model.%s.lora_A.weight", site->hf_name));
    PB_TRY(pb_trainable_name(&b, "base_model.model.%s.lora_B.weight", site->hf_name));
    PB_TRY(pb_method_declare(m, &a, NULL));
    return pb_method_declare(m, &b, NULL);
}

static pb_status plan(pb_method *m)
{
    const lora_options *o = m->options;
    return pb_method_plan_sites(m, &o->targets, PB_SITE_LINEAR, plan_site);
}

static unsigned acts(const pb_method *m, const pb_site *site)
{
    return pb_site_trainable(m, site, 0) != NULL ? PB_ACTS_ON_OUTPUT : 0;
}

static bool drops(const pb_method *m)
{
    return ((const lora_options *)m->options)->dropout > 0.0;
}

static int64_t kept_width(const pb_method *m, const pb_site *site)
{
    return acts(m, site) != 0 ? ((const lora_options *)m->options)->r : 0;
}

/* First half: the gradient by A x, r wide; second half: the dropped input and its gradient. */
static int64_t scratch_width(const pb_method *m, const pb_site *site)
{
    const lora_options *o = m->options;
    if (acts(m, site) == 0) {
        return 0;
    }
    return drops(m) && site->in > o->r ? site->in : o->r;
}

static pb_tensor half(const pb_site_context *ctx, int which, int64_t width)
{
    return pb_tensor_columns(ctx->scratch, which * (ctx->scratch->shape[1] / 2), width);
}

/* The mask of a site in a pass: the same in forward and backward. */
static pb_random mask_of(const pb_method *m, const pb_site *site, const pb_site_context *ctx)
{
    uint64_t sites = (uint64_t)pb_model_site_count(m->model);
    return pb_random_stream(m->seed, PB_RANDOM_DROPOUT, ctx->pass * sites + (uint64_t)site->index);
}

static pb_status dropped_input(const pb_method *m, const pb_site *site, const pb_site_context *ctx,
                               const pb_tensor *x, pb_tensor *out)
{
    if (!ctx->training || !drops(m)) {
        *out = *x;
        return PB_OK;
    }
    *out = half(ctx, 1, site->in);
    return pb_dropout(m->backend, out, x, ((const lora_options *)m->options)->dropout,
                      mask_of(m, site, ctx));
}

static pb_status output_forward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                                pb_tensor *y, const pb_tensor *x, pb_tensor *kept)
{
    const pb_tensor *a = &pb_site_trainable(m, site, 0)->value;
    const pb_tensor *b = &pb_site_trainable(m, site, 1)->value;
    pb_tensor dropped;
    PB_TRY(dropped_input(m, site, ctx, x, &dropped));
    PB_TRY(pb_matmul(m->backend, kept, &dropped, a,
                     &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f}));
    return pb_matmul(m->backend, y, kept, b,
                     &(pb_matmul_args){.transpose_b = true, .alpha = scale_of(m), .beta = 1.0f});
}

static pb_status input_backward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                                const pb_tensor *dkept, pb_tensor *dx)
{
    const pb_tensor *a = &pb_site_trainable(m, site, 0)->value;
    if (!ctx->training || !drops(m)) {
        return pb_matmul(m->backend, dx, dkept, a, &(pb_matmul_args){.alpha = 1.0f, .beta = 1.0f});
    }
    pb_tensor way = half(ctx, 1, site->in);
    PB_TRY(pb_matmul(m->backend, &way, dkept, a, &(pb_matmul_args){.alpha = 1.0f}));
    PB_TRY(pb_dropout(m->backend, &way, &way, ((const lora_options *)m->options)->dropout,
                      mask_of(m, site, ctx)));
    return pb_axpy(m->backend, dx, 1.0f, &way);
}

static pb_status output_backward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                                 pb_tensor *dy, pb_tensor *dx, const pb_tensor *x,
                                 const pb_tensor *kept)
{
    const lora_options *o = m->options;
    pb_trainable *a       = pb_site_trainable(m, site, 0);
    pb_trainable *b       = pb_site_trainable(m, site, 1);
    pb_tensor dkept       = half(ctx, 0, o->r);
    pb_tensor dropped;
    PB_TRY(pb_matmul(m->backend, &b->grad, dy, kept,
                     &(pb_matmul_args){.transpose_a = true, .alpha = scale_of(m), .beta = 1.0f}));
    PB_TRY(pb_matmul(m->backend, &dkept, dy, &b->value, &(pb_matmul_args){.alpha = scale_of(m)}));
    PB_TRY(dropped_input(m, site, ctx, x, &dropped));
    PB_TRY(pb_matmul(m->backend, &a->grad, &dkept, &dropped,
                     &(pb_matmul_args){.transpose_a = true, .alpha = 1.0f, .beta = 1.0f}));
    return pb_tensor_is_none(dx) ? PB_OK : input_backward(m, site, ctx, &dkept, dx);
}

/* W + s B A. */
static pb_status merge(pb_method *m, const pb_site *site, pb_tensor *weight, pb_tensor *bias)
{
    (void)bias;
    return pb_matmul(m->backend, weight, &pb_site_trainable(m, site, 1)->value,
                     &pb_site_trainable(m, site, 0)->value,
                     &(pb_matmul_args){.alpha = scale_of(m), .beta = 1.0f});
}

static const char adapter_keys[] =
    "alora_invocation_tokens alpha_pattern arrow_config bias corda_config enable_lora "
    "ensure_weight_tying eva_config fan_in_fan_out init_lora_weights kasa_config "
    "layer_replication layers_pattern layers_to_transform loftq_config lora_alpha lora_bias "
    "lora_dropout lora_ga_config megatron_config megatron_core merge_weights monteclora_config "
    "qalora_group_size r rank_pattern runtime_config target_modules target_parameters "
    "trainable_token_indices use_bdlora use_dora use_qalora use_rslora velora_config";

static void config_write(const pb_method *m, pb_json *json)
{
    const lora_options *o = m->options;
    pb_json_put_int(json, "r", o->r);
    pb_json_put_number(json, "lora_alpha", o->alpha, PB_JSON_EXACT);
    if (o->dropout == 0.0) {
        pb_json_put_float(json, "lora_dropout", 0.0);
    } else {
        pb_json_put_number(json, "lora_dropout", o->dropout, PB_JSON_EXACT);
    }
    pb_json_put_bool(json, "use_rslora", o->rslora);
    pb_json_put_bool(json, "use_dora", false);
    pb_json_put_text(json, "bias", "none");
    pb_json_put_bool(json, "fan_in_fan_out", false);
    pb_json_put_object(json, "rank_pattern", PB_JSON_INLINE);
    pb_json_end(json);
    pb_json_put_object(json, "alpha_pattern", PB_JSON_INLINE);
    pb_json_end(json);
    pb_adapter_write_list(&o->targets, "target_modules", json);
}

/* Variants that change the frozen weights themselves, so that the adapter alone is not enough. */
static pb_status check_init(const pb_adapter_config *c)
{
    const json_t *value = json_object_get(c->json, "init_lora_weights");
    if (!json_is_string(value)) {
        return PB_OK;
    }
    static const char *const harmless[] = {"gaussian", "eva", "orthogonal", NULL};
    for (int i = 0; harmless[i] != NULL; i++) {
        if (strcmp(json_string_value(value), harmless[i]) == 0) {
            return PB_OK;
        }
    }
    return PB_FAIL(PB_ERR_UNSUPPORTED,
                   "%s: init_lora_weights \"%s\" changes the frozen weights; only adapters on "
                   "unchanged weights are supported",
                   c->path, json_string_value(value));
}

static pb_status config_read(void *options, const pb_adapter_config *c)
{
    static const char *const refused[] = {"use_dora",
                                          "rank_pattern",
                                          "alpha_pattern",
                                          "bias",
                                          "lora_bias",
                                          "fan_in_fan_out",
                                          "layers_to_transform",
                                          "layers_pattern",
                                          "layer_replication",
                                          "target_parameters",
                                          "trainable_token_indices",
                                          "use_qalora",
                                          "use_bdlora",
                                          "arrow_config",
                                          "alora_invocation_tokens",
                                          "kasa_config",
                                          "velora_config",
                                          "monteclora_config",
                                          "megatron_config",
                                          "enable_lora",
                                          NULL};
    static const char *const numbers[] = {"r", "lora_alpha", "lora_dropout", NULL};
    lora_options *o                    = options;
    o->dropout                         = 0.0;
    o->r                               = 8; /* HF's defaults, for files that leave keys out */
    o->alpha                           = 8.0;
    PB_TRY(pb_adapter_refuse(c, refused));
    PB_TRY(pb_adapter_refuse_null(c, numbers));
    PB_TRY(check_init(c));
    PB_TRY(pb_adapter_int(c, "r", 1, &o->r));
    PB_TRY(pb_adapter_number(c, "lora_alpha", &o->alpha));
    PB_TRY(pb_adapter_number(c, "lora_dropout", &o->dropout));
    if (!(o->dropout >= 0.0 && o->dropout < 1.0)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: lora_dropout is %g; it must be at least 0 and below 1",
                       c->path, o->dropout);
    }
    PB_TRY(pb_adapter_bool(c, "use_rslora", &o->rslora));
    return pb_adapter_targets(c, &o->targets);
}

/* A x and B (A x), unmerged: r (in + out) multiply-accumulates at every site, which is the number
 * of its parameters. */
static double extra_flops(const pb_method *m, int64_t tokens)
{
    return 2.0 * (double)tokens * (double)m->parameters;
}

const pb_method_ops pb_method_lora = {
    .name                   = "lora",
    .help                   = "low-rank updates of linear modules",
    .options_size           = sizeof(lora_options),
    .fields                 = fields,
    .plan                   = plan,
    .acts                   = acts,
    .linear_output_forward  = output_forward,
    .linear_output_backward = output_backward,
    .kept_width             = kept_width,
    .scratch_width          = scratch_width,
    .drops                  = drops,
    .merge                  = merge,
    .extra_flops            = extra_flops,
    .peft_type              = "LORA",
    .adapter_keys           = adapter_keys,
    .adapter_config_write   = config_write,
    .adapter_config_read    = config_read,
};
