// SPDX-License-Identifier: Apache-2.0
/* `--set key=value`: libconfig reads the value as if it were in a file; anything that is not a
 * libconfig value and opens no bracket or quote is text, so that shells need no second pair of
 * quotes. */
#include "node.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Reads "v = VALUE;" into a node that has no name yet. *out stays NULL when the value is not a
 * libconfig value; the error record then says why. */
static pb_status parse_value(pb_config *config, node_origin *origin, const char *value,
                             config_node **out)
{
    pb_string text     = {0};
    text_source source = {0};
    config_node *root  = NULL;
    pb_status status   = PB_OK;
    PB_TRY_GOTO(status, pb_string_printf(&text, "v = %s\n;", value), done);
    PB_TRY_GOTO(status, config_source_scan(config, origin, text.data, text.length, false, &source),
                done);
    PB_TRY_GOTO(status, node_create(NULL, NODE_GROUP, origin, 0, &root), done);
    PB_TRY_GOTO(status, config_source_parse(&source, root), done);
    if (root->count != 1 || source.comments) {
        status = PB_FAIL(PB_ERR_CONFIG, "%s: this is more than one value", origin->label);
        goto done;
    }
    *out        = root->children[0];
    root->count = 0;
done:
    node_destroy(root);
    config_source_clear(&source);
    pb_string_clear(&text);
    return status;
}

static pb_status text_node(node_origin *origin, const char *text, size_t length, config_node **out)
{
    pb_string copied  = {0};
    pb_status status  = PB_OK;
    config_node *node = NULL;
    PB_TRY_GOTO(status, pb_string_append(&copied, text, length), done);
    PB_TRY_GOTO(status, node_create(NULL, NODE_TEXT, origin, 0, &node), done);
    node->text = pb_memory_text(length == 0 ? "" : copied.data);
    if (node->text == NULL) {
        node_destroy(node);
        status = PB_ERR_MEMORY;
        goto done;
    }
    *out = node;
done:
    pb_string_clear(&copied);
    return status;
}

/* An item of a bare list, without the blanks around it. */
static pb_status bare_item(pb_config *config, node_origin *origin, const char *text, size_t length,
                           config_node **out)
{
    pb_string item   = {0};
    pb_status status = PB_OK;
    for (; length > 0 && isspace((unsigned char)*text); text++) {
        length--;
    }
    while (length > 0 && isspace((unsigned char)text[length - 1])) {
        length--;
    }
    PB_TRY_GOTO(status, pb_string_append(&item, text, length), done);
    status = parse_value(config, origin, item.data, out);
    if (status == PB_ERR_CONFIG) {
        pb_error_clear();
        status = text_node(origin, text, length, out);
    }
done:
    pb_string_clear(&item);
    return status;
}

/* Up to the next comma outside of braces, or the end of the list. */
static size_t item_length(const char *text)
{
    int depth     = 0;
    size_t length = 0;
    while (text[length] != '\0' && (depth > 0 || strchr(",]", text[length]) == NULL)) {
        depth += (text[length] == '{') - (text[length] == '}');
        length++;
    }
    return length;
}

/* "[lora{r=4,alpha=8}, ia3]": a flat list whose bare words are texts; `value` begins with "[". */
static pb_status bare_list(pb_config *config, node_origin *origin, const char *value,
                           config_node **out)
{
    config_node *list = NULL;
    pb_status status  = PB_OK;
    PB_TRY(node_create(NULL, NODE_LIST, origin, 0, &list));
    const char *at = value + 1;
    for (bool more = true; more; at++) {
        size_t length      = item_length(at);
        config_node *child = NULL;
        more               = at[length] == ',';
        PB_TRY_GOTO(status, bare_item(config, origin, at, length, &child), fail);
        status = node_append(list, child);
        if (status != PB_OK) {
            node_destroy(child);
            goto fail;
        }
        at += length;
    }
    *out = list;
    return PB_OK;
fail:
    node_destroy(list);
    return status;
}

/* One "[", one "]" at the end, and nothing inside that needs libconfig's syntax. */
static bool is_bare_list(const char *value)
{
    size_t length = strlen(value);
    return value[0] == '[' && strcspn(value + 1, "[]()\"'#;\n") == length - 2 &&
           value[length - 1] == ']';
}

static pb_status read_value(pb_config *config, node_origin *origin, const char *value,
                            config_node **out)
{
    if (*value == '\0') {
        return text_node(origin, "", 0, out);
    }
    pb_status status = parse_value(config, origin, value, out);
    if (status != PB_ERR_CONFIG) {
        return status;
    }
    if (is_bare_list(value)) {
        pb_error_clear();
        return bare_list(config, origin, value, out);
    }
    if (strchr("\"[({", *value) != NULL || !pb_utf8_is_valid(value, strlen(value), NULL)) {
        return status;
    }
    pb_error_clear();
    return text_node(origin, value, strlen(value), out);
}

/* "a.b.c": words of letters, digits, "_", "-", "*", that begin with a letter or "*". */
static bool is_key(const char *key, size_t length)
{
    bool first = true;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)key[i];
        if (first ? !(isalpha(c) || c == '*')
                  : !(isalnum(c) || c == '_' || c == '-' || c == '*' || c == '.')) {
            return false;
        }
        first = c == '.';
    }
    return length > 0 && length < 128 && !first;
}

pb_status pb_config_set(pb_config *config, const char *assignment)
{
    char label[PLACE_SIZE];
    node_origin *origin = NULL;
    pb_config *layer    = NULL;
    config_node *value  = NULL;
    pb_status status    = PB_OK;
    const char *equals  = strchr(assignment, '=');
    if (equals == NULL || !is_key(assignment, (size_t)(equals - assignment))) {
        return PB_FAIL(PB_ERR_CONFIG, "--set %s: this is not key=value, like train.batch=8",
                       assignment);
    }
    snprintf(label, sizeof label, "--set %s", assignment);
    PB_TRY(config_create(label, ".", &layer));
    origin = layer->origins[0];
    PB_TRY_GOTO(status, read_value(layer, origin, equals + 1, &value), done);

    /* The layer becomes the groups of the key with one value in the innermost, and is merged. */
    char group[128];
    const char *name = assignment;
    for (const char *c = assignment; c < equals; c++) {
        name = *c == '.' ? c + 1 : name;
    }
    snprintf(group, sizeof group, "%.*s", name == assignment ? 0 : (int)(name - assignment - 1),
             assignment);
    pb_memory_free(value->name);
    char key[128];
    snprintf(key, sizeof key, "%.*s", (int)(equals - name), name);
    PB_TRY_GOTO(status, PB_TEXT(value->name, key), done);
    PB_TRY_GOTO(status, node_append(layer->root, value), done);
    value  = NULL;
    status = pb_config_merge(config, group, layer, "");
done:
    node_destroy(value);
    pb_config_close(layer);
    return status;
}
