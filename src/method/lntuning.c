// SPDX-License-Identifier: Apache-2.0
/* LayerNorm tuning (Zhao et al., "Tuning LayerNorm in attention: towards efficient multi-modal LLM
 * finetuning", ICLR 2024), on the RMS norms of a decoder.
 *
 *     y = g' ⊙ x / rms(x),   g' a trained copy of the norm's weight g */
#include "internal.h"

typedef struct lntuning_options {
    method_targets where;
} lntuning_options;

static const pb_config_field fields[] = {
    TARGET_FIELDS("", "norms to train, by the end of their path; none: those that HF PEFT trains "
                      "in this family"),
    PB_FIELD_END,
};

static pb_status default_targets(const pb_model *model, method_targets *where)
{
    const char *const *norms = pb_model_default_norms(pb_model_get_config(model));
    size_t count             = 0;
    while (norms[count] != NULL) {
        count++;
    }
    return where->targets.count > 0 || *where->target_pattern != '\0'
               ? PB_OK
               : targets_set(norms, count, &where->targets);
}

static pb_status plan_site(pb_method *m, const pb_site *site)
{
    pb_trainable copy = {
        .ndim = 1, .shape = {site->out}, .init = PB_INIT_COPY, .source = site->weight};
    PB_TRY(trainable_name(&copy, "base_model.model.%s.ln_tuning_layers.weight", site->hf_name));
    return pb_method_declare(m, &copy, NULL);
}

static pb_status plan(pb_method *m)
{
    lntuning_options *o = m->options;
    PB_TRY(default_targets(m->model, &o->where));
    return method_plan_sites(m, PB_SITE_NORM, plan_site);
}

static pb_status bind(pb_method *m, pb_binding *bindings)
{
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        const pb_trainable *copy = site_trainable(m, pb_model_site_at(m->model, i), 0);
        if (copy != NULL) {
            bindings[i].weight  = copy->value;
            bindings[i].dweight = copy->grad;
        }
    }
    return PB_OK;
}

static const char adapter_keys[] = "target_modules";

const pb_method_ops method_lntuning = {
    .name                 = "lntuning",
    .help                 = "trained copies of the norm weights",
    .options_size         = sizeof(lntuning_options),
    .fields               = fields,
    .plan                 = plan,
    .acts                 = acts_bound,
    .bind                 = bind,
    .peft_type            = "LN_TUNING",
    .adapter_keys         = adapter_keys,
    .adapter_config_write = targets_write,
    .adapter_config_read  = targets_config_read,
};
