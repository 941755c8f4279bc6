// SPDX-License-Identifier: Apache-2.0
/* A group becomes a struct through its table of fields: defaults first, then every key, all checked
 * before the first is stored. */
#include "node.h"

#include "pb/memory.h"

#include <stdlib.h>
#include <string.h>

static const pb_config_field *find_field(const pb_config_field *fields, const char *key)
{
    for (; fields->key != NULL; fields++) {
        if (strcmp(fields->key, key) == 0) {
            return fields;
        }
    }
    return NULL;
}

static pb_status fail_unknown(const config_node *node, const char *const *known)
{
    char place[PLACE_SIZE];
    const char *near  = pb_string_nearest(node->name, known);
    pb_string allowed = {0};
    pb_status status  = PB_OK;
    for (size_t i = 0; known[i] != NULL; i++) {
        PB_TRY_GOTO(status, pb_string_printf(&allowed, "%s%s", i > 0 ? ", " : "", known[i]), done);
    }
    status = PB_FAIL(PB_ERR_CONFIG, "%s: key \"%s\" is not known here;%s%s%s allowed: %s",
                     node_where(node, place), node->name, near != NULL ? " did you mean \"" : "",
                     near != NULL ? near : "", near != NULL ? "\"?" : "",
                     allowed.length > 0 ? allowed.data : "nothing");
done:
    pb_string_clear(&allowed);
    return status;
}

/* Every key of the group is known. */
static pb_status check_keys(const config_node *group, const pb_config_field *fields,
                            const char *const *also_allowed)
{
    for (int64_t k = 0; k < group->count; k++) {
        const config_node *node = group->children[k];
        if (find_field(fields, node->name) != NULL || pb_string_is_in(node->name, also_allowed)) {
            continue;
        }
        size_t count = 0, extra = 0;
        while (fields[count].key != NULL) {
            count++;
        }
        while (also_allowed != NULL && also_allowed[extra] != NULL) {
            extra++;
        }
        const char **known = NULL;
        PB_TRY(PB_ALLOC(known, count + extra + 1));
        for (size_t i = 0; i < count + extra; i++) {
            known[i] = i < count ? fields[i].key : also_allowed[i - count];
        }
        pb_status status = fail_unknown(node, known);
        pb_memory_free(known);
        return status;
    }
    return PB_OK;
}

static pb_status fail_missing(const config_node *place_of, const char *group,
                              const pb_config_field *field)
{
    char place[PLACE_SIZE];
    pb_string wanted = {0};
    pb_status status = PB_OK;
    PB_TRY_GOTO(status, field_describe(field, &wanted), done);
    status = PB_FAIL(PB_ERR_CONFIG, "%s: %s%s%s is missing: %s, %s", node_where(place_of, place),
                     group, *group == '\0' ? "" : ".", field->key, wanted.data, field->help);
done:
    pb_string_clear(&wanted);
    return status;
}

static pb_status check_required(const pb_config *config, const char *group, const config_node *node,
                                const pb_config_field *fields)
{
    for (; fields->key != NULL; fields++) {
        if (fields->required &&
            (node == NULL || node_child(node, fields->key, strlen(fields->key)) == NULL)) {
            return fail_missing(node != NULL ? node : config->root, group, fields);
        }
    }
    return PB_OK;
}

/* Reads all keys once to check them and once more to store them, so that a failure changes
 * nothing. */
static pb_status overlay(const config_node *group, const pb_config_field *fields,
                         const char *const *also_allowed, void *object)
{
    PB_TRY(check_keys(group, fields, also_allowed));
    int64_t count        = 0;
    config_value *values = NULL;
    pb_status status     = PB_OK;
    PB_TRY(PB_ALLOC(values, group->count));
    for (; count < group->count; count++) {
        const config_node *node      = group->children[count];
        const pb_config_field *field = find_field(fields, node->name);
        if (field != NULL) {
            PB_TRY_GOTO(status, value_read(node, field, &values[count]), done);
        }
    }
    for (int64_t i = 0; i < count; i++) {
        const pb_config_field *field = find_field(fields, group->children[i]->name);
        if (field != NULL) {
            value_store_take(field, &values[i], object);
        }
    }
done:
    for (int64_t i = 0; i < count; i++) {
        const pb_config_field *field = find_field(fields, group->children[i]->name);
        if (field != NULL) {
            value_clear(field->type, &values[i]);
        }
    }
    pb_memory_free(values);
    return status;
}

pb_status pb_config_overlay(const pb_config *config, const char *group,
                            const pb_config_field *fields, const char *const *also_allowed,
                            void *object)
{
    config_node *node = NULL;
    PB_TRY(node_find_group(config->root, group, &node));
    return node == NULL ? PB_OK : overlay(node, fields, also_allowed, object);
}

/* Whatever the storage holds is not looked at: nothing is freed. */
static void forget(const pb_config_field *fields, void *object)
{
    const config_value none = {0};
    for (; fields->key != NULL; fields++) {
        memcpy((char *)object + fields->offset, &none, value_size(fields->type));
    }
}

pb_status pb_config_defaults(const pb_config_field *fields, void *object)
{
    forget(fields, object);
    for (const pb_config_field *field = fields; field->key != NULL; field++) {
        config_value value = {0};
        pb_status status   = value_default(field, &value);
        if (status != PB_OK) {
            pb_config_clear(fields, object);
            return status;
        }
        value_store_take(field, &value, object);
    }
    return PB_OK;
}

pb_status pb_config_read(const pb_config *config, const char *group, const pb_config_field *fields,
                         const char *const *also_allowed, void *object)
{
    config_node *node = NULL;
    pb_status status  = PB_OK;
    forget(fields, object);
    PB_TRY(node_find_group(config->root, group, &node));
    if (node != NULL) {
        PB_TRY(check_keys(node, fields, also_allowed));
    }
    PB_TRY(check_required(config, group, node, fields));
    PB_TRY(pb_config_defaults(fields, object));
    if (node != NULL) {
        PB_TRY_GOTO(status, overlay(node, fields, also_allowed, object), fail);
    }
    return PB_OK;
fail:
    pb_config_clear(fields, object);
    return status;
}

pb_status pb_config_copy(const pb_config_field *fields, size_t size, const void *object, void *copy)
{
    memcpy(copy, object, size);
    forget(fields, copy);
    for (const pb_config_field *field = fields; field->key != NULL; field++) {
        config_value value = {0};
        pb_status status   = value_copy(field, object, &value);
        if (status != PB_OK) {
            pb_config_clear(fields, copy);
            return status;
        }
        value_store_take(field, &value, copy);
    }
    return PB_OK;
}

void pb_config_clear(const pb_config_field *fields, void *object)
{
    for (; fields->key != NULL; fields++) {
        config_value none = {0};
        switch (fields->type) {
        case PB_CONFIG_TEXT:
        case PB_CONFIG_PATH:
        case PB_CONFIG_TEXT_LIST:
        case PB_CONFIG_INT_LIST:
            value_store_take(fields, &none, object);
            break;
        default:
            break;
        }
    }
}
