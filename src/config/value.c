// SPDX-License-Identifier: Apache-2.0
/* One value, from a node or a default, converted to what the field requires, with a message for
 * everything that does not fit. */
#include "node.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bounds beyond this do not count as bounds. */
#define UNBOUNDED 9.2e18

static bool holds_integers(const pb_config_field *field)
{
    return field->type == PB_CONFIG_INT || field->type == PB_CONFIG_INT_LIST;
}

/* A table keeps its bounds as double, where 2^63 stands for INT64_MAX. */
static int64_t integer_bound(double bound)
{
    if (bound >= 0x1p63) {
        return INT64_MAX;
    }
    return bound <= -0x1p63 ? INT64_MIN : (int64_t)bound;
}

static const char *bound_text(const pb_config_field *field, double bound, char text[32])
{
    if (holds_integers(field)) {
        snprintf(text, 32, "%" PRId64, integer_bound(bound));
    } else {
        snprintf(text, 32, "%.15g", bound);
    }
    return text;
}

/* " 1 … 4096", " from 1", " up to 4", "". */
static pb_status describe_bounds(const pb_config_field *field, pb_string *out)
{
    char low[32], high[32];
    bool has_low  = field->minimum > -UNBOUNDED;
    bool has_high = field->maximum < UNBOUNDED;
    bound_text(field, field->minimum, low);
    bound_text(field, field->maximum, high);
    if (has_low && has_high) {
        return pb_string_printf(out, " %s … %s", low, high);
    }
    if (has_low) {
        return pb_string_printf(out, " from %s", low);
    }
    return has_high ? pb_string_printf(out, " up to %s", high) : PB_OK;
}

static pb_status describe_choices(const pb_config_field *field, pb_string *out)
{
    PB_TRY(pb_string_puts(out, "one of "));
    for (size_t i = 0; field->choices[i] != NULL; i++) {
        PB_TRY(pb_string_printf(out, "%s%s", i > 0 ? ", " : "", field->choices[i]));
    }
    return PB_OK;
}

pb_status field_describe(const pb_config_field *field, pb_string *out)
{
    static const char *const words[] = {
        [PB_CONFIG_INT]       = "an integer",
        [PB_CONFIG_FLOAT]     = "a number",
        [PB_CONFIG_BOOL]      = "true or false",
        [PB_CONFIG_TEXT]      = "a string",
        [PB_CONFIG_PATH]      = "a path (text)",
        [PB_CONFIG_TEXT_LIST] = "a list of strings",
        [PB_CONFIG_INT_LIST]  = "a list of integers",
    };
    if (field->groups) {
        return pb_string_puts(out, "a list of strings or groups");
    }
    if (field->type == PB_CONFIG_CHOICE) {
        return describe_choices(field, out);
    }
    PB_TRY(pb_string_puts(out, words[field->type]));
    if (field->type == PB_CONFIG_INT || field->type == PB_CONFIG_FLOAT ||
        field->type == PB_CONFIG_INT_LIST) {
        PB_TRY(describe_bounds(field, out));
    }
    if (field->type == PB_CONFIG_INT && field->text != NULL) {
        return pb_string_printf(out, ", or \"%s\"", field->text);
    }
    return field->unit != NULL && *field->unit != '\0' ? pb_string_printf(out, " %s", field->unit)
                                                       : PB_OK;
}

void node_describe(const config_node *node, char *text, size_t size)
{
    char number[PB_NUMBER_BYTES];
    switch (node->kind) {
    case NODE_GROUP:
        snprintf(text, size, "a group");
        break;
    case NODE_LIST:
        snprintf(text, size, "a list");
        break;
    case NODE_INT:
        snprintf(text, size, "the integer %" PRId64, node->integer);
        break;
    case NODE_FLOAT:
        snprintf(text, size, "the number %s", pb_number_text(node->number, 15, number));
        break;
    case NODE_BOOL:
        snprintf(text, size, "%s", node->integer != 0 ? "true" : "false");
        break;
    case NODE_TEXT:
        snprintf(text, size, "the string \"%.*s\"", PB_FIT(node->text, 80));
        break;
    }
}

