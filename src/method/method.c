// SPDX-License-Identifier: Apache-2.0
/* The front of the methods: makes an instance from its options (read, plan, allocate, fill),
 * merges, and describes it. The slots themselves are called by the network. */
#include "low_rank.h"

#include "pb/memory.h"

#include <stdio.h>
#include <string.h>

const pb_config_field *pb_method_fields(const pb_method_ops *ops)
{
    static const pb_config_field none[] = {PB_FIELD_END};
    return ops->fields != NULL ? ops->fields : none;
}

pb_status pb_method_options_read(const pb_method_ops *ops, const pb_config *config,
                                 const char *group, void **options)
{
    static const char *const also[]     = {"name", NULL};
    const pb_config_field *const fields = pb_method_fields(ops);
    void *made = pb_memory_new(1, ops->options_size > 0 ? ops->options_size : 1);
    if (made == NULL) {
        return PB_ERR_MEMORY;
    }
    pb_status status = config != NULL ? pb_config_read(config, group, fields, also, made)
                                      : pb_config_defaults(fields, made);
    if (status != PB_OK) {
        pb_memory_free(made);
        return PB_FRAME(status);
    }
    *options = made;
    return PB_OK;
}

pb_status pb_method_options_copy(const pb_method_ops *ops, const void *options, void **copy)
{
    void *made = pb_memory_new(1, ops->options_size > 0 ? ops->options_size : 1);
    if (made == NULL) {
        return PB_ERR_MEMORY;
    }
    pb_status status = pb_config_copy(pb_method_fields(ops), ops->options_size, options, made);
    if (status != PB_OK) {
        pb_memory_free(made);
        return PB_FRAME(status);
    }
    *copy = made;
    return PB_OK;
}

void pb_method_options_free(const pb_method_ops *ops, void *options)
{
    if (options != NULL) {
        pb_config_clear(pb_method_fields(ops), options);
        pb_memory_free(options);
    }
}

static bool has_weights(const pb_model *model)
{
    const pb_site *embedding = pb_model_site(model, PB_SITE_EMBEDDING, 0);
    return embedding != NULL && !pb_tensor_is_none(&embedding->weight);
}

const char *method_key(const pb_method *m, const char *key)
{
    static const char *const names[][2] = {
        {"targets", "target_modules"},          {"target_pattern", "target_modules"},
        {"exclude", "exclude_modules"},         {"exclude_pattern", "exclude_modules"},
        {"layers", "layers_to_transform"},      {"layer_lists", "layers_pattern"},
        {"feedforward", "feedforward_modules"}, {"feedforward_pattern", "feedforward_modules"},
    };
    for (size_t i = 0; m->source->adapter != NULL && i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i][0], key) == 0) {
            return names[i][1];
        }
    }
    return key;
}

pb_status method_at(const pb_method *m, const char *key, int64_t index, pb_status status)
{
    const pb_method_source *source = m->source;
    if (source->adapter != NULL) {
        return pb_error_prefix(status, "%s: %s", source->adapter, method_key(m, key));
    }
    return pb_config_at(source->config, source->group, key, index, status);
}

bool method_is_given(const pb_method *m, const char *key)
{
    const pb_method_source *source = m->source;
    char path[256];
    (void)snprintf(path, sizeof path, "%s.%s", source->group != NULL ? source->group : "", key);
    return source->config != NULL && pb_config_has(source->config, path);
}

pb_status method_matches(const pb_method *m, const char *before, const char *regex,
                         const char *after, const char *path, bool *matches)
{
    return pb_re_fullmatch(m->source->expressions, before, regex, after, path, matches);
}

