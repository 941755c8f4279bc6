// SPDX-License-Identifier: Apache-2.0
/* Numbers for some of the targets: "pattern=number", HF PEFT's rank_pattern and alpha_pattern. As
 * there, a pattern is matched as (.*\\.)?(pattern)$ against the path. */
#include "internal.h"

#include "pb/interned.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The parts of an entry; NaN where the number is not one. */
static double number_of(const char *entry, size_t *pattern_length)
{
    const char *equals = strrchr(entry, '=');
    char *end          = NULL;
    *pattern_length    = equals != NULL ? (size_t)(equals - entry) : 0;
    double number      = equals != NULL ? strtod(equals + 1, &end) : NAN;
    return equals != NULL && end != equals + 1 && *end == '\0' ? number : NAN;
}

static pb_status matches(const pb_method *m, const char *entry, size_t length, const pb_site *site,
                         bool *found)
{
    pb_string regex  = {0};
    pb_status status = pb_string_append(&regex, entry, length);
    if (status == PB_OK) {
        status = method_matches(m, "(.*\\.)?(", regex.data, ")", site->hf_name, found);
    }
    pb_string_clear(&regex);
    return status;
}

pb_status patterns_find(const pb_method *m, const char *key, const pb_config_list *list,
                        const pb_site *site, double *number)
{
    bool found = false;
    for (int64_t i = 0; i < list->count && !found; i++) {
        size_t length = 0;
        double value  = number_of(list->items[i], &length);
        PB_TRY(method_at(m, key, i, matches(m, list->items[i], length, site, &found)));
        *number = found ? value : *number;
    }
    return PB_OK;
}

/* HF's object has each pattern once: an adapter with two could be saved, but not loaded. */
pb_status patterns_check_unique(const pb_method *m, const char *key, const pb_config_list *list)
{
    pb_interned patterns = {0};
    pb_status status     = PB_OK;
    for (int64_t i = 0; i < list->count && status == PB_OK; i++) {
        size_t length = 0;
        int32_t place = 0;
        (void)number_of(list->items[i], &length);
        PB_TRY_GOTO(status, pb_interned_add(&patterns, list->items[i], length, &place), done);
        if (place < i) {
            status = method_at(m, key, i,
                               PB_FAIL(PB_ERR_CONFIG,
                                       "%s: \"%s\" and \"%s\" have the same pattern; leave one out",
                                       m->ops->name, list->items[place], list->items[i]));
        }
    }
done:
    pb_interned_clear(&patterns);
    return status;
}

pb_status patterns_check(const pb_method *m, const char *key, const pb_config_list *list,
                         double minimum, bool whole)
{
    for (int64_t i = 0; i < list->count; i++) {
        size_t length = 0;
        double number = number_of(list->items[i], &length);
        if (length == 0 || !(number >= minimum && number <= 1048576.0) ||
            (whole && number != floor(number))) {
            return method_at(
                m, key, i,
                PB_FAIL(PB_ERR_CONFIG,
                        "%s: \"%s\" is not a pattern, =, and a%s number of %g … 1048576",
                        m->ops->name, list->items[i], whole ? " whole" : "", minimum));
        }
        bool found = false; /* the expression is tried, whatever the targets are */
        PB_TRY(method_at(
            m, key, i, matches(m, list->items[i], length, pb_model_site_at(m->model, 0), &found)));
    }
    return patterns_check_unique(m, key, list);
}

pb_status patterns_used(const pb_method *m, const char *key, const pb_config_list *list)
{
    for (int64_t i = 0; i < list->count && m->source->config != NULL; i++) {
        size_t length = 0;
        bool any      = false;
        (void)number_of(list->items[i], &length);
        for (int64_t s = 0; s < pb_model_site_count(m->model) && !any; s++) {
            if (m->sites[s] >= 0) {
                PB_TRY(matches(m, list->items[i], length, pb_model_site_at(m->model, s), &any));
            }
        }
        if (!any) {
            return method_at(m, key, i,
                             PB_FAIL(PB_ERR_CONFIG,
                                     "%s: the pattern \"%.*s\" matches none of the targets",
                                     m->ops->name, (int)length, list->items[i]));
        }
    }
    return PB_OK;
}

pb_status patterns_read_each(const pb_adapter_config *c, const char *key, const char *of,
                             pattern_entry entry, pb_config_list *out)
{
    json_t *object     = json_object_get(c->json, key);
    size_t count       = json_object_size(object);
    pb_string *entries = NULL;
    const char **texts = NULL;
    pb_status status   = PB_OK;
    size_t i           = 0;
    const char *pattern;
    json_t *value;
    if (object == NULL || json_is_null(object)) {
        return PB_OK;
    }
    if (!json_is_object(object)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: %s must be an object of %s", c->path, key, of);
    }
    PB_TRY(PB_ALLOC(entries, count));
    PB_TRY_GOTO(status, PB_ALLOC(texts, count), done);
    json_object_foreach(object, pattern, value)
    {
        PB_TRY_GOTO(status, entry(c, key, pattern, value, &entries[i]), done);
        texts[i] = entries[i].data;
        i++;
    }
    status = targets_set(texts, count, out);
done:
    for (size_t k = 0; k < count; k++) {
        pb_string_clear(&entries[k]);
    }
    pb_memory_free(texts);
    pb_memory_free(entries);
    return status;
}

static pb_status number_entry(const pb_adapter_config *c, const char *key, const char *pattern,
                              const json_t *value, pb_string *out)
{
    if (!json_is_number(value)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: %s must be an object of numbers", c->path, key);
    }
    return pb_string_printf(out, "%s=%.17g", pattern, json_number_value(value));
}

pb_status patterns_read(const pb_adapter_config *c, const char *key, pb_config_list *out)
{
    return patterns_read_each(c, key, "numbers", number_entry, out);
}

void patterns_write(const pb_config_list *list, const char *key, pb_json *json)
{
    pb_string pattern = {0};
    pb_json_put_object(json, key, PB_JSON_INLINE);
    for (int64_t i = 0; i < list->count && json->status == PB_OK; i++) {
        size_t length = 0;
        double number = number_of(list->items[i], &length);
        pb_string_clear(&pattern);
        json->status = pb_string_append(&pattern, list->items[i], length);
        pb_json_put_number(json, pattern.data, number, PB_JSON_EXACT);
    }
    pb_json_end(json);
    pb_string_clear(&pattern);
}
