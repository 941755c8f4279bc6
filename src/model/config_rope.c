// SPDX-License-Identifier: Apache-2.0
/* Rotary positions in config.json. transformers 4 writes rope_theta beside rope_scaling (null, or
 * an object with rope_type, formerly type); transformers 5 writes one object, rope_parameters, with
 * rope_theta inside. */
#include "config_read.h"

#include "pb/log.h"

#include <string.h>

#define THETA_DEFAULT 10000.0 /* of LlamaConfig, for files older than the key */
#define THETA_MAX     1e12
#define POSITIONS_MAX 1000000000

static pb_status check_keys(const json_t *rope, const char *section)
{
    static const char *const keys[] = {"rope_type",
                                       "type",
                                       "rope_theta",
                                       "factor",
                                       "low_freq_factor",
                                       "high_freq_factor",
                                       "partial_rotary_factor",
                                       "original_max_position_embeddings"};
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
    if (name == NULL) {
        return PB_FAIL(PB_ERR_FORMAT, "%s.rope_type is missing; add \"default\" or \"llama3\"",
                       section);
    }
    if (strcmp(name, "default") == 0) {
        *type = PB_ROPE_DEFAULT;
    } else if (strcmp(name, "llama3") == 0) {
        *type = PB_ROPE_LLAMA3;
    } else {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "%s.rope_type \"%.40s\" is not supported; default and llama3 are", section,
                       name);
    }
    return PB_OK;
}

static pb_status read_llama3(const json_t *rope, const char *section, pb_model_config *config)
{
    PB_TRY(pb_hf_number(rope, "factor", 1.0, 1e6, true, &config->rope_factor));
    PB_TRY(pb_hf_number(rope, "low_freq_factor", 1e-6, 1e6, true, &config->rope_low_freq));
    PB_TRY(pb_hf_number(rope, "high_freq_factor", 1e-6, 1e6, true, &config->rope_high_freq));
    PB_TRY(pb_hf_integer(rope, "original_max_position_embeddings", 1, POSITIONS_MAX, PB_HF_REQUIRED,
                         &config->rope_original_positions));
    if (config->rope_high_freq <= config->rope_low_freq) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: high_freq_factor %g is not above low_freq_factor %g; correct them",
                       section, config->rope_high_freq, config->rope_low_freq);
    }
    return PB_OK;
}

/* rope_theta beside or inside the object; both, when they differ, are a contradiction. */
static pb_status read_theta(const json_t *root, const json_t *rope, pb_model_config *config)
{
    double outer = 0.0;
    double inner = 0.0;
    PB_TRY(pb_hf_number(root, "rope_theta", 1.0, THETA_MAX, false, &outer));
    if (rope != NULL) {
        PB_TRY(pb_hf_number(rope, "rope_theta", 1.0, THETA_MAX, false, &inner));
    }
    if (outer > 0.0 && inner > 0.0 && outer != inner) {
        return PB_FAIL(PB_ERR_FORMAT, "rope_theta is given twice, %g and %g; remove one", outer,
                       inner);
    }
    config->rope_theta = inner > 0.0 ? inner : outer > 0.0 ? outer : THETA_DEFAULT;
    return PB_OK;
}

pb_status pb_hf_rope(const json_t *root, pb_model_config *config)
{
    const json_t *scaling    = json_object_get(root, "rope_scaling");
    const json_t *parameters = json_object_get(root, "rope_parameters");
    const char *section      = "rope_parameters";
    const json_t *rope       = parameters;

    scaling = json_is_null(scaling) ? NULL : scaling;
    rope    = json_is_null(rope) ? NULL : rope;
    if (scaling != NULL && rope != NULL &&
        !json_equal((json_t *)(uintptr_t)scaling, (json_t *)(uintptr_t)rope)) {
        return PB_FAIL(PB_ERR_FORMAT, "rope_scaling and rope_parameters differ; remove one");
    }
    if (rope == NULL) {
        section = "rope_scaling";
        rope    = scaling;
    }
    config->rope_type = PB_ROPE_DEFAULT;
    if (rope == NULL) {
        return read_theta(root, NULL, config);
    }
    if (!json_is_object(rope)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s is not an object; correct it", section);
    }
    PB_TRY(check_keys(rope, section));
    PB_TRY(read_type(rope, section, &config->rope_type));
    PB_TRY(read_theta(root, rope, config));
    if (config->rope_type == PB_ROPE_LLAMA3) {
        PB_TRY(read_llama3(rope, section, config));
    } else if (json_object_get(rope, "factor") != NULL) {
        pb_log0_warn("%s.factor has no effect with rope_type default and is not used", section);
    }
    return PB_OK;
}