pb_status method_create(const pb_method_ops *ops, void **options, const pb_model *model,
                        pb_backend *backend, uint64_t seed, pb_method_source *source,
                        pb_method **out)
{
    pb_status status = PB_OK;
    pb_method *m     = NULL;
    PB_TRY_GOTO(status, PB_ALLOC(m, 1), err_options);
    *m = (pb_method){
        .ops     = ops,
        .options = *options,
        .model   = model,
        .backend = has_weights(model) ? backend : NULL,
        .seed    = seed,
        .source  = source,
    };
    *options = NULL;
    PB_TRY_GOTO(status, pb_re_set_create(&source->expressions), err_method);
    PB_TRY_GOTO(status, PB_ALLOC(m->sites, pb_model_site_count(model)), err_method);
    for (int64_t i = 0; i < pb_model_site_count(model); i++) {
        m->sites[i] = -1;
    }
    PB_TRY_GOTO(status, ops->plan(m), err_method);
    PB_TRY_GOTO(status, method_check_file(m), err_method);
    if (m->backend != NULL) {
        PB_TRY_GOTO(status, method_allocate(m), err_method);
        PB_TRY_GOTO(status, method_initialise(m), err_method);
    }
    pb_re_set_destroy(source->expressions);
    m->source = NULL;
    *out      = m;
    return PB_OK;

err_method:
    pb_re_set_destroy(source->expressions);
    pb_method_destroy(m);
    return status;
err_options:
    pb_method_options_free(ops, *options);
    *options = NULL;
    return status;
}

pb_status pb_method_create_take(const pb_method_ops *ops, void **options, const pb_config *config,
                                const char *group, const pb_model *model, pb_backend *backend,
                                uint64_t seed, pb_method **out)
{
    pb_method_source source = {.config = config, .group = group};
    return method_create(ops, options, model, backend, seed, &source, out);
}

pb_status pb_method_create(const pb_method_ops *ops, const pb_config *config, const char *group,
                           const pb_model *model, pb_backend *backend, uint64_t seed,
                           pb_method **out)
{
    void *options = NULL;
    if (ops == NULL || model == NULL) {
        return PB_FAIL(PB_ERR_ARGUMENT, "a method needs its table and a model");
    }
    PB_TRY(pb_method_options_read(ops, config, group, &options));
    return PB_FRAME(pb_method_create_take(ops, &options, config, group, model, backend, seed, out));
}

pb_status pb_method_check_steps(pb_method *m, const pb_config *config, const char *group,
                                int64_t steps)
{
    pb_method_source source = {.config = config, .group = group};
    m->source               = &source;
    pb_status status        = m->ops->check_steps != NULL ? m->ops->check_steps(m, steps) : PB_OK;
    m->source               = NULL;
    return status;
}

pb_status pb_method_give_values(pb_method *m, pb_backend *backend)
{
    if (m->backend != NULL) {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s has its values already", m->ops->name);
    }
    if (m->ops->initialise != NULL || m->ops->bind != NULL) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "%s starts from weights, and this model has none",
                       m->ops->name);
    }
    m->backend = backend;
    PB_TRY(method_allocate(m));
    return method_initialise(m);
}

void pb_method_destroy(pb_method *m)
{
    if (m == NULL) {
        return;
    }
    if (m->ops->destroy != NULL) {
        m->ops->destroy(m);
    }
    pb_backend_free(m->backend, m->frozen.data);
    pb_backend_free(m->backend, m->grads.data);
    pb_backend_free(m->backend, m->values.data);
    pb_memory_free(m->trainables);
    pb_memory_free(m->sites);
    pb_method_options_free(m->ops, m->options);
    pb_memory_free(m);
}

pb_status pb_method_merge(pb_method *m, const pb_site *site, pb_tensor *weight, pb_tensor *bias)
{
    if (m->ops->rows_forward != NULL || m->ops->keys_forward != NULL) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "%s acts before the tokens: it cannot be merged into "
                       "the weights",
                       m->ops->name);
    }
    unsigned acts = m->ops->acts != NULL ? m->ops->acts(m, site) : 0;
    if (acts == 0) {
        return PB_OK;
    }
    if (m->count > 0 && pb_tensor_is_none(&m->values)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "%s is only planned: it has no values to merge",
                       m->ops->name);
    }
    if ((acts & PB_ACTS_LOW_RANK) != 0) {
        pb_low_rank part = m->ops->low_rank(m, site);
        PB_TRY(low_rank_merge(m, &part, weight));
    }
    if ((acts & (PB_ACTS_ON_INPUT | PB_ACTS_ON_OUTPUT)) == 0) {
        return PB_OK;
    }
    if (m->ops->merge == NULL) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "%s cannot be merged into the weights", m->ops->name);
    }
    pb_tensor none = {0};
    return m->ops->merge(m, site, weight, bias != NULL ? bias : &none);
}
