// SPDX-License-Identifier: Apache-2.0
/* (IA)³ (Liu et al., "Few-shot parameter-efficient fine-tuning is better and cheaper than
 * in-context learning", NeurIPS 2022).
 *
 *     attention:     y = l ⊙ (W x + b),   l [out, 1]
 *     feed-forward:  y = W (l ⊙ x) + b,   l [1, in]
 *
 * l starts at one. feedforward_side = "output" treats the feed-forward targets as the others, which
 * is what the published PEFT-Bench runs did. */
#include "low_rank.h"

#include <string.h>

#define WORD_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

enum { SIDE_INPUT, SIDE_OUTPUT };

static const char *const sides[] = {"input", "output", NULL};

typedef struct ia3_options {
    method_targets where;
    pb_config_list feedforward;
    char *feedforward_pattern;
    int feedforward_side;
} ia3_options;

static const pb_config_field fields[] = {
    TARGET_FIELDS("k_proj v_proj down_proj",
                  "linear modules to scale, by the end of their path; \"" ALL_LINEAR
                  "\": all of a layer"),
    PB_FIELD_TEXT_LIST(ia3_options, feedforward, "down_proj",
                       "those of the targets that are feed-forward modules"),
    PB_FIELD_TEXTS(PB_CONFIG_TEXT, PB_KEPT_BEFORE, ia3_options, feedforward_pattern, "",
                   "in place of feedforward: a regular expression (Python's) for the path"),
    PB_FIELD_CHOICE(ia3_options, feedforward_side, SIDE_INPUT, sides,
                    "where a feed-forward module is scaled"),
    PB_FIELD_END,
};

/* Whether the site is a feed-forward module that is scaled at its input. HF compares only the end
 * of the path here, with no dot before it required. */
static pb_status is_feedforward(const pb_method *m, const pb_site *site, bool *is)
{
    const ia3_options *o = m->options;
    *is                  = false;
    if (o->feedforward_side == SIDE_OUTPUT) {
        return PB_OK;
    }
    if (*o->feedforward_pattern != '\0') {
        return method_at(m, "feedforward_pattern", -1,
                         method_matches(m, "", o->feedforward_pattern, "", site->hf_name, is));
    }
    for (int64_t i = 0; i < o->feedforward.count && !*is; i++) {
        *is = pb_string_ends(site->hf_name, o->feedforward.items[i]);
    }
    return PB_OK;
}

static bool scales_input(const pb_method *m, const pb_site *site)
{
    return site_trainable(m, site, 0)->shape[0] == 1;
}

/* As in HF, listed feed-forward modules are some of the listed targets. */
static pb_status check_feedforward(const pb_method *m)
{
    const ia3_options *o = m->options;
    bool listed          = o->feedforward_side == SIDE_INPUT && *o->feedforward_pattern == '\0' &&
                  *o->where.target_pattern == '\0';
    for (int64_t i = 0; listed && i < o->feedforward.count; i++) {
        const char *module = o->feedforward.items[i];
        bool any           = false;
        for (int64_t s = 0; s < pb_model_site_count(m->model) && *module != '\0'; s++) {
            any = any || (m->sites[s] >= 0 &&
                          pb_string_ends(pb_model_site_at(m->model, s)->hf_name, module));
        }
        if (!any) {
            return method_at(m, "feedforward", i,
                             PB_FAIL(PB_ERR_CONFIG,
                                     "ia3: feedforward \"%s\" is not among the targets; add "
                                     "it to targets, or leave it out of feedforward",
                                     module));
        }
    }
    return PB_OK;
}

static pb_status plan_site(pb_method *m, const pb_site *site)
{
    bool input = false;
    PB_TRY(is_feedforward(m, site, &input));
    pb_trainable l = {
        .ndim = 2, .shape = {input ? 1 : site->out, input ? site->in : 1}, .init = PB_INIT_ONE};
    PB_TRY(trainable_name(&l, "base_model.model.%s.ia3_l", site->hf_name));
    return pb_method_declare(m, &l, NULL);
}

static pb_status plan(pb_method *m)
{
    const ia3_options *o = m->options;
    PB_TRY(method_check_either(m, "feedforward", &o->feedforward, "feedforward_pattern",
                               o->feedforward_pattern));
    PB_TRY(method_plan_sites(m, PB_SITE_LINEAR, plan_site));
    return check_feedforward(m);
}

static unsigned acts(const pb_method *m, const pb_site *site)
{
    if (site_trainable(m, site, 0) == NULL) {
        return 0;
    }
    return scales_input(m, site) ? PB_ACTS_ON_INPUT : PB_ACTS_ON_OUTPUT;
}

static pb_tensor vector(const pb_method *m, const pb_site *site)
{
    return method_flat(&site_trainable(m, site, 0)->value);
}

static pb_tensor gradient(const pb_method *m, const pb_site *site)
{
    return method_flat(&site_trainable(m, site, 0)->grad);
}

static pb_status input_forward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                               pb_tensor *xout, const pb_tensor *x)
{
    (void)ctx;
    pb_tensor l = vector(m, site);
    return pb_column_scale_forward(m->backend, xout, x, &l);
}

static pb_status input_backward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                                pb_tensor *dx, const pb_tensor *x)
{
    (void)ctx;
    pb_tensor l  = vector(m, site);
    pb_tensor dl = gradient(m, site);
    return pb_column_scale_backward(m->backend, dx, &dl, dx, x, &l);
}

/* kept: y before the scaling. */
static int64_t kept_width(const pb_method *m, const pb_site *site)
{
    return acts(m, site) == PB_ACTS_ON_OUTPUT ? site->out : 0;
}

