// SPDX-License-Identifier: Apache-2.0
/* Full fine-tuning: a trainable copy of every weight and bias.
 *
 *     W' = W + ΔW, for all W; a head that is tied to the embedding is one tensor with it
 *
 * Names are those of the checkpoint. */
#include "internal.h"

static pb_status plan_site(pb_method *m, const pb_site *site, int64_t *index)
{
    bool is_norm        = site->site_class == PB_SITE_NORM;
    pb_trainable weight = {
        .ndim   = is_norm ? 1 : 2,
        .shape  = {site->out, is_norm ? 0 : site->in},
        .init   = PB_INIT_COPY,
        .source = site->weight,
    };
    PB_TRY(trainable_name(&weight, "%s.weight", site->hf_name));
    PB_TRY(pb_method_declare(m, &weight, index));
    if (!site->has_bias) {
        return PB_OK;
    }
    pb_trainable bias = {
        .ndim = 1, .shape = {site->out}, .init = PB_INIT_COPY, .source = site->bias};
    PB_TRY(trainable_name(&bias, "%s.bias", site->hf_name));
    return pb_method_declare(m, &bias, NULL);
}

static pb_status plan(pb_method *m)
{
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        const pb_site *site = pb_model_site_at(m->model, i);
        if (site->has_weight) {
            PB_TRY(plan_site(m, site, &m->sites[i]));
        }
    }
    if (pb_model_get_config(m->model)->tied) {
        const pb_site *head      = pb_model_site(m->model, PB_SITE_HEAD, 0);
        const pb_site *embedding = pb_model_site(m->model, PB_SITE_EMBEDDING, 0);
        m->sites[head->index]    = m->sites[embedding->index];
    }
    return PB_OK;
}

static unsigned acts(const pb_method *m, const pb_site *site)
{
    (void)m;
    (void)site;
    return PB_ACTS_BOUND;
}

static pb_status bind(pb_method *m, pb_binding *bindings)
{
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        const pb_site *site        = pb_model_site_at(m->model, i);
        const pb_trainable *weight = site_trainable(m, site, 0);
        bindings[i].weight         = weight->value;
        bindings[i].dweight        = weight->grad;
        if (site->has_bias) {
            const pb_trainable *bias = site_trainable(m, site, 1);
            bindings[i].bias         = bias->value;
            bindings[i].dbias        = bias->grad;
        }
    }
    return PB_OK;
}

const pb_method_ops method_full = {
    .name = "full",
    .help = "full fine-tuning: every weight is trained",
    .plan = plan,
    .acts = acts,
    .bind = bind,
};