static pb_status fail_type(const config_node *node, const pb_config_field *field)
{
    char place[PLACE_SIZE], is[160];
    pb_string wanted = {0};
    pb_status status = PB_OK;
    PB_TRY_GOTO(status, field_describe(field, &wanted), done);
    node_describe(node, is, sizeof is);
    status = PB_FAIL(PB_ERR_CONFIG, "%s: %s is %s, it should be %s", node_where(node, place),
                     field->key, is, wanted.data);
done:
    pb_string_clear(&wanted);
    return status;
}

/* An integer is compared as one: above 2^53 the nearest double may be inside where it is outside.
 */
static bool is_within(const config_node *node, const pb_config_field *field)
{
    if (holds_integers(field)) {
        return node->integer >= integer_bound(field->minimum) &&
               node->integer <= integer_bound(field->maximum);
    }
    double value = node->kind == NODE_INT ? (double)node->integer : node->number;
    return value >= field->minimum && value <= field->maximum;
}

static pb_status check_bounds(const config_node *node, const pb_config_field *field)
{
    char place[PLACE_SIZE], low[32], high[32], is[40];
    if (is_within(node, field)) {
        return PB_OK;
    }
    bound_text(field, field->minimum, low);
    bound_text(field, field->maximum, high);
    if (node->kind == NODE_INT) {
        snprintf(is, sizeof is, "%" PRId64, node->integer);
    } else {
        snprintf(is, sizeof is, "%.15g", node->number);
    }
    node_where(node, place);
    const char *gap = *field->unit == '\0' ? "" : " ";
    if (field->maximum >= UNBOUNDED) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: %s = %s is below %s%s%s", place, field->key, is, low,
                       gap, field->unit);
    }
    if (field->minimum <= -UNBOUNDED) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: %s = %s is above %s%s%s", place, field->key, is, high,
                       gap, field->unit);
    }
    return PB_FAIL(PB_ERR_CONFIG, "%s: %s = %s is outside %s … %s%s%s", place, field->key, is, low,
                   high, gap, field->unit);
}

static pb_status read_path(const config_node *node, const pb_config_field *field, char **out)
{
    char place[PLACE_SIZE];
    char *expanded = NULL;
    PB_TRY(pb_error_prefix(pb_path_expand(node->text, &expanded), "%s: %s", node_where(node, place),
                           field->key));
    if (*expanded == '\0' || strcmp(node->origin->directory, ".") == 0) {
        *out = expanded;
        return PB_OK;
    }
    pb_status status = pb_path_join(node->origin->directory, expanded, out);
    pb_memory_free(expanded);
    return status;
}

static pb_status read_choice(const config_node *node, const pb_config_field *field, int *out)
{
    char place[PLACE_SIZE];
    for (int i = 0; field->choices[i] != NULL; i++) {
        if (strcmp(field->choices[i], node->text) == 0) {
            *out = i;
            return PB_OK;
        }
    }
    const char *near = pb_string_nearest(node->text, field->choices);
    pb_string wanted = {0};
    pb_status status = PB_OK;
    PB_TRY_GOTO(status, describe_choices(field, &wanted), done);
    status = PB_FAIL(PB_ERR_CONFIG, "%s: %s = \"%.*s\" is not %s%s%s%s", node_where(node, place),
                     field->key, PB_FIT(node->text, 80), wanted.data,
                     near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                     near != NULL ? "\"?" : "");
done:
    pb_string_clear(&wanted);
    return status;
}

/* A single value stands for a list of one. */
static pb_status read_texts(const config_node *node, const pb_config_field *field,
                            pb_config_list *out)
{
    bool single         = node->kind == NODE_TEXT;
    int64_t count       = single ? 1 : node->count;
    pb_config_list list = {0};
    if (!single && node->kind != NODE_LIST) {
        return fail_type(node, field);
    }
    PB_TRY(PB_ALLOC(list.items, count));
    pb_status status = PB_OK;
    for (; list.count < count && status == PB_OK; list.count++) {
        const config_node *item = single ? node : node->children[list.count];
        if (item->kind == NODE_TEXT) {
            status = PB_TEXT(list.items[list.count], item->text);
        } else if (!field->groups || item->kind != NODE_GROUP) {
            status = fail_type(item, field);
        }
    }
    if (status != PB_OK) {
        config_value value = {.list = list};
        value_clear(PB_CONFIG_TEXT_LIST, &value);
        return status;
    }
    *out = list;
    return PB_OK;
}