static pb_status output_forward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                                pb_tensor *y, const pb_tensor *x, pb_tensor *kept)
{
    (void)ctx;
    (void)x;
    pb_tensor l = vector(m, site);
    PB_TRY(pb_copy(m->backend, kept, y));
    return pb_column_scale_forward(m->backend, y, kept, &l);
}

static pb_status output_backward(pb_method *m, const pb_site *site, const pb_site_context *ctx,
                                 pb_tensor *dy, pb_tensor *dx, const pb_tensor *x,
                                 const pb_tensor *kept)
{
    (void)ctx;
    (void)dx;
    (void)x;
    pb_tensor l  = vector(m, site);
    pb_tensor dl = gradient(m, site);
    return pb_column_scale_backward(m->backend, dy, &dl, dy, kept, &l);
}

/* W diag(l), or diag(l) W and diag(l) b. */
static pb_status merge(pb_method *m, const pb_site *site, pb_tensor *weight, pb_tensor *bias)
{
    pb_tensor l = vector(m, site);
    if (scales_input(m, site)) {
        return pb_column_scale_forward(m->backend, weight, weight, &l);
    }
    PB_TRY(scale_rows(m, weight, &l));
    if (pb_tensor_is_none(bias)) {
        return PB_OK;
    }
    pb_tensor row = pb_tensor_2d(bias->data, PB_DTYPE_F32, 1, site->out);
    return pb_column_scale_forward(m->backend, &row, &row, &l);
}

static const char adapter_keys[] =
    "fan_in_fan_out feedforward_modules init_ia3_weights merge_weights target_modules";

/* HF refuses a list of feed-forward modules unless each is, word for word, in the list of
 * targets. */
static bool needs_paths(const pb_method *m)
{
    const ia3_options *o = m->options;
    bool listed =
        *o->where.target_pattern == '\0' && strcmp(o->where.targets.items[0], ALL_LINEAR) != 0;
    bool all = true;
    for (int64_t i = 0; i < o->feedforward.count && all; i++) {
        all = false;
        for (int64_t k = 0; k < o->where.targets.count && !all; k++) {
            all = strcmp(o->feedforward.items[i], o->where.targets.items[k]) == 0;
        }
    }
    return targets_are_narrowed(m) || (listed && !all);
}

static void config_write(const pb_method *m, pb_json *json)
{
    const ia3_options *o = m->options;
    const char *pattern  = o->feedforward_pattern;
    bool input           = o->feedforward_side == SIDE_INPUT;
    pb_json_put_bool(json, "fan_in_fan_out", false);
    pb_json_put_bool(json, "init_ia3_weights", true);
    if (input && *pattern == '\0' && needs_paths(m)) {
        targets_write_paths(m, "feedforward_modules", scales_input, json);
        targets_write_paths(m, "target_modules", NULL, json);
        return;
    }
    if (input && *pattern != '\0') {
        pb_json_put_text(json, "feedforward_modules", pattern);
    } else {
        pb_json_put_texts(json, "feedforward_modules", o->feedforward.items,
                          input ? o->feedforward.count : 0);
    }
    targets_write(m, json);
}

/* HF's default, down_proj, need not be a target. */
static bool may_be_target(const ia3_options *o, const char *module)
{
    bool any = *o->where.target_pattern != '\0';
    for (int64_t i = 0; i < o->where.targets.count; i++) {
        const char *target = o->where.targets.items[i];
        any = any || pb_string_ends(target, module) || strcmp(target, ALL_LINEAR) == 0;
    }
    return any;
}

/* Absent: HF takes the module of the architecture, the default here. A text is a regular expression
 * for the whole path. */
static pb_status feedforward_read(ia3_options *o, const pb_adapter_config *c)
{
    const json_t *value = json_object_get(c->json, "feedforward_modules");
    const char *word    = json_string_value(value);
    bool absent         = value == NULL || json_is_null(value);
    if (word != NULL && strspn(word, WORD_LETTERS) == strlen(word)) {
        o->feedforward_side = SIDE_OUTPUT; /* no path is a word alone */
        return PB_OK;
    }
    if (absent ? !may_be_target(o, o->feedforward.items[0])
               : json_is_array(value) && json_array_size(value) == 0) {
        o->feedforward_side = SIDE_OUTPUT;
        return PB_OK;
    }
    return adapter_text_or_list(c, "feedforward_modules", &o->feedforward_pattern, &o->feedforward);
}

static pb_status config_read(void *options, const pb_adapter_config *c)
{
    static const char *const refused[] = {"fan_in_fan_out", NULL};
    ia3_options *o                     = options;
    PB_TRY(adapter_refuse(c, refused));
    PB_TRY(targets_read(c, &o->where));
    return feedforward_read(o, c);
}

/* One product per scaled element. */
static double extra_flops(const pb_method *m, int64_t tokens)
{
    return (double)tokens * (double)m->parameters;
}

const pb_method_ops method_ia3 = {
    .name                   = "ia3",
    .help                   = "a learned scale of keys, values and feed-forward inputs",
    .options_size           = sizeof(ia3_options),
    .fields                 = fields,
    .plan                   = plan,
    .acts                   = acts,
    .linear_input_forward   = input_forward,
    .linear_input_backward  = input_backward,
    .linear_output_forward  = output_forward,
    .linear_output_backward = output_backward,
    .kept_width             = kept_width,
    .merge                  = merge,
    .extra_flops            = extra_flops,
    .peft_type              = "IA3",
    .adapter_keys           = adapter_keys,
    .adapter_config_write   = config_write,
    .adapter_config_read    = config_read,
};
