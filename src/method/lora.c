// SPDX-License-Identifier: Apache-2.0
/* LoRA (Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR 2022), its
 * rank-stabilised scaling (Kalajdzievski 2023) and LoRA+ (Hayou et al., "LoRA+: Efficient low rank
 * adaptation of large models", ICML 2024).
 *
 *     y = W x + s B (A drop(x)),   A [r, in], B [out, r],   s = alpha / r, or alpha / sqrt(r)
 *
 * A starts as U(±1/sqrt(in)), B as zero. LoRA+ trains B at lora_plus_ratio times the rate of A. */
#include "lora.h"

#include "pb/memory.h"
#include "pb/string.h"

#include <math.h>
#include <string.h>

const pb_config_field lora_fields[] = {
    PB_FIELD_INT(lora_options, r, 16, 1, 65536, "", "width of the adapter"),
    PB_FIELD_FLOAT(lora_options, alpha, 16, -1e6, 1e6, "", "numerator of the scale alpha / r"),
    PB_FIELD_FLOAT(lora_options, dropout, 0.05, 0, 0.999, "",
                   "probability of dropping an input of A in training"),
    PB_FIELD_BOOL(lora_options, rslora, false, "scale alpha / sqrt(r) in place of alpha / r"),
    TARGET_FIELDS("k_proj v_proj down_proj",
                  "linear modules to adapt, by the end of their path; \"" ALL_LINEAR
                  "\": all of a layer"),
    PB_FIELD_TEXTS(PB_CONFIG_TEXT_LIST, PB_KEPT_BEFORE, lora_options, rank_pattern, "",
                   "\"pattern=r\": another width where the pattern matches the path"),
    PB_FIELD_TEXTS(PB_CONFIG_TEXT_LIST, PB_KEPT_BEFORE, lora_options, alpha_pattern, "",
                   "\"pattern=alpha\": another numerator of the scale there"),
    PB_FIELD_FLOAT_FOR(PB_KEPT_BEFORE, lora_options, lora_plus_ratio, 1, 1e-6, 1e6, "",
                       "LoRA+: learning rate of B, and of a magnitude, over that of A"),
    PB_FIELD_END,
};

static pb_status plan_site(pb_method *m, const pb_site *site)
{
    const lora_options *o = m->options;
    lora_state *state     = m->state;
    double r              = (double)o->r;
    double alpha          = o->alpha;
    PB_TRY(patterns_find(m, "rank_pattern", &o->rank_pattern, site, &r));
    PB_TRY(patterns_find(m, "alpha_pattern", &o->alpha_pattern, site, &alpha));
    state->scales[site->index] = (float)(alpha / (o->rslora ? sqrt(r) : r));
    pb_trainable a             = {
                    .ndim  = 2,
                    .shape = {(int64_t)r, site->in},
                    .init  = PB_INIT_UNIFORM,
                    .scale = 1.0 / sqrt((double)site->in),
    };
    pb_trainable b = {.ndim  = 2,
                      .shape = {site->out, (int64_t)r},
                      .init  = PB_INIT_ZERO,
                      .rate  = o->lora_plus_ratio};
    PB_TRY(trainable_name(&a, "base_model.model.%s.lora_A.weight", site->hf_name));
    PB_TRY(trainable_name(&b, "base_model.model.%s.lora_B.weight", site->hf_name));
    PB_TRY(pb_method_declare(m, &a, NULL));
    PB_TRY(pb_method_declare(m, &b, NULL));
    return state->plan_more != NULL ? state->plan_more(m, site) : PB_OK;
}

pb_status lora_plan(pb_method *m, size_t state_size, site_plan plan_more)
{
    const lora_options *o = m->options;
    lora_state *state     = pb_memory_new(1, state_size);
    if (state == NULL) {
        return PB_ERR_MEMORY;
    }
    m->state         = state;
    state->plan_more = plan_more;
    PB_TRY(PB_ALLOC(state->scales, pb_model_site_count(m->model)));
    PB_TRY(patterns_check(m, "rank_pattern", &o->rank_pattern, 1.0, true));
    PB_TRY(patterns_check(m, "alpha_pattern", &o->alpha_pattern, -1e6, false));
    PB_TRY(method_plan_sites(m, PB_SITE_LINEAR, plan_site));
    PB_TRY(patterns_used(m, "rank_pattern", &o->rank_pattern));
    return patterns_used(m, "alpha_pattern", &o->alpha_pattern);
}

