// SPDX-License-Identifier: Apache-2.0
/* Values taken from lists one by one, as values of keys and as parts of names. */
#include "node.h"

#include "pb/memory.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

pb_status pb_config_items(const pb_config *config, const char *key, int64_t *count)
{
    const config_node *node = node_find(config->root, key);
    char place[PLACE_SIZE], is[160];

    if (node != NULL && node->kind == NODE_LIST && node->count > 0) {
        *count = node->count;
        return PB_OK;
    }
    node_describe(node != NULL ? node : config->root, is, sizeof is);
    return PB_FAIL(PB_ERR_CONFIG, "%s: %s is %s; it should be a list of the values it takes",
                   node_where(node != NULL ? node : config->root, place),
                   strrchr(key, '.') != NULL ? strrchr(key, '.') + 1 : key,
                   node != NULL && node->kind == NODE_LIST ? "an empty list" : is);
}

/* Small numbers with an exponent: 1e-04 and 1.5e-04, but 0.05 and 16. */
static pb_status put_number(double value, pb_string *out)
{
    char text[PB_NUMBER_BYTES];
    bool small = value != 0 && fabs(value) < 1e-3;

    for (int digits = small ? 0 : 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, small ? "%.*e" : "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    return pb_string_puts(out, text);
}

static bool is_word(const char *text)
{
    bool good = *text != '\0' && strlen(text) <= 100;
    for (; *text != '\0'; text++) {
        good = good && (isalnum((unsigned char)*text) || strchr("._+-", *text) != NULL);
    }
    return good;
}

static pb_status put_word(const config_node *node, pb_string *out)
{
    char place[PLACE_SIZE], is[160];

    switch (node->kind) {
    case NODE_INT:
        return pb_string_printf(out, "%" PRId64, node->integer);
    case NODE_FLOAT:
        return put_number(node->number, out);
    case NODE_BOOL:
        return pb_string_puts(out, node->integer != 0 ? "true" : "false");
    case NODE_TEXT:
        if (is_word(node->text)) {
            return pb_string_puts(out, node->text);
        }
        break;
    default:
        break;
    }
    node_describe(node, is, sizeof is);
    return PB_FAIL(
        PB_ERR_CONFIG,
        "%s: %s cannot be part of a name; a value that varies is a number, true or "
        "false, a word of letters, digits, \".\", \"_\", \"+\", \"-\", or a list of these",
        node_where(node, place), is);
}

pb_status pb_config_word(const pb_config *config, const char *key, pb_string *out)
{
    const config_node *node = node_find(config->root, key);

    if (node == NULL || node->kind != NODE_LIST || node->count == 0) {
        return put_word(node != NULL ? node : config->root, out);
    }
    for (int64_t i = 0; i < node->count; i++) {
        PB_TRY(pb_string_puts(out, i > 0 ? "+" : ""));
        PB_TRY(put_word(node->children[i], out));
    }
    return PB_OK;
}

/* The same value under another name. */
static pb_status rename_value(const config_node *value, const char *name, config_node **out)
{
    config_node *copy = NULL;
    pb_status status  = PB_OK;

    PB_TRY(node_create(name, value->kind, value->origin, value->line, &copy));
    copy->integer = value->integer;
    copy->number  = value->number;
    if (value->text != NULL) {
        PB_TRY_GOTO(status, PB_TEXT(copy->text, value->text), err_copy);
    }
    for (int64_t i = 0; i < value->count; i++) {
        PB_TRY_GOTO(status, node_append(copy, value->children[i]), err_copy);
        value->children[i]->users++;
    }
    *out = copy;
    return PB_OK;

err_copy:
    node_destroy(copy);
    return status;
}

pb_status pb_config_put(pb_config *dst, const char *to, const pb_config *src, const char *from)
{
    const config_node *value = node_find(src->root, from);
    const char *dot          = strrchr(to, '.');
    config_node *group       = dst->root;
    config_node *own         = NULL;

    if (value == NULL) {
        return PB_FAIL(PB_ERR_INTERNAL, "config: there is no %s", from);
    }
    if (dot != NULL) {
        PB_TRY(node_group(dst->root, to, (size_t)(dot - to), value, &group));
    }
    PB_TRY(rename_value(value, dot != NULL ? dot + 1 : to, &own));
    pb_status status = node_put(group, own);
    node_destroy(own);
    return status;
}
