// SPDX-License-Identifier: Apache-2.0
/* Rotary positions in config.json. transformers 4 writes rope_theta beside rope_scaling (null, or
 * an object with rope_type, formerly type); transformers 5 writes one object, rope_parameters, with
 * rope_theta inside. Each spelling is read whole; where both are present, their meanings are
 * compared, not their texts. */
#include "config_read.h"

#include "pb/log.h"
#include "pb/string.h"
#include "pb/utf8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define THETA_MAX     1e12
#define POSITIONS_MAX 1000000000
#define OLD_KEY       "rope_scaling"
#define NEW_KEY       "rope_parameters"
#define OLD_POSITIONS "original_max_position_embeddings"

/* By pb_rope_type. */
static const char *const rope_types[] = {"default", "linear", "dynamic", "yarn", "llama3"};

const char *rope_type_name(pb_rope_type type)
{
    return rope_types[type];
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
                                       "truncate",
                                       NULL};
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)(uintptr_t)rope, key, value)
    {
        if (!pb_string_is_in(key, keys) && !json_is_null(value)) {
            return PB_FAIL(PB_ERR_UNSUPPORTED, "%s.%.*s is not supported", section,
                           PB_FIT(key, 100));
        }
    }
    double partial = 1.0;
    PB_TRY(hf_number(rope, "partial_rotary_factor", 0.0, 1.0, false, &partial));
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
    PB_TRY(hf_text(rope, "rope_type", &name));
    PB_TRY(hf_text(rope, "type", &old));
    if (name != NULL && old != NULL && strcmp(name, old) != 0) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: rope_type is \"%.*s\" but type is \"%.*s\"; remove one",
                       section, PB_FIT(name, 40), PB_FIT(old, 40));
    }
    if (name == NULL) {
        name = old;
    }
    if (name == NULL && hf_value(rope, "factor") != NULL) {
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
                   "%s.rope_type \"%.*s\" is not supported; default, linear, dynamic, yarn and "
                   "llama3 are",
                   section, PB_FIT(name, 40));
}

/* The positions of the original training; the key beside the object takes precedence over the one
 * inside, as in transformers. Some writers store 8192.0. */
static pb_status read_positions(const json_t *root, const json_t *object, int64_t absent,
                                int64_t *out)
{
    const json_t *at    = hf_value(root, OLD_POSITIONS) != NULL ? root : object;
    const json_t *value = hf_value(at, OLD_POSITIONS);
    double number       = json_real_value(value);
    if (json_is_real(value) && number >= 1.0 && number <= POSITIONS_MAX &&
        floor(number) == number) {
        *out = (int64_t)number;
        return PB_OK;
    }
    return hf_integer(at, OLD_POSITIONS, 1, POSITIONS_MAX, absent, out);
}

static pb_status read_llama3(const json_t *root, const json_t *object, const char *section,
                             pb_rope_config *rope)
{
    PB_TRY(hf_number(object, "low_freq_factor", 1e-6, 1e6, true, &rope->low_freq));
    PB_TRY(hf_number(object, "high_freq_factor", 1e-6, 1e6, true, &rope->high_freq));
    PB_TRY(read_positions(root, object, HF_REQUIRED, &rope->original_positions));
    if (rope->high_freq <= rope->low_freq) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: high_freq_factor %g is not above low_freq_factor %g; correct them",
                       section, rope->high_freq, rope->low_freq);
    }
    return PB_OK;
}

/* The default factor on cosine and sine is that of the paper (Peng et al., "YaRN", arXiv
 * 2309.00071): 0.1 ln(factor) + 1. */