static pb_status read_ints(const config_node *node, const pb_config_field *field,
                           pb_config_ints *out)
{
    bool single         = node->kind == NODE_INT;
    int64_t count       = single ? 1 : node->count;
    pb_config_ints ints = {.count = count};
    pb_status status    = PB_OK;
    if (!single && node->kind != NODE_LIST) {
        return fail_type(node, field);
    }
    PB_TRY(PB_ALLOC(ints.items, count));
    for (int64_t i = 0; i < count && status == PB_OK; i++) {
        const config_node *item = single ? node : node->children[i];
        if (item->kind != NODE_INT) {
            status = fail_type(item, field);
        } else {
            status = check_bounds(item, field);
        }
        ints.items[i] = item->integer;
    }
    if (status != PB_OK) {
        pb_memory_free(ints.items);
        return status;
    }
    *out = ints;
    return PB_OK;
}

static pb_status read_float(const config_node *node, const pb_config_field *field, double *out)
{
    PB_TRY(check_bounds(node, field));
    *out = node->kind == NODE_INT ? (double)node->integer : node->number;
    return PB_OK;
}

static bool kind_fits(node_kind kind, pb_config_type type)
{
    switch (type) {
    case PB_CONFIG_INT:
        return kind == NODE_INT;
    case PB_CONFIG_FLOAT:
        return kind == NODE_INT || kind == NODE_FLOAT;
    case PB_CONFIG_BOOL:
        return kind == NODE_BOOL;
    case PB_CONFIG_TEXT:
    case PB_CONFIG_PATH:
    case PB_CONFIG_CHOICE:
        return kind == NODE_TEXT;
    default:
        return true;
    }
}

pb_status value_read(const config_node *node, const pb_config_field *field, config_value *out)
{
    *out = (config_value){0};
    if (field->type == PB_CONFIG_INT && field->text != NULL && node->kind == NODE_TEXT &&
        strcmp(node->text, field->text) == 0) {
        return PB_OK;
    }
    if (!kind_fits(node->kind, field->type)) {
        return fail_type(node, field);
    }
    switch (field->type) {
    case PB_CONFIG_INT:
        PB_TRY(check_bounds(node, field));
        out->integer = node->integer;
        return PB_OK;
    case PB_CONFIG_FLOAT:
        return read_float(node, field, &out->number);
    case PB_CONFIG_BOOL:
        out->flag = node->integer != 0;
        return PB_OK;
    case PB_CONFIG_TEXT:
        return PB_TEXT(out->text, node->text);
    case PB_CONFIG_PATH:
        return read_path(node, field, &out->text);
    case PB_CONFIG_CHOICE:
        return read_choice(node, field, &out->choice);
    case PB_CONFIG_TEXT_LIST:
        return read_texts(node, field, &out->list);
    case PB_CONFIG_INT_LIST:
        return read_ints(node, field, &out->ints);
    }
    return PB_FAIL(PB_ERR_INTERNAL, "config: key \"%s\" has type %d", field->key, (int)field->type);
}

/* Items of a default list are separated by spaces. */
static int64_t count_words(const char *text)
{
    int64_t count = 0;
    for (text += strspn(text, " "); *text != '\0'; text += strspn(text, " ")) {
        text += strcspn(text, " ");
        count++;
    }
    return count;
}

static pb_status default_list(const pb_config_field *field, config_value *out)
{
    const char *at = field->text == NULL ? "" : field->text;
    int64_t count  = count_words(at);
    if (field->type == PB_CONFIG_INT_LIST) {
        PB_TRY(PB_ALLOC(out->ints.items, count));
    } else {
        PB_TRY(PB_ALLOC(out->list.items, count));
    }
    for (int64_t i = 0; i < count; i++) {
        at += strspn(at, " ");
        size_t length = strcspn(at, " ");
        if (field->type == PB_CONFIG_INT_LIST) {
            out->ints.items[i] = strtoll(at, NULL, 10);
            out->ints.count    = i + 1;
        } else {
            PB_TRY(PB_ALLOC(out->list.items[i], length + 1));
            out->list.count = i + 1;
            memcpy(out->list.items[i], at, length);
        }
        at += length;
    }
    return PB_OK;
}