void lora_destroy(pb_method *m)
{
    lora_state *state = m->state;
    if (state != NULL) {
        pb_memory_free(state->scales);
        pb_memory_free(state);
    }
}

bool lora_drops(const pb_method *m)
{
    return ((const lora_options *)m->options)->dropout > 0.0;
}

pb_low_rank lora_at(const pb_method *m, const pb_site *site)
{
    const pb_trainable *a   = site_trainable(m, site, 0);
    const pb_trainable *b   = site_trainable(m, site, 1);
    const lora_state *state = m->state;
    return (pb_low_rank){
        .a       = a->value,
        .da      = a->grad,
        .b       = b->value,
        .db      = b->grad,
        .scale   = state->scales[site->index],
        .dropout = ((const lora_options *)m->options)->dropout,
        .mask    = low_rank_mask(m, site),
    };
}

static pb_status plan(pb_method *m)
{
    return lora_plan(m, sizeof(lora_state), NULL);
}

static const char adapter_keys[] = LORA_ADAPTER_KEYS;

void lora_config_write(const pb_method *m, bool dora, pb_json *json)
{
    const lora_options *o = m->options;
    pb_json_put_int(json, "r", o->r);
    pb_json_put_number(json, "lora_alpha", o->alpha, PB_JSON_EXACT);
    adapter_write_dropout(o->dropout, "lora_dropout", json);
    pb_json_put_bool(json, "use_rslora", o->rslora);
    pb_json_put_bool(json, "use_dora", dora);
    pb_json_put_text(json, "bias", "none");
    pb_json_put_bool(json, "fan_in_fan_out", false);
    patterns_write(&o->rank_pattern, "rank_pattern", json);
    patterns_write(&o->alpha_pattern, "alpha_pattern", json);
    targets_write(m, json);
}

static void config_write(const pb_method *m, pb_json *json)
{
    lora_config_write(m, false, json);
}

/* Variants that change the frozen weights themselves, so that the adapter alone is not enough. */
static pb_status check_init(const pb_adapter_config *c)
{
    const json_t *value = json_object_get(c->json, "init_lora_weights");
    if (!json_is_string(value)) {
        return PB_OK;
    }
    static const char *const harmless[] = {"gaussian", "eva", "orthogonal", NULL};
    if (pb_string_is_in(json_string_value(value), harmless)) {
        return PB_OK;
    }
    return PB_FAIL(PB_ERR_UNSUPPORTED,
                   "%s: init_lora_weights \"%s\" changes the frozen weights; only adapters on "
                   "unchanged weights are supported",
                   c->path, json_string_value(value));
}

pb_status lora_config_read(void *options, const pb_adapter_config *c)
{
    static const char *const refused[] = {"bias",
                                          "lora_bias",
                                          "fan_in_fan_out",
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
    PB_TRY(adapter_refuse(c, refused));
    PB_TRY(adapter_refuse_null(c, numbers));
    PB_TRY(check_init(c));
    PB_TRY(adapter_int(c, "r", 1, &o->r));
    PB_TRY(adapter_number(c, "lora_alpha", &o->alpha));
    PB_TRY(adapter_dropout(c, "lora_dropout", &o->dropout));
    PB_TRY(adapter_bool(c, "use_rslora", &o->rslora));
    PB_TRY(patterns_read(c, "rank_pattern", &o->rank_pattern));
    PB_TRY(patterns_read(c, "alpha_pattern", &o->alpha_pattern));
    return targets_read(c, &o->where);
}

static bool claims(const pb_adapter_config *c)
{
    return !adapter_is_on(c, "use_dora");
}

/* A x and B (A x), unmerged: r (in + out) multiply-accumulates at every site, which is the number
 * of its parameters. */
double lora_flops(const pb_method *m, int64_t tokens)
{
    return 2.0 * (double)tokens * (double)m->parameters;
}

const pb_method_ops method_lora = {
    .name                 = "lora",
    .help                 = "low-rank updates of linear modules",
    .options_size         = sizeof(lora_options),
    .fields               = lora_fields,
    .plan                 = plan,
    .destroy              = lora_destroy,
    .acts                 = acts_low_rank,
    .low_rank             = lora_at,
    .drops                = lora_drops,
    .extra_flops          = lora_flops,
    .peft_type            = "LORA",
    .adapter_keys         = adapter_keys,
    .claims               = claims,
    .adapter_config_write = config_write,
    .adapter_config_read  = lora_config_read,
};
