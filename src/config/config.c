// SPDX-License-Identifier: Apache-2.0
/* Open configurations: opened from a file or a text, queried for groups and keys, merged. */
#include "node.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <stdio.h>
#include <string.h>

#define MAX_FILE_BYTES (1u << 20)

void pb_config_close(pb_config *config)
{
    if (config == NULL) {
        return;
    }
    node_destroy(config->root);
    config_origins_clear(config);
    pb_memory_free(config);
}

pb_status config_create(const char *label, const char *directory, pb_config **out)
{
    pb_config *config   = NULL;
    node_origin *origin = NULL;
    pb_status status    = PB_OK;
    PB_TRY(PB_ALLOC(config, 1));
    PB_TRY_GOTO(status, config_origin(config, label, directory, &origin), fail);
    PB_TRY_GOTO(status, node_create(NULL, NODE_GROUP, origin, 0, &config->root), fail);
    *out = config;
    return PB_OK;
fail:
    pb_config_close(config);
    return status;
}

static pb_status read_text(const char *text, size_t size, const char *label, const char *directory,
                           pb_config **out)
{
    pb_config *config  = NULL;
    text_source source = {0};
    pb_status status   = PB_OK;
    PB_TRY(config_create(label, directory, &config));
    PB_TRY_GOTO(status, config_source_scan(config, config->origins[0], text, size, true, &source),
                fail);
    PB_TRY_GOTO(status, config_source_parse(&source, config->root), fail);
    config_source_clear(&source);
    *out = config;
    return PB_OK;
fail:
    config_source_clear(&source);
    pb_config_close(config);
    return status;
}

pb_status pb_config_open(const char *path, pb_config **out)
{
    pb_string text   = {0};
    char *directory  = NULL;
    pb_status status = PB_OK;
    PB_TRY(pb_file_read(path, MAX_FILE_BYTES, &text));
    PB_TRY_GOTO(status, pb_path_directory(path, &directory), done);
    status = read_text(text.data == NULL ? "" : text.data, text.length, path, directory, out);
done:
    pb_memory_free(directory);
    pb_string_clear(&text);
    return status;
}

pb_status pb_config_parse(const char *text, const char *name, pb_config **out)
{
    return read_text(text, strlen(text), name, ".", out);
}

const char *pb_config_path(const pb_config *config)
{
    return config->origins[0]->label;
}

const char *pb_config_where(const pb_config *config, const char *key, char *text, size_t size)
{
    const config_node *node = node_find(config->root, key);
    char place[PLACE_SIZE];
    snprintf(text, size, "%s", node_where(node != NULL ? node : config->root, place));
    return text;
}

pb_status pb_config_at(const pb_config *config, const char *group, const char *key, int64_t index,
                       pb_status status)
{
    char place[PLACE_SIZE];
    if (config == NULL || status == PB_OK) {
        return status;
    }
    /* A single value may stand for a list of one, and a default has no place of its own: then the
     * group's. */
    const config_node *node  = node_find(config->root, group);
    const config_node *value = NULL;
    if (node != NULL && node->kind == NODE_GROUP) {
        value = node_child(node, key, strlen(key));
    }
    if (value != NULL && value->kind == NODE_LIST && index >= 0 && index < value->count) {
        value = value->children[index];
    }
    node = value != NULL ? value : node != NULL ? node : config->root;
    return pb_error_prefix(status, "%s", node_where(node, place));
}

bool pb_config_has(const pb_config *config, const char *key)
{
    return node_find(config->root, key) != NULL;
}

bool pb_config_shares(const pb_config *a, const pb_config *b, const char *group)
{
    return node_find(a->root, group) == node_find(b->root, group);
}

int64_t pb_config_length(const pb_config *config, const char *group)
{
    const config_node *node = node_find(config->root, group);
    return node == NULL ? 0 : node->count;
}

pb_status pb_config_key(const pb_config *config, const char *group, int64_t index,
                        const char **name)
{
    config_node *node = NULL;
    PB_TRY(node_find_group(config->root, group, &node));
    *name = node != NULL && index >= 0 && index < node->count ? node->children[index]->name : NULL;
    return PB_OK;
}

pb_status pb_config_groups(const pb_config *config, const char *key, int64_t *count)
{
    char place[PLACE_SIZE];
    const config_node *node = node_find(config->root, key);
    const config_node *bad  = node != NULL && node->kind != NODE_LIST ? node : NULL;
    for (int64_t i = 0; node != NULL && bad == NULL && i < node->count; i++) {
        bad = node->children[i]->kind != NODE_GROUP ? node->children[i] : NULL;
    }
    if (bad != NULL) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: %s is a list of groups: ( { … }, { … } );",
                       node_where(bad, place), key);
    }
    *count = node == NULL ? 0 : node->count;
    return PB_OK;
}

/* The group at the first `length` bytes of a path, to be changed, with all groups above it. */
static pb_status make_group(pb_config *config, const char *path, size_t length,
                            const config_node *like, config_node **out)
{
    const char *end = path + length;
    *out            = config->root;
    while (path < end) {
        size_t part = strcspn(path, ".");
        PB_TRY(node_group(*out, path, part, like, out));
        path += part + (path[part] == '.');
    }
    return PB_OK;
}

pb_status pb_config_merge(pb_config *dst, const char *to, const pb_config *src, const char *from)
{
    const char *dot    = strrchr(to, '.');
    const char *name   = dot != NULL ? dot + 1 : to;
    config_node *group = NULL;
    config_node *into  = NULL;
    PB_TRY(node_find_group(src->root, from, &group));
    if (group == NULL) {
        return PB_OK;
    }
    if (*to != '\0' && node_find(dst->root, to) == NULL && group->name != NULL &&
        strcmp(group->name, name) == 0) { /* shared as a whole */
        PB_TRY(make_group(dst, to, dot != NULL ? (size_t)(dot - to) : 0, group, &into));
        return node_put(into, group);
    }
    PB_TRY(make_group(dst, to, strlen(to), group, &into));
    for (int64_t i = 0; i < group->count; i++) {
        PB_TRY(node_put(into, group->children[i]));
    }
    return PB_OK;
}
