// SPDX-License-Identifier: Apache-2.0
/* Which layers attend within a window. transformers 5 writes layer_types, a name per layer; earlier
 * versions had a rule per family. */
#include "config_read.h"

#include <inttypes.h>
#include <string.h>

#define WINDOW_MAX 1000000000

/* layer_types: a list of "full_attention" and "sliding_attention", one for each layer. */
static pb_status read_types(const json_t *list, pb_model_config *config)
{
    if (!json_is_array(list) || json_array_size(list) != (size_t)config->layers) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "layer_types is not a list of %" PRId64 " names, one for each layer",
                       config->layers);
    }
    for (int64_t l = 0; l < config->layers; l++) {
        const char *type   = json_string_value(json_array_get(list, (size_t)l));
        config->sliding[l] = type != NULL && strcmp(type, "sliding_attention") == 0;
        if (type == NULL || (!config->sliding[l] && strcmp(type, "full_attention") != 0)) {
            return PB_FAIL(PB_ERR_UNSUPPORTED,
                           "layer_types: entry %" PRId64
                           " is neither \"full_attention\" nor \"sliding_attention\"",
                           l);
        }
    }
    return PB_OK;
}

/* The rules from before layer_types. */
static pb_status apply_rule(const json_t *root, pb_model_config *config)
{
    const pb_family *f = config->family;
    int64_t number     = 0;
    bool used          = false;
    switch (f->window_rule) {
    case WINDOW_NEVER:
        break;
    case WINDOW_ALL:
        for (int64_t l = 0; l < config->layers; l++) {
            config->sliding[l] = true;
        }
        break;
    case WINDOW_FROM_LAYER:
        PB_TRY(hf_bool(root, "use_sliding_window", &used));
        PB_TRY(hf_integer(root, "max_window_layers", 0, INT64_C(1000000), 28, &number));
        for (int64_t l = 0; used && l < config->layers; l++) {
            config->sliding[l] = l >= number;
        }
        break;
    case WINDOW_PATTERN:
        PB_TRY(hf_integer(root, "sliding_window_pattern", 1, PB_MODEL_LAYERS_MAX, f->window_pattern,
                          &number));
        for (int64_t l = 0; l < config->layers; l++) {
            config->sliding[l] = (l + 1) % number != 0;
        }
        break;
    }
    return PB_OK;
}

static bool any_slides(const pb_model_config *config)
{
    for (int64_t l = 0; l < config->layers; l++) {
        if (config->sliding[l]) {
            return true;
        }
    }
    return false;
}

/* Where a family has one rule for all layers, its own configuration has no list, and no other
 * program would read a mixed one. */
static pb_status check_types(const pb_model_config *config)
{
    for (int64_t l = 1; l < config->layers; l++) {
        if (config->family->window_rule == WINDOW_ALL && config->sliding[l] != config->sliding[0]) {
            return PB_FAIL(PB_ERR_UNSUPPORTED,
                           "layer_types differ, but all layers of %s are of one type",
                           config->family->architecture);
        }
    }
    return PB_OK;
}

/* Families without windows: a window in use is refused by name. */
static pb_status refuse_window(const json_t *root, const pb_model_config *config)
{
    const json_t *window = hf_value(root, "sliding_window");
    const json_t *used   = json_object_get(root, "use_sliding_window");
    bool ignored         = false;
    PB_TRY(hf_bool(root, "use_sliding_window", &ignored)); /* its type alone */
    if (any_slides(config) || json_is_true(used) || (window != NULL && !json_is_false(used))) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "sliding_window, use_sliding_window or layer_types ask for attention within "
                       "a window, and %s has none; set them to null or false",
                       config->family->architecture);
    }
    return PB_OK;
}

pb_status hf_windows(const json_t *root, pb_model_config *config)
{
    const pb_family *f  = config->family;
    const json_t *types = hf_value(root, "layer_types");
    const json_t *given = json_object_get(root, "sliding_window");
    if (types != NULL) {
        PB_TRY(read_types(types, config));
        PB_TRY(check_types(config));
    } else {
        PB_TRY(apply_rule(root, config));
    }
    if (f->window_rule == WINDOW_NEVER) {
        return refuse_window(root, config);
    }
    config->window = given != NULL ? 0 : f->window;
    PB_TRY(hf_integer(root, "sliding_window", 1, WINDOW_MAX, config->window, &config->window));
    if (config->window == 0 && f->rope_theta_sliding > 0.0 && any_slides(config)) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "sliding_window is null, but some layers slide; give it, or make all "
                       "layer_types \"full_attention\"");
    }
    if (config->window == 0 || !any_slides(config)) {
        config->window = 0;
        memset(config->sliding, 0, sizeof config->sliding);
    }
    return PB_OK;
}

int64_t pb_model_window(const pb_model_config *config, int64_t layer)
{
    return config->sliding[layer] ? config->window : 0;
}
