// SPDX-License-Identifier: Apache-2.0
/* BitFit (Ben Zaken et al., "BitFit: Simple parameter-efficient fine-tuning for transformer-based
 * masked language-models", ACL 2022).
 *
 *     y = W x + b',   b' a trained copy of the module's bias, or new and zero where it has none
 *
 * `state` maps a linear site to its bias. HF PEFT has no such method; the files are laid out as
 * its adapters are. */
#include "internal.h"

typedef struct bitfit_options {
    pb_config_list targets;
} bitfit_options;

static const pb_config_field fields[] = {
    PB_FIELD_TEXT_LIST(bitfit_options, targets, "q_proj v_proj",
                       "linear modules whose bias is trained, by the end of their path"),
    PB_FIELD_END,
};

static pb_status plan(pb_method *m)
{
    const bitfit_options *o = m->options;
    int64_t *map            = NULL;
    PB_TRY(pb_site_map_create(m, &o->targets, PB_SITE_LINEAR, &map));
    m->state = map;
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        const pb_site *site = pb_model_site_at(m->model, i);
        if (map[i] < 0) {
            continue;
        }
        pb_trainable bias = {.ndim = 1, .shape = {site->out}, .source = site->bias};
        bias.init         = site->has_bias ? PB_INIT_COPY : PB_INIT_ZERO;
        PB_TRY(pb_trainable_name(&bias, "base_model.model.%s.bias", site->hf_name));
        PB_TRY(pb_method_declare(m, &bias, &map[i]));
    }
    return PB_OK;
}

static unsigned acts(const pb_method *m, const pb_site *site)
{
    return pb_site_trainable(m, site, 0) != NULL ? PB_ACTS_BOUND : 0;
}

static pb_status bind(pb_method *m, pb_binding *bindings)
{
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        const pb_trainable *bias = pb_site_trainable(m, pb_model_site_at(m->model, i), 0);
        if (bias != NULL) {
            bindings[i].bias  = bias->value;
            bindings[i].dbias = bias->grad;
        }
    }
    return PB_OK;
}

static pb_status config_write(const pb_method *m, pb_string *json)
{
    return pb_adapter_write_list(&((const bitfit_options *)m->options)->targets, "target_modules",
                                 json);
}

static pb_status config_read(void *options, const pb_adapter_config *c)
{
    return pb_adapter_targets(c, &((bitfit_options *)options)->targets);
}

const pb_method_ops pb_method_bitfit = {
    .name                 = "bitfit",
    .help                 = "trained biases",
    .options_size         = sizeof(bitfit_options),
    .fields               = fields,
    .plan                 = plan,
    .destroy              = pb_site_map_destroy,
    .acts                 = acts,
    .bind                 = bind,
    .peft_type            = "BITFIT",
    .adapter_config_write = config_write,
    .adapter_config_read  = config_read,
};