pb_status value_default(const pb_config_field *field, config_value *out)
{
    *out             = (config_value){0};
    const char *text = field->text == NULL ? "" : field->text;
    switch (field->type) {
    case PB_CONFIG_INT:
        out->integer = (int64_t)field->number;
        return PB_OK;
    case PB_CONFIG_FLOAT:
        out->number = field->number;
        return PB_OK;
    case PB_CONFIG_BOOL:
        out->flag = field->number != 0;
        return PB_OK;
    case PB_CONFIG_CHOICE:
        out->choice = (int)field->number;
        return PB_OK;
    case PB_CONFIG_TEXT:
    case PB_CONFIG_PATH:
        return PB_TEXT(out->text, text);
    case PB_CONFIG_TEXT_LIST:
    case PB_CONFIG_INT_LIST: {
        pb_status status = default_list(field, out);
        if (status != PB_OK) {
            value_clear(field->type, out);
        }
        return status;
    }
    }
    return PB_FAIL(PB_ERR_INTERNAL, "config: key \"%s\" has type %d", field->key, (int)field->type);
}

void value_clear(pb_config_type type, config_value *value)
{
    if (type == PB_CONFIG_TEXT || type == PB_CONFIG_PATH) {
        pb_memory_free(value->text);
    } else if (type == PB_CONFIG_INT_LIST) {
        pb_memory_free(value->ints.items);
    } else if (type == PB_CONFIG_TEXT_LIST) {
        pb_memory_free_texts(value->list.items, (size_t)value->list.count);
    }
    *value = (config_value){0};
}

/* Bytes of a field's member; the union begins with the same bytes. */
size_t value_size(pb_config_type type)
{
    switch (type) {
    case PB_CONFIG_INT:
        return sizeof(int64_t);
    case PB_CONFIG_FLOAT:
        return sizeof(double);
    case PB_CONFIG_BOOL:
        return sizeof(bool);
    case PB_CONFIG_CHOICE:
        return sizeof(int);
    case PB_CONFIG_TEXT:
    case PB_CONFIG_PATH:
        return sizeof(char *);
    case PB_CONFIG_TEXT_LIST:
        return sizeof(pb_config_list);
    case PB_CONFIG_INT_LIST:
        return sizeof(pb_config_ints);
    }
    return 0;
}

static pb_status copy_texts(const pb_config_list *list, pb_config_list *out)
{
    PB_TRY(PB_ALLOC(out->items, list->count));
    for (; out->count < list->count; out->count++) {
        PB_TRY(PB_TEXT(out->items[out->count], list->items[out->count]));
    }
    return PB_OK;
}

static pb_status copy_ints(const pb_config_ints *ints, pb_config_ints *out)
{
    PB_TRY(PB_ALLOC(out->items, ints->count));
    for (; out->count < ints->count; out->count++) {
        out->items[out->count] = ints->items[out->count];
    }
    return PB_OK;
}

pb_status value_copy(const pb_config_field *field, const void *object, config_value *out)
{
    config_value own = {0};
    pb_status status = PB_OK;
    memcpy(&own, (const char *)object + field->offset, value_size(field->type));
    *out = (config_value){0};
    switch (field->type) {
    case PB_CONFIG_TEXT:
    case PB_CONFIG_PATH:
        status = PB_TEXT(out->text, own.text);
        break;
    case PB_CONFIG_TEXT_LIST:
        status = copy_texts(&own.list, &out->list);
        break;
    case PB_CONFIG_INT_LIST:
        status = copy_ints(&own.ints, &out->ints);
        break;
    default:
        *out = own;
    }
    if (status != PB_OK) {
        value_clear(field->type, out);
    }
    return status;
}

void value_store_take(const pb_config_field *field, config_value *value, void *object)
{
    char *member     = (char *)object + field->offset;
    config_value old = {0};
    memcpy(&old, member, value_size(field->type));
    value_clear(field->type, &old);
    memcpy(member, value, value_size(field->type));
    *value = (config_value){0};
}
