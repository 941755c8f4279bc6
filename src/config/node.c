// SPDX-License-Identifier: Apache-2.0
/* Nodes of the configuration tree: making, finding, merging. */
#include "node.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

pb_status node_create(const char *name, node_kind kind, node_origin *origin, int line,
                      config_node **out)
{
    config_node *node = NULL;
    PB_TRY(PB_ALLOC(node, 1));
    node->users  = 1;
    node->kind   = kind;
    node->origin = origin;
    node->line   = line;
    origin->users++;
    if (name != NULL) {
        node->name = pb_memory_text(name);
        if (node->name == NULL) {
            node_destroy(node);
            return PB_ERR_MEMORY;
        }
    }
    *out = node;
    return PB_OK;
}

void node_destroy(config_node *node)
{
    if (node == NULL || --node->users > 0) {
        return;
    }
    origin_release(node->origin);
    for (int64_t i = 0; i < node->count; i++) {
        node_destroy(node->children[i]);
    }
    pb_memory_free(node->children);
    pb_memory_free(node->name);
    pb_memory_free(node->text);
    pb_memory_free(node);
}

pb_status node_append(config_node *parent, config_node *child)
{
    PB_TRY(PB_GROW(parent->children, parent->count + 1));
    parent->children[parent->count++] = child;
    return PB_OK;
}

static config_node **find_child(const config_node *group, const char *name, size_t length)
{
    for (int64_t i = 0; i < group->count; i++) {
        const char *have = group->children[i]->name;
        if (have != NULL && strlen(have) == length && memcmp(have, name, length) == 0) {
            return &group->children[i];
        }
    }
    return NULL;
}

config_node *node_child(const config_node *group, const char *name, size_t length)
{
    config_node **child = find_child(group, name, length);
    return child != NULL ? *child : NULL;
}

/* A group that is about to change and has other users is replaced by a copy with the same children.
 */
static pb_status make_own(config_node **group)
{
    config_node *shared = *group;
    config_node *copy   = NULL;
    if (shared->users == 1) {
        return PB_OK;
    }
    PB_TRY(node_create(shared->name, NODE_GROUP, shared->origin, shared->line, &copy));
    pb_status status = PB_ALLOC(copy->children, shared->count);
    if (status != PB_OK) {
        node_destroy(copy);
        return status;
    }
    for (; copy->count < shared->count; copy->count++) {
        copy->children[copy->count] = shared->children[copy->count];
        copy->children[copy->count]->users++;
    }
    node_destroy(shared);
    *group = copy;
    return PB_OK;
}

pb_status node_put(config_node *parent, config_node *child)
{
    config_node **have = find_child(parent, child->name, strlen(child->name));
    if (have == NULL) {
        PB_TRY(node_append(parent, child));
        child->users++;
        return PB_OK;
    }
    if (*have == child) {
        return PB_OK;
    }
    if ((*have)->kind == NODE_GROUP && child->kind == NODE_GROUP) {
        PB_TRY(make_own(have));
        for (int64_t i = 0; i < child->count; i++) {
            PB_TRY(node_put(*have, child->children[i]));
        }
        return PB_OK;
    }
    child->users++;
    node_destroy(*have);
    *have = child;
    return PB_OK;
}

static pb_status check_group(const config_node *node, const char *name)
{
    char place[PLACE_SIZE];
    return node == NULL || node->kind == NODE_GROUP
               ? PB_OK
               : PB_FAIL(PB_ERR_CONFIG, "%s: %s is not a group; it is written %s = { … };",
                         node_where(node, place), name, name);
}

pb_status node_group(config_node *parent, const char *name, size_t length, const config_node *like,
                     config_node **out)
{
    char text[128];
    config_node **have = find_child(parent, name, length);
    if (have != NULL) {
        PB_TRY(check_group(*have, (*have)->name));
        PB_TRY(make_own(have));
        *out = *have;
        return PB_OK;
    }
    config_node *group = NULL;
    snprintf(text, sizeof text, "%.*s", (int)length, name);
    PB_TRY(node_create(text, NODE_GROUP, like->origin, like->line, &group));
    pb_status status = node_append(parent, group);
    if (status != PB_OK) {
        node_destroy(group);
        return status;
    }
    *out = group;
    return PB_OK;
}

/* "[3]" → 3, -1 for anything else. */
static int64_t list_index(const char *part, size_t length)
{
    if (length < 3 || part[0] != '[' || part[length - 1] != ']') {
        return -1;
    }
    char *end     = NULL;
    int64_t index = strtoll(part + 1, &end, 10);
    return end == part + length - 1 ? index : -1;
}

config_node *node_find(const config_node *root, const char *path)
{
    const config_node *node = root;
    while (node != NULL && *path != '\0') {
        size_t length = strcspn(path, ".");
        int64_t index = list_index(path, length);
        if (index >= 0) {
            node = index < node->count ? node->children[index] : NULL;
        } else {
            node = node_child(node, path, length);
        }
        path += length + (path[length] == '.');
    }
    return (config_node *)node;
}

pb_status node_find_group(const config_node *root, const char *path, config_node **out)
{
    config_node *node = node_find(root, path);
    PB_TRY(check_group(node, path));
    *out = node;
    return PB_OK;
}

const char *node_where(const config_node *node, char text[PLACE_SIZE])
{
    return place_text(node->origin, node->line, text);
}
