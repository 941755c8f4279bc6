// SPDX-License-Identifier: Apache-2.0
/* Rotary positions in config.json. transformers 4 writes rope_theta beside rope_scaling (null, or
 * an object with rope_type, formerly type); transformers 5 writes one object, rope_parameters, with
 * rope_theta inside. */
#include "config_read.h"

#include "pb/log.h"

#include <math.h>
#include <string.h>

#define THETA_MAX     1e12
#define POSITIONS_MAX 1000000000
#define OLD_POSITIONS "original_max_position_embeddings"

/* By pb_rope_type. */
static const char *const rope_types[] = {"default", "linear", "dynamic", "yarn", "llama3"};

const char *pb_rope_type_name(pb_rope_type type)
{
    return rope_types[type];
}

/* NULL when the key is missing or null. */
static const json_t *value_of(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    return json_is_null(value) ? NULL : value;
}

static pb_status check_keys(const json_t *rope, const char *section)
{
    static const char *const keys[] = {"rope_type",
                                       "type",
                                       "rope_theta",
                                       "factor",
                                       "low_freq_factor",
                                       "high_freq_factor",
                                       "partial_rotary_factor",
                                       "original_max_position_embeddings",
                                       "attention_factor",
                                       "beta_fast",
                                       "beta_slow",
                                       "truncate"};
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)(uintptr_t)rope, key, value)
    {
        size_t i = 0;
        while (i < sizeof keys / sizeof keys[0] && strcmp(key, keys[i]) != 0) {
            i++;
        }
        if (i == sizeof keys / sizeof keys[0] && !json_is_null(value)) {
            return PB_FAIL(PB_ERR_UNSUPPORTED, "%s.%.100s is not supported", section, key);
        }
    }
    double partial = 1.0;
    PB_TRY(pb_hf_number(rope, "partial_rotary_factor", 0.0, 1.0, false, &partial));
    if (partial != 1.0) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "%s.partial_rotary_factor is not 1, the only one "
                       "supported",
                       section);
    }
    return PB_OK;
}

static pb_status read_type(const json_t *rope, const char *section, pb_rope_type *type)
{
    const char *name = NULL;
    const char *old  = NULL;
    PB_TRY(pb_hf_text(rope, "rope_type", &name));
    PB_TRY(pb_hf_text(rope, "type", &old));
    if (name != NULL && old != NULL && strcmp(name, old) != 0) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: rope_type is \"%.40s\" but type is \"%.40s\"; remove one", section,
                       name, old);
    }
    if (name == NULL) {
        name = old;
    }
    if (name == NULL && value_of(rope, "factor") != NULL) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s.rope_type is missing; add the type of scaling that factor belongs to",
                       section);
    }
    name = name != NULL ? name : rope_types[PB_ROPE_DEFAULT];
    for (size_t i = 0; i < sizeof rope_types / sizeof rope_types[0]; i++) {
        if (strcmp(name, rope_types[i]) == 0) {
            *type = (pb_rope_type)i;
            return PB_OK;
        }
    }
    return PB_FAIL(PB_ERR_UNSUPPORTED,
                   "%s.rope_type \"%.40s\" is not supported; default, linear, dynamic, yarn and "
                   "llama3 are",
                   section, name);
}

/* The one beside the object wins over the one inside, as in transformers. */
static const json_t *positions_at(const json_t *root, const json_t *object)
{
    return value_of(root, OLD_POSITIONS) != NULL ? root : object;
}

static pb_status read_llama3(const json_t *root, const json_t *object, const char *section,
                             pb_rope_config *rope)
{
    PB_TRY(pb_hf_number(object, "low_freq_factor", 1e-6, 1e6, true, &rope->low_freq));
    PB_TRY(pb_hf_number(object, "high_freq_factor", 1e-6, 1e6, true, &rope->high_freq));
    PB_TRY(pb_hf_integer(positions_at(root, object), OLD_POSITIONS, 1, POSITIONS_MAX,
                         PB_HF_REQUIRED, &rope->original_positions));
    if (rope->high_freq <= rope->low_freq) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: high_freq_factor %g is not above low_freq_factor %g; correct them",
                       section, rope->high_freq, rope->low_freq);
    }
    return PB_OK;
}

/* The factor on cosine and sine, where the file names none, is that of the paper (Peng et al.,
 * "YaRN", arXiv 2309.00071): 0.1 ln(factor) + 1. */
static pb_status read_yarn(const json_t *root, const json_t *object, const char *section,
                           int64_t positions, pb_rope_config *rope)
{
    rope->beta_fast        = 32.0;
    rope->beta_slow        = 1.0;
    rope->attention_factor = rope->factor > 1.0 ? 0.1 * log(rope->factor) + 1.0 : 1.0;
    rope->truncate         = true;
    PB_TRY(pb_hf_integer(positions_at(root, object), OLD_POSITIONS, 1, POSITIONS_MAX, positions,
                         &rope->original_positions));
    PB_TRY(pb_hf_number(object, "attention_factor", 1e-6, 1e6, false, &rope->attention_factor));
    PB_TRY(pb_hf_number(object, "beta_fast", 1e-6, 1e6, false, &rope->beta_fast));
    PB_TRY(pb_hf_number(object, "beta_slow", 1e-6, 1e6, false, &rope->beta_slow));
    if (json_object_get(object, "truncate") != NULL) {
        PB_TRY(pb_hf_bool(object, "truncate", &rope->truncate));
    }
    if (rope->beta_fast < rope->beta_slow) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: beta_fast %g is below beta_slow %g; correct them",
                       section, rope->beta_fast, rope->beta_slow);
    }
    return PB_OK;
}

