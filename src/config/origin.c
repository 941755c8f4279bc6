// SPDX-License-Identifier: Apache-2.0
/* Where keys come from: the files and sets of a configuration, each kept once. */
#include "node.h"

#include "pb/memory.h"

#include <stdio.h>
#include <string.h>

void origin_release(node_origin *origin)
{
    if (origin != NULL && --origin->users == 0) {
        pb_memory_free(origin->label);
        pb_memory_free(origin->directory);
        pb_memory_free(origin);
    }
}

pb_status config_origin(pb_config *config, const char *label, const char *directory,
                        node_origin **out)
{
    for (int64_t i = 0; i < config->origin_count; i++) {
        node_origin *have = config->origins[i];
        if (strcmp(have->label, label) == 0 && strcmp(have->directory, directory) == 0) {
            *out = have;
            return PB_OK;
        }
    }
    PB_TRY(PB_GROW(config->origins, config->origin_count + 1));
    node_origin *origin = NULL;
    PB_TRY(PB_ALLOC(origin, 1));
    origin->users     = 1;
    origin->label     = pb_memory_text(label);
    origin->directory = pb_memory_text(directory);
    if (origin->label == NULL || origin->directory == NULL) {
        origin_release(origin);
        return PB_ERR_MEMORY;
    }
    config->origins[config->origin_count++] = origin;
    *out                                    = origin;
    return PB_OK;
}

void config_origins_clear(pb_config *config)
{
    for (int64_t i = 0; i < config->origin_count; i++) {
        origin_release(config->origins[i]);
    }
    pb_memory_free(config->origins);
}

const char *place_text(const node_origin *origin, int line, char text[PLACE_SIZE])
{
    if (line > 0) {
        snprintf(text, PLACE_SIZE, "%s:%d", origin->label, line);
    } else {
        snprintf(text, PLACE_SIZE, "%s", origin->label);
    }
    return text;
}
