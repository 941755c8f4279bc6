// SPDX-License-Identifier: Apache-2.0
/* libconfig reads a prepared text, and its settings become nodes. The only place that knows
 * libconfig. */
#include "node.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <libconfig.h>

#include <string.h>

static config_source_line line_of(const text_source *source, int64_t line)
{
    if (line < 1 || line > source->count) {
        line = line < 1 ? 1 : source->count;
    }
    return source->lines[line - 1];
}

static pb_status convert_children(const text_source *source, config_setting_t *setting,
                                  config_node *node);

static pb_status set_text(const char *text, config_node *node)
{
    char place[PLACE_SIZE];

    if (!pb_utf8_is_valid(text, strlen(text), NULL)) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: the text is not UTF-8: look at its \\x escapes",
                       node_where(node, place));
    }
    node->kind = NODE_TEXT;
    return PB_TEXT(node->text, text);
}

static pb_status set_value(const text_source *source, config_setting_t *setting, config_node *node)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        if (config_setting_get_format(setting) == CONFIG_FORMAT_HEX) {
            return set_text(source->texts.data + config_setting_get_int64(setting), node);
        }
        node->kind    = NODE_INT;
        node->integer = config_setting_get_int64(setting);
        return PB_OK;
    case CONFIG_TYPE_FLOAT:
        node->kind   = NODE_FLOAT;
        node->number = config_setting_get_float(setting);
        return PB_OK;
    case CONFIG_TYPE_BOOL:
        node->kind    = NODE_BOOL;
        node->integer = config_setting_get_bool(setting);
        return PB_OK;
    default:
        return PB_FAIL(PB_ERR_LIBRARY, "libconfig: a setting has the unknown type %d",
                       config_setting_type(setting));
    }
}

static pb_status convert(const text_source *source, config_setting_t *setting, config_node **out)
{
    config_source_line at = line_of(source, config_setting_source_line(setting));
    config_node *node     = NULL;
    pb_status status      = PB_OK;
    PB_TRY(node_create(config_setting_name(setting), NODE_GROUP, at.origin, at.line, &node));
    if (config_setting_is_aggregate(setting)) {
        node->kind = config_setting_is_group(setting) ? NODE_GROUP : NODE_LIST;
        PB_TRY_GOTO(status, convert_children(source, setting, node), fail);
    } else {
        PB_TRY_GOTO(status, set_value(source, setting, node), fail);
    }
    *out = node;
    return PB_OK;
fail:
    node_destroy(node);
    return status;
}

static pb_status convert_children(const text_source *source, config_setting_t *setting,
                                  config_node *node)
{
    int length = config_setting_length(setting);
    for (int i = 0; i < length; i++) {
        config_node *child = NULL;
        PB_TRY(convert(source, config_setting_get_elem(setting, (unsigned)i), &child));
        pb_status status = node_append(node, child);
        if (status != PB_OK) {
            node_destroy(child);
            return status;
        }
    }
    return PB_OK;
}

pb_status config_source_parse(const text_source *source, config_node *root)
{
    config_t reader;
    config_init(&reader);
    pb_status status = PB_OK;
    if (config_read_string(&reader, source->text.data == NULL ? "" : source->text.data) ==
        CONFIG_FALSE) {
        config_source_line at = line_of(source, config_error_line(&reader));
        const char *what      = config_error_text(&reader);
        bool syntax           = strcmp(what, "syntax error") == 0;
        const char *hint      = syntax ? " here or on the line before: a key is written \"key = "
                                         "value;\", put text in \"quotes\""
                                       : "";
        char place[PLACE_SIZE];
        status =
            PB_FAIL(PB_ERR_CONFIG, "%s: %s%s", place_text(at.origin, at.line, place), what, hint);
    } else {
        status = convert_children(source, config_root_setting(&reader), root);
    }
    config_destroy(&reader);
    return status;
}
