// SPDX-License-Identifier: Apache-2.0
/* Which sites the targets of a method name, by the rules of HF PEFT: a list holds ends of module
 * paths, cut at a dot ("k_proj", "self_attn.k_proj", "layers.0.self_attn.k_proj"); a text is a
 * regular expression for the whole path. Layers narrow the matches of ends, not paths that are
 * spelled out; what is excluded is left out of either. */
#include "internal.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

/* HF's rule: the module's path is `target`, or ends with a dot and `target`. */
static bool target_matches(const pb_site *site, const char *target)
{
    size_t length = strlen(site->hf_name);
    size_t tail   = strlen(target);
    if (tail == 0 || tail > length || strcmp(site->hf_name + (length - tail), target) != 0) {
        return false;
    }
    return tail == length || site->hf_name[length - tail - 1] == '.';
}

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot != NULL ? dot + 1 : path;
}

static pb_status fail_unmatched(const pb_method *m, const char *target, pb_site_class site_class)
{
    pb_string known  = {0};
    pb_status status = PB_OK;
    for (int64_t i = 0; i < pb_model_site_count(m->model) && status == PB_OK; i++) {
        const pb_site *site = pb_model_site_at(m->model, i);
        if (site->site_class == site_class && site->layer <= 0) {
            status = pb_string_printf(&known, "%s%s", known.length > 0 ? ", " : "",
                                      last_part(site->hf_name));
        }
    }
    if (status == PB_OK) {
        status = PB_FAIL(PB_ERR_CONFIG,
                         "%s: target \"%s\" matches no module of this model; known "
                         "are %s, each also with its path before it",
                         m->ops->name, target, known.data != NULL ? known.data : "none");
    }
    pb_string_clear(&known);
    return status;
}