/* Keys of yarn are refused with other types, where they would have no effect. */
static pb_status refuse_yarn(const json_t *object, const char *section, pb_rope_type type)
{
    static const char *const keys[] = {"attention_factor", "beta_fast", "beta_slow", "truncate"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const json_t *value = json_object_get(object, keys[i]);
        if (value != NULL && !json_is_null(value)) {
            return PB_FAIL(PB_ERR_UNSUPPORTED, "%s.%s is not supported with rope_type %s", section,
                           keys[i], pb_rope_type_name(type));
        }
    }
    return PB_OK;
}

/* One object of rotary parameters: everything but theta. */
static pb_status read_scaling(const json_t *root, const json_t *object, const char *section,
                              const pb_model_config *c, pb_rope_config *rope)
{
    if (!json_is_object(object)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s is not an object; correct it", section);
    }
    PB_TRY(read_type(object, section, &rope->type));
    PB_TRY(check_keys(object, section));
    if (rope->type != PB_ROPE_YARN) {
        PB_TRY(refuse_yarn(object, section, rope->type));
    }
    if (rope->type == PB_ROPE_DEFAULT) {
        if (json_object_get(object, "factor") != NULL) {
            pb_log0_warn("%s.factor has no effect with rope_type default and is not used", section);
        }
        return PB_OK;
    }
    if (c->family->plain_rope) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "%s.rope_type \"%s\" is not one of %s; only default is",
                       section, pb_rope_type_name(rope->type), c->family->architecture);
    }
    PB_TRY(pb_hf_number(object, "factor", 1.0, 1e6, true, &rope->factor));
    if (rope->type == PB_ROPE_LLAMA3) {
        return read_llama3(root, object, section, rope);
    }
    if (rope->type == PB_ROPE_DYNAMIC) {
        rope->original_positions = c->max_positions;
    }
    return rope->type == PB_ROPE_YARN ? read_yarn(root, object, section, c->max_positions, rope)
                                      : PB_OK;
}

/* theta beside or inside the object; both, when they differ, are a contradiction. */
static pb_status read_theta(const json_t *root, const char *key, const json_t *object,
                            double absent, double *theta)
{
    double outer = 0.0;
    double inner = 0.0;
    PB_TRY(pb_hf_number(root, key, 1.0, THETA_MAX, false, &outer));
    if (object != NULL) {
        PB_TRY(pb_hf_number(object, "rope_theta", 1.0, THETA_MAX, false, &inner));
    }
    if (outer > 0.0 && inner > 0.0 && outer != inner) {
        return PB_FAIL(PB_ERR_FORMAT, "%s is given twice, %g and %g; remove one", key, outer,
                       inner);
    }
    *theta = inner > 0.0 ? inner : outer > 0.0 ? outer : absent;
    return PB_OK;
}

/* rope_parameters with an object for each type of layer. */
static pb_status read_two(const json_t *parameters, const json_t *root, pb_model_config *c)
{
    const json_t *full    = value_of(parameters, "full_attention");
    const json_t *sliding = value_of(parameters, "sliding_attention");
    if (full == NULL || sliding == NULL) {
        return PB_FAIL(
            PB_ERR_FORMAT,
            "rope_parameters lacks full_attention or sliding_attention; %s has an object "
            "for each of them there",
            c->family->architecture);
    }
    PB_TRY(read_scaling(root, full, "rope_parameters.full_attention", c, &c->rope));
    PB_TRY(read_scaling(root, sliding, "rope_parameters.sliding_attention", c, &c->rope_sliding));
    PB_TRY(read_theta(root, "rope_theta", full, c->family->rope_theta, &c->rope.theta));
    return read_theta(root, "rope_local_base_freq", sliding, c->family->rope_theta_sliding,
                      &c->rope_sliding.theta);
}

pb_status pb_hf_rope(const json_t *root, pb_model_config *config)
{
    const json_t *scaling    = value_of(root, "rope_scaling");
    const json_t *parameters = value_of(root, "rope_parameters");
    const char *section      = parameters != NULL ? "rope_parameters" : "rope_scaling";
    const json_t *object     = parameters != NULL ? parameters : scaling;
    const pb_family *f       = config->family;

    config->rope         = (pb_rope_config){.factor = 1.0, .attention_factor = 1.0};
    config->rope_sliding = config->rope;
    config->two_ropes    = f->rope_theta_sliding > 0.0;
    if (scaling != NULL && parameters != NULL &&
        !json_equal((json_t *)(uintptr_t)scaling, (json_t *)(uintptr_t)parameters)) {
        return PB_FAIL(PB_ERR_FORMAT, "rope_scaling and rope_parameters differ; remove one");
    }
    if (config->two_ropes && parameters != NULL) {
        return read_two(parameters, root, config);
    }
    if (object != NULL) {
        PB_TRY(read_scaling(root, object, section, config, &config->rope));
    }
    PB_TRY(read_theta(root, "rope_theta", object, f->rope_theta, &config->rope.theta));
    if (!config->two_ropes) {
        config->rope_sliding = config->rope;
        return PB_OK;
    }
    return read_theta(root, "rope_local_base_freq", NULL, f->rope_theta_sliding,
                      &config->rope_sliding.theta);
}
