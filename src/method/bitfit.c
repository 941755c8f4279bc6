// SPDX-License-Identifier: Apache-2.0
/* BitFit (Ben Zaken et al., "BitFit: Simple parameter-efficient fine-tuning for transformer-based
 * masked language-models", ACL 2022).
 *
 *     y = W x + b',   b' a trained copy of the module's bias, or new and zero where it has none
 *
 * HF PEFT has no such method. The files are laid out as its adapters are, but PeftModel refuses
 * their peft_type, "BITFIT": other programs add the tensors, named as the module's own bias, to the
 * checkpoint themselves. */
#include "internal.h"

typedef struct bitfit_options {
    method_targets where;
} bitfit_options;

static const pb_config_field fields[] = {
    TARGET_FIELDS("q_proj v_proj",
                  "linear modules whose bias is trained, by the end of their path"),
    PB_FIELD_END,
};

static pb_status plan_site(pb_method *m, const pb_site *site)
{
    pb_trainable bias = {.ndim   = 1,
                         .shape  = {site->out},
                         .init   = site->has_bias ? PB_INIT_COPY : PB_INIT_ZERO,
                         .source = site->bias};
    PB_TRY(trainable_name(&bias, "base_model.model.%s.bias", site->hf_name));
    return pb_method_declare(m, &bias, NULL);
}

static pb_status plan(pb_method *m)
{
    return method_plan_sites(m, PB_SITE_LINEAR, plan_site);
}

static pb_status bind(pb_method *m, pb_binding *bindings)
{
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        const pb_trainable *bias = site_trainable(m, pb_model_site_at(m->model, i), 0);
        if (bias != NULL) {
            bindings[i].bias  = bias->value;
            bindings[i].dbias = bias->grad;
        }
    }
    return PB_OK;
}

static const char adapter_keys[] = "target_modules";

const pb_method_ops method_bitfit = {
    .name                 = "bitfit",
    .help                 = "trained biases",
    .options_size         = sizeof(bitfit_options),
    .fields               = fields,
    .plan                 = plan,
    .acts                 = acts_bound,
    .bind                 = bind,
    .peft_type            = "BITFIT",
    .adapter_keys         = adapter_keys,
    .adapter_config_write = targets_write,
    .adapter_config_read  = targets_config_read,
};