static bool is_in(const char *text, const pb_config_list *list)
{
    for (int64_t i = 0; i < list->count; i++) {
        if (strcmp(text, list->items[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool means_all_linear(const method_targets *t)
{
    return t->targets.count == 1 && strcmp(t->targets.items[0], ALL_LINEAR) == 0;
}

/* layers: whether the number of the site's layer, in one of the named lists, is among them. A path
 * has one number. */
static pb_status in_layers(const pb_method *m, const pb_site *site, bool *in)
{
    const method_targets *t = m->options;
    bool named              = t->layer_lists.count == 0;
    *in                     = t->layers.count == 0 || is_in(site->hf_name, &t->targets);
    if (*in) {
        return PB_OK;
    }
    for (int64_t i = 0; i < t->layers.count && !*in; i++) {
        *in = t->layers.items[i] == site->layer;
    }
    for (int64_t i = 0; i < t->layer_lists.count && *in && !named; i++) {
        PB_TRY(method_at(m, "layer_lists", i,
                         method_matches(m, "(.*\\.)?(", t->layer_lists.items[i], ")\\.\\d+\\..*",
                                        site->hf_name, &named)));
    }
    *in = *in && named;
    return PB_OK;
}

static pb_status is_excluded(const pb_method *m, const pb_site *site, bool *excluded)
{
    const method_targets *t = m->options;
    *excluded               = false;
    for (int64_t i = 0; i < t->exclude.count && !*excluded; i++) {
        *excluded = target_matches(site, t->exclude.items[i]);
    }
    if (*excluded || *t->exclude_pattern == '\0') {
        return PB_OK;
    }
    return method_at(m, "exclude_pattern", -1,
                     method_matches(m, "", t->exclude_pattern, "", site->hf_name, excluded));
}

/* Whether target number `index` (-1: the pattern) names the site, before what narrows it. */
static pb_status is_named(const pb_method *m, int64_t index, const pb_site *site, bool *named)
{
    const method_targets *t = m->options;
    if (index < 0) {
        return method_at(m, "target_pattern", -1,
                         method_matches(m, "", t->target_pattern, "", site->hf_name, named));
    }
    *named = means_all_linear(t) ? site->site_class == PB_SITE_LINEAR
                                 : target_matches(site, t->targets.items[index]);
    return PB_OK;
}

/* marked [pb_model_site_count]: which sites target `index` names. */
static pb_status mark(const pb_method *m, int64_t index, pb_site_class site_class, bool *marked)
{
    const method_targets *t = m->options;
    bool any                = false;
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        const pb_site *site = pb_model_site_at(m->model, i);
        bool named = false, excluded = false, in = false;
        if (site->site_class != site_class) {
            continue;
        }
        PB_TRY(is_named(m, index, site, &named));
        if (!named) {
            continue;
        }
        any = true;
        PB_TRY(is_excluded(m, site, &excluded));
        PB_TRY(in_layers(m, site, &in));
        marked[i] = marked[i] || (in && !excluded);
    }
    if (!any) {
        const char *key    = index < 0 ? "target_pattern" : "targets";
        const char *target = index < 0 ? t->target_pattern : t->targets.items[index];
        return method_at(m, key, index, fail_unmatched(m, target, site_class));
    }
    return PB_OK;
}

pb_status method_check_either(const pb_method *m, const char *list_key, const pb_config_list *list,
                              const char *pattern_key, const char *pattern)
{
    if (list->count == 0 || *pattern == '\0' || !method_is_given(m, list_key)) {
        return PB_OK;
    }
    return method_at(m, pattern_key, -1,
                     PB_FAIL(PB_ERR_CONFIG,
                             "%s: %s takes the place of %s, which is also given; leave one out, or "
                             "set %s = []",
                             m->ops->name, pattern_key, list_key, list_key));
}

/* Options that exclude each other, as in HF. */
static pb_status check(const pb_method *m)
{
    const method_targets *t = m->options;
    int64_t layers          = pb_model_get_config(m->model)->layers;
    if (t->targets.count == 0 && *t->target_pattern == '\0') {
        return method_at(m, "targets", -1,
                         PB_FAIL(PB_ERR_CONFIG, "%s: targets is empty; name the modules to act on",
                                 m->ops->name));
    }
    PB_TRY(method_check_either(m, "targets", &t->targets, "target_pattern", t->target_pattern));
    if (t->layers.count > 0 && (*t->target_pattern != '\0' || means_all_linear(t))) {
        return method_at(m, "layers", -1,
                         PB_FAIL(PB_ERR_CONFIG,
                                 "%s: layers narrow a list of targets alone; say in the pattern "
                                 "which layers are meant, or list the modules",
                                 m->ops->name));
    }
    if (t->layer_lists.count > 0 && t->layers.count == 0) {
        return method_at(m, "layer_lists", -1,
                         PB_FAIL(PB_ERR_CONFIG, "%s: %s is given without %s", m->ops->name,
                                 method_key(m, "layer_lists"), method_key(m, "layers")));
    }
    for (int64_t i = 0; i < t->layers.count; i++) {
        if (t->layers.items[i] >= layers) {
            return method_at(m, "layers", i,
                             PB_FAIL(PB_ERR_CONFIG,
                                     "%s: layer %" PRId64 " is not in this model, which has 0 … "
                                     "%" PRId64,
                                     m->ops->name, t->layers.items[i], layers - 1));
        }
    }
    return PB_OK;
}

static pb_status mark_all(const pb_method *m, pb_site_class site_class, bool *marked)
{
    const method_targets *t = m->options;
    bool any                = false;
    if (*t->target_pattern != '\0') {
        PB_TRY(mark(m, -1, site_class, marked));
    } else {
        for (int64_t i = 0; i < t->targets.count; i++) {
            PB_TRY(mark(m, i, site_class, marked));
        }
    }
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        any = any || marked[i];
    }
    if (!any) {
        const char *key = t->layer_lists.count > 0 ? "layer_lists"
                          : t->layers.count > 0    ? "layers"
                          : t->exclude.count > 0   ? "exclude"
                                                   : "exclude_pattern";
        return method_at(m, key, -1,
                         PB_FAIL(PB_ERR_CONFIG, "%s: layers and exclude leave none of the targets",
                                 m->ops->name));
    }
    return PB_OK;
}

pb_status method_plan_sites(pb_method *m, pb_site_class site_class, site_plan plan)
{
    bool *marked     = NULL;
    pb_status status = PB_OK;
    PB_TRY(check(m));
    PB_TRY(PB_ALLOC(marked, pb_model_site_count(m->model)));
    PB_TRY_GOTO(status, mark_all(m, site_class, marked), out_marked);
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        if (marked[i]) {
            m->sites[i] = m->count;
            PB_TRY_GOTO(status, plan(m, pb_model_site_at(m->model, i)), out_marked);
        }
    }
out_marked:
    pb_memory_free(marked);
    return status;
}

unsigned acts_bound(const pb_method *m, const pb_site *site)
{
    return m->sites[site->index] >= 0 ? PB_ACTS_BOUND : 0;
}

unsigned acts_low_rank(const pb_method *m, const pb_site *site)
{
    return m->sites[site->index] >= 0 ? PB_ACTS_LOW_RANK : 0;
}

unsigned acts_on_output(const pb_method *m, const pb_site *site)
{
    return m->sites[site->index] >= 0 ? PB_ACTS_ON_OUTPUT : 0;
}

pb_trainable *site_trainable(const pb_method *m, const pb_site *site, int64_t which)
{
    int64_t first = m->sites[site->index];
    return first < 0 ? NULL : &m->trainables[first + which];
}

pb_status targets_read(const pb_adapter_config *c, method_targets *out)
{
    const json_t *value = json_object_get(c->json, "target_modules");
    if (value == NULL || json_is_null(value)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: target_modules is missing", c->path);
    }
    if ((json_is_array(value) && json_array_size(value) == 0) ||
        (json_is_string(value) && json_string_length(value) == 0)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s: target_modules is empty; name the modules to act on",
                       c->path);
    }
    PB_TRY(adapter_text_or_list(c, "target_modules", &out->target_pattern, &out->targets));
    if (strcasecmp(out->target_pattern, ALL_LINEAR) == 0) {
        static const char *const all[] = {ALL_LINEAR};
        out->target_pattern[0]         = '\0';
        PB_TRY(targets_set(all, 1, &out->targets));
    }
    PB_TRY(adapter_text_or_list(c, "exclude_modules", &out->exclude_pattern, &out->exclude));
    PB_TRY(adapter_ints(c, "layers_to_transform", &out->layers));
    value = json_object_get(c->json, "layers_pattern");
    if (json_is_string(value) && json_string_length(value) > 0) {
        const char *one = json_string_value(value);
        return targets_set(&one, 1, &out->layer_lists);
    }
    return json_is_string(value) ? PB_OK : adapter_list(c, "layers_pattern", &out->layer_lists);
}

pb_status targets_config_read(void *options, const pb_adapter_config *c)
{
    return targets_read(c, options);
}

bool targets_are_narrowed(const pb_method *m)
{
    const method_targets *t = m->options;
    return t->exclude.count > 0 || *t->exclude_pattern != '\0' || t->layers.count > 0;
}

void targets_write_paths(const pb_method *m, const char *key,
                         bool (*chosen)(const pb_method *m, const pb_site *site), pb_json *json)
{
    pb_json_put_array(json, key, PB_JSON_INLINE);
    for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
        const pb_site *site = pb_model_site_at(m->model, i);
        if (m->sites[i] >= 0 && (chosen == NULL || chosen(m, site))) {
            pb_json_put_text(json, NULL, site->hf_name);
        }
    }
    pb_json_end(json);
}

void targets_write(const pb_method *m, pb_json *json)
{
    const method_targets *t = m->options;
    const char *pattern     = means_all_linear(t) ? ALL_LINEAR : t->target_pattern;
    if (targets_are_narrowed(m)) {
        targets_write_paths(m, "target_modules", NULL, json);
    } else if (*pattern != '\0') {
        pb_json_put_text(json, "target_modules", pattern);
    } else {
        pb_json_put_texts(json, "target_modules", t->targets.items, t->targets.count);
    }
}
