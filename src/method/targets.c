// SPDX-License-Identifier: Apache-2.0
/* Which sites a list of targets names. A target is the end of a Hugging Face module path, cut at a
 * dot: "k_proj", "self_attn.k_proj", "layers.0.self_attn.k_proj". */
#include "internal.h"

#include "pb/memory.h"

#include <string.h>

bool pb_target_matches(const pb_site *site, const char *target)
{
    size_t length = strlen(site->hf_name);
    size_t tail   = strlen(target);
    if (tail == 0 || tail > length || strcmp(site->hf_name + (length - tail), target) != 0) {
        return false;
    }
    return tail == length || site->hf_name[length - tail - 1] == '.';
}

static void list_free(pb_config_list *list)
{
    for (int64_t i = 0; i < list->count; i++) {
        pb_memory_free(list->items[i]);
    }
    pb_memory_free(list->items);
    *list = (pb_config_list){0};
}

pb_status pb_targets_set(const char *const *texts, size_t count, pb_config_list *out)
{
    pb_config_list list = {0};
    PB_TRY(PB_ALLOC(list.items, count));
    for (size_t i = 0; i < count; i++) {
        list.items[i] = pb_memory_text(texts[i]);
        if (list.items[i] == NULL) {
            list_free(&list);
            return PB_ERR_MEMORY;
        }
        list.count++;
    }
    list_free(out);
    *out = list;
    return PB_OK;
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

/* marked [pb_model_site_count]: which sites the targets name. */
static pb_status mark(const pb_method *m, const pb_config_list *targets, pb_site_class site_class,
                      bool *marked)
{
    for (int64_t t = 0; t < targets->count; t++) {
        bool any = false;
        for (int64_t i = 0; i < pb_model_site_count(m->model); i++) {
            const pb_site *site = pb_model_site_at(m->model, i);
            if (site->site_class == site_class && pb_target_matches(site, targets->items[t])) {
                marked[i] = any = true;
            }
        }
        if (!any) {
            return pb_method_at(m, "targets", t, fail_unmatched(m, targets->items[t], site_class));
        }
    }
    return PB_OK;
}

pb_status pb_method_plan_sites(pb_method *m, const pb_config_list *targets,
                               pb_site_class site_class, pb_site_plan plan)
{
    bool *marked     = NULL;
    pb_status status = PB_OK;
    if (targets->count == 0) {
        return pb_method_at(m, "targets", -1,
                            PB_FAIL(PB_ERR_CONFIG,
                                    "%s: targets is empty; name the modules to act on",
                                    m->ops->name));
    }
    PB_TRY(PB_ALLOC(marked, pb_model_site_count(m->model)));
    PB_TRY_GOTO(status, mark(m, targets, site_class, marked), out_marked);
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

pb_trainable *pb_site_trainable(const pb_method *m, const pb_site *site, int64_t which)
{
    int64_t first = m->sites[site->index];
    return first < 0 ? NULL : &m->trainables[first + which];
}
