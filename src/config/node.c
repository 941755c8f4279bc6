// SPDX-License-Identifier: Apache-2.0
/* Nodes of the configuration tree: making, finding, merging. */
#include "node.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

pb_status pb_node_create(const char *name, pb_node_kind kind, pb_origin *origin, int line,
                         pb_node **out)
{
    pb_node *node = NULL;
    PB_TRY(PB_ALLOC(node, 1));
    node->users  = 1;
    node->kind   = kind;
    node->origin = origin;
    node->line   = line;
    origin->users++;
    if (name != NULL) {
        node->name = pb_memory_text(name);
        if (node->name == NULL) {
            pb_node_destroy(node);
            return PB_ERR_MEMORY;
        }
    }
    *out = node;
    return PB_OK;
}

pb_status pb_node_share(pb_node *node, pb_node **out)
{
    pb_node *copy = NULL;
    if (node->kind != PB_NODE_GROUP) {
        node->users++;
        *out = node;
        return PB_OK;
    }
    PB_TRY(pb_node_create(node->name, PB_NODE_GROUP, node->origin, node->line, &copy));
    pb_status status = PB_ALLOC(copy->children, node->count);
    for (; copy->count < node->count && status == PB_OK; copy->count += status == PB_OK) {
        status = pb_node_share(node->children[copy->count], &copy->children[copy->count]);
    }
    if (status != PB_OK) {
        pb_node_destroy(copy);
        return status;
    }
    *out = copy;
    return PB_OK;
}

void pb_node_destroy(pb_node *node)
{
    if (node == NULL || --node->users > 0) {
        return;
    }
    pb_origin_release(node->origin);
    for (int64_t i = 0; i < node->count; i++) {
        pb_node_destroy(node->children[i]);
    }
    pb_memory_free(node->children);
    pb_memory_free(node->name);
    pb_memory_free(node->text);
    pb_memory_free(node);
}

pb_status pb_node_append(pb_node *parent, pb_node *child)
{
    PB_TRY(PB_GROW(parent->children, parent->count + 1));
    parent->children[parent->count++] = child;
    return PB_OK;
}

pb_node *pb_node_child(const pb_node *group, const char *name, size_t length)
{
    for (int64_t i = 0; i < group->count; i++) {
        const char *have = group->children[i]->name;
        if (have != NULL && strlen(have) == length && memcmp(have, name, length) == 0) {
            return group->children[i];
        }
    }
    return NULL;
}

/* Moves the children of `from` over those of `into`; `from` is empty afterwards on success. */
static pb_status merge_groups(pb_node *into, pb_node *from)
{
    pb_status status = PB_OK;
    int64_t taken    = 0;
    for (; taken < from->count && status == PB_OK; taken++) {
        status = pb_node_put_take(into, from->children[taken]);
    }
    memmove(from->children, from->children + taken,
            (size_t)(from->count - taken) * sizeof(*from->children));
    from->count -= taken;
    return status;
}

pb_status pb_node_put_take(pb_node *parent, pb_node *child)
{
    pb_node *have    = pb_node_child(parent, child->name, strlen(child->name));
    pb_status status = PB_OK;
    if (have == NULL) {
        status = pb_node_append(parent, child);
        if (status != PB_OK) {
            pb_node_destroy(child);
        }
        return status;
    }
    if (have->kind == PB_NODE_GROUP && child->kind == PB_NODE_GROUP) {
        if (child->count > 0) {
            status = merge_groups(have, child);
        }
        pb_node_destroy(child);
        return status;
    }
    for (int64_t i = 0; i < parent->count; i++) {
        if (parent->children[i] == have) {
            parent->children[i] = child;
        }
    }
    pb_node_destroy(have);
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

pb_node *pb_node_find(const pb_node *root, const char *path)
{
    const pb_node *node = root;
    while (node != NULL && *path != '\0') {
        size_t length = strcspn(path, ".");
        int64_t index = list_index(path, length);
        if (index >= 0) {
            node = index < node->count ? node->children[index] : NULL;
        } else {
            node = pb_node_child(node, path, length);
        }
        path += length + (path[length] == '.');
    }
    return (pb_node *)node;
}

const char *pb_node_where(const pb_node *node, char text[PB_PLACE_SIZE])
{
    return pb_place_text(node->origin, node->line, text);
}