static pb_status read_yarn(const json_t *root, const json_t *object, const char *section,
                           int64_t positions, pb_rope_config *rope)
{
    rope->beta_fast        = 32.0;
    rope->beta_slow        = 1.0;
    rope->attention_factor = rope->factor > 1.0 ? 0.1 * log(rope->factor) + 1.0 : 1.0;
    rope->truncate         = true;
    PB_TRY(read_positions(root, object, positions, &rope->original_positions));
    PB_TRY(hf_number(object, "attention_factor", 1e-6, 1e6, false, &rope->attention_factor));
    PB_TRY(hf_number(object, "beta_fast", 1e-6, 1e6, false, &rope->beta_fast));
    PB_TRY(hf_number(object, "beta_slow", 1e-6, 1e6, false, &rope->beta_slow));
    if (json_object_get(object, "truncate") != NULL) {
        PB_TRY(hf_bool(object, "truncate", &rope->truncate));
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
        if (hf_value(object, keys[i]) != NULL) {
            return PB_FAIL(PB_ERR_UNSUPPORTED, "%s.%s is not supported with rope_type %s", section,
                           keys[i], rope_type_name(type));
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
        if (hf_value(object, "factor") != NULL) {
            pb_log0_warn("%s.factor has no effect with rope_type default and is not used", section);
        }
        return PB_OK;
    }
    if (c->family->plain_rope) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "%s.rope_type \"%s\" is not one of %s; only default is",
                       section, rope_type_name(rope->type), c->family->architecture);
    }
    PB_TRY(hf_number(object, "factor", 1.0, 1e6, true, &rope->factor));
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
    PB_TRY(hf_number(root, key, 1.0, THETA_MAX, false, &outer));
    if (object != NULL) {
        PB_TRY(hf_number(object, "rope_theta", 1.0, THETA_MAX, false, &inner));
    }
    if (outer > 0.0 && inner > 0.0 && outer != inner) {
        return PB_FAIL(PB_ERR_FORMAT, "%s is given twice, %g and %g; remove one", key, outer,
                       inner);
    }
    *theta = inner > 0.0 ? inner : outer > 0.0 ? outer : absent;
    return PB_OK;
}

/* What one spelling says: of all layers or the full ones, and of the sliding ones. */
typedef struct two_ropes {
    pb_rope_config full, sliding;
} two_ropes;

/* An object for each type of layer. */
static bool is_by_layer(const json_t *object)
{
    return hf_value(object, "full_attention") != NULL ||
           hf_value(object, "sliding_attention") != NULL;
}

static pb_status read_by_layer(const json_t *root, const json_t *object, const char *key,
                               const pb_model_config *c, two_ropes *out)
{
    const struct {
        const char *layers, *theta;
        double theta_absent;
        pb_rope_config *rope;
    } parts[] = {
        {"full_attention", "rope_theta", c->family->rope_theta, &out->full},
        {"sliding_attention", "rope_local_base_freq", c->family->rope_theta_sliding, &out->sliding},
    };
    size_t known = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char section[64];
        const json_t *part = hf_value(object, parts[i].layers);
        known += json_object_get(object, parts[i].layers) != NULL;
        snprintf(section, sizeof section, "%s.%s", key, parts[i].layers);
        if (part != NULL) {
            PB_TRY(read_scaling(root, part, section, c, parts[i].rope));
        }
        PB_TRY(
            read_theta(root, parts[i].theta, part, parts[i].theta_absent, &parts[i].rope->theta));
    }
    if (json_object_size(object) != known) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "%s: keys beside full_attention and sliding_attention are not supported; "
                       "put them into these two",
                       key);
    }
    return PB_OK;
}

/* All that the spelling `key` says; an absent or empty object leaves the defaults. */
static pb_status read_spelling(const json_t *root, const char *key, const pb_model_config *c,
                               two_ropes *out)
{
    const json_t *object = hf_value(root, key);
    const pb_family *f   = c->family;

    out->full    = (pb_rope_config){.factor = 1.0, .attention_factor = 1.0};
    out->sliding = out->full;
    if (c->two_ropes && object != NULL && is_by_layer(object)) {
        return read_by_layer(root, object, key, c, out);
    }
    if (c->two_ropes && object != NULL && strcmp(key, NEW_KEY) == 0) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s lacks full_attention and sliding_attention; %s has an object for each "
                       "of them there",
                       key, f->architecture);
    }
    if (object != NULL) {
        PB_TRY(read_scaling(root, object, key, c, &out->full));
    }
    PB_TRY(read_theta(root, "rope_theta", object, f->rope_theta, &out->full.theta));
    if (!c->two_ropes) {
        out->sliding = out->full;
        return PB_OK;
    }
    return read_theta(root, "rope_local_base_freq", NULL, f->rope_theta_sliding,
                      &out->sliding.theta);
}

/* A scaling by 1 leaves every frequency unchanged, whatever its type. */
static pb_rope_type effective_type(const pb_rope_config *r)
{
    bool scales = r->factor != 1.0 || r->attention_factor != 1.0 || r->type == PB_ROPE_DYNAMIC;
    return scales ? r->type : PB_ROPE_DEFAULT;
}

static pb_status compare_ropes(const pb_rope_config *old, const pb_rope_config *new,
                               const char *layers)
{
    const struct {
        const char *key;
        double old, new;
    } values[] = {
        {"rope_theta", old->theta, new->theta},
        {"factor", old->factor, new->factor},
        {"low_freq_factor", old->low_freq, new->low_freq},
        {"high_freq_factor", old->high_freq, new->high_freq},
        {"attention_factor", old->attention_factor, new->attention_factor},
        {"beta_fast", old->beta_fast, new->beta_fast},
        {"beta_slow", old->beta_slow, new->beta_slow},
        {"truncate", old->truncate, new->truncate},
        {OLD_POSITIONS, (double)old->original_positions, (double)new->original_positions},
    };
    pb_rope_type type = effective_type(old);
    if (type != effective_type(new)) {
        return PB_FAIL(PB_ERR_FORMAT,
                       OLD_KEY " and " NEW_KEY " differ%s: rope_type is \"%s\" in the one and "
                               "\"%s\" in the other; remove one",
                       layers, rope_type_name(old->type), rope_type_name(new->type));
    }
    /* Only the first matters where nothing is scaled. */
    size_t count = type == PB_ROPE_DEFAULT ? 1 : sizeof values / sizeof values[0];
    for (size_t i = 0; i < count; i++) {
        if (values[i].old != values[i].new) {
            return PB_FAIL(PB_ERR_FORMAT,
                           OLD_KEY " and " NEW_KEY " differ%s: %s is %.17g in the one and %.17g in "
                                   "the other; remove one",
                           layers, values[i].key, values[i].old, values[i].new);
        }
    }
    return PB_OK;
}

static bool is_given(const json_t *root, const char *key)
{
    const json_t *value = hf_value(root, key);
    return value != NULL && !(json_is_object(value) && json_object_size(value) == 0);
}

/* One file may have both spellings when they mean the same. An empty object has no effect, as in
 * transformers. */
pb_status hf_rope(const json_t *root, pb_model_config *config)
{
    two_ropes old = {0};
    two_ropes new = {0};
    bool has_old  = is_given(root, OLD_KEY);
    bool has_new  = is_given(root, NEW_KEY);

    config->two_ropes = config->family->rope_theta_sliding > 0.0;
    if (has_old || !has_new) {
        PB_TRY(read_spelling(root, OLD_KEY, config, &old));
    }
    if (has_new) {
        PB_TRY(read_spelling(root, NEW_KEY, config, &new));
    }
    if (has_old && has_new) {
        const char *layers = config->two_ropes ? " for full_attention" : "";
        PB_TRY(compare_ropes(&old.full, &new.full, layers));
        PB_TRY(compare_ropes(&old.sliding, &new.sliding, " for sliding_attention"));
    }
    config->rope         = has_new ? new.full : old.full;
    config->rope_sliding = has_new ? new.sliding : old.sliding;
    return PB_OK;
}
