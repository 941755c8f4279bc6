// SPDX-License-Identifier: Apache-2.0
/* The environment of a sweep: every model of the grid is opened once, collectively, so that a
 * converted checkpoint lies in one window per node; its tokenizer and chat template go with it. */
#include "internal.h"

#include "pb/log.h"
#include "pb/memory.h"

#include <stdio.h>
#include <string.h>

static pb_status open_backend_once(pb_cell_env *env)
{
    pb_backend *backend = NULL;
    PB_TRY(pb_backend_open(env->setup.backend, env->setup.device, env->setup.threads, &backend));
    pb_status status  = PB_OK;
    env->backend_text = pb_memory_text(pb_backend_describe(backend));
    env->backend_name = pb_memory_text(pb_backend_name(backend));
    if (env->backend_text == NULL || env->backend_name == NULL) {
        status = PB_ERR_MEMORY;
    } else {
        status = pb_cell_gemm_rate(backend, 768, &env->gemm_gflops);
    }
    pb_backend_close(backend);
    return status;
}

pb_status pb_cell_env_open(const pb_cell_setup *setup, pb_comm *comm, pb_cell_env **out)
{
    pb_cell_env *env = NULL;
    PB_TRY(PB_ALLOC(env, 1));
    env->setup       = *setup;
    env->comm        = comm;
    pb_status status = open_backend_once(env);
    if (status != PB_OK) {
        pb_cell_env_close(env);
        return pb_error_frame(status, __FILE__, __LINE__, __func__);
    }
    *out = env;
    return PB_OK;
}

void pb_cell_env_close(pb_cell_env *env)
{
    if (env == NULL) {
        return;
    }
    for (int64_t i = env->models_count - 1; i >= 0; i--) {
        pb_tokenizer_close(env->models[i].tokenizer);
        pb_model_close(env->models[i].model);
        pb_memory_free(env->models[i].name);
        pb_memory_free(env->models[i].message);
    }
    for (int64_t i = 0; i < env->files_count; i++) {
        pb_memory_free(env->files[i].path);
    }
    pb_memory_free(env->models);
    pb_memory_free(env->files);
    pb_memory_free(env->backend_text);
    pb_memory_free(env->backend_name);
    pb_memory_free(env);
}

const env_model *env_find_model(const pb_cell_env *env, const char *name)
{
    for (int64_t i = 0; i < env->models_count; i++) {
        if (strcmp(env->models[i].name, name) == 0) {
            return &env->models[i];
        }
    }
    return NULL;
}

/* The parts of a model that need no collective call. */
static pb_status open_text(env_model *m, const pb_cell_model_options *options)
{
    m->chat = pb_template_find(options->chat);
    if (m->chat == NULL) {
        const char *nearest = pb_string_nearest(options->chat, pb_template_names());
        return PB_FAIL(PB_ERR_CONFIG, "chat template \"%s\" is not known%s%s", options->chat,
                       nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "");
    }
    PB_TRY(pb_tokenizer_open(options->path, &m->tokenizer));
    const pb_model_config *c = pb_model_get_config(m->model);
    if (pb_tokenizer_size(m->tokenizer) > c->vocab) {
        pb_log_warn("%s: the tokenizer has %lld ids, the model %lld", options->path,
                    (long long)pb_tokenizer_size(m->tokenizer), (long long)c->vocab);
    }
    return PB_OK;
}

/* Hashed by one rank, told to the others. */
static pb_status share_hash(pb_cell_env *env, env_model *m)
{
    pb_status status = PB_OK;
    if (env->comm == NULL || pb_comm_rank(env->comm) == 0) {
        status = pb_model_hash(m->model, m->hash);
    }
    if (env->comm == NULL || pb_comm_size(env->comm) == 1) {
        return status;
    }
    PB_TRY(pb_comm_agree(env->comm, status));
    return pb_comm_broadcast(env->comm, m->hash, sizeof m->hash, 0);
}

static pb_status agree(pb_cell_env *env, pb_status status)
{
    return env->comm != NULL ? pb_comm_agree(env->comm, status) : status;
}

static pb_status open_model(pb_cell_env *env, env_model *m, const pb_config *config)
{
    pb_cell_model_options options = {0};
    PB_TRY(agree(env, pb_config_read(config, "model", pb_cell_model_fields, NULL, &options)));
    pb_status status = pb_model_open(options.path, env->comm, &m->model);
    if (status == PB_OK) {
        status = agree(env, open_text(m, &options));
    }
    if (status == PB_OK) {
        status = share_hash(env, m);
    }
    pb_config_clear(pb_cell_model_fields, &options);
    return status;
}

/* The message as the rank that failed wrote it: pb_comm_agree names that rank on the others, and a
 * record must not depend on how many ranks there are. */
static const char *own_message(const pb_cell_env *env)
{
    const char *message = pb_error_message();
    int rank            = 0;
    int length          = 0;
    if (env->comm != NULL && sscanf(message, "rank %d: %n", &rank, &length) == 1 && length > 0) {
        return message + length;
    }
    return message;
}

static pb_status open_shape(env_model *m, const pb_config *config)
{
    pb_cell_model_options options = {0};
    pb_model_config shape;
    PB_TRY(pb_config_read(config, "model", pb_cell_model_fields, NULL, &options));
    pb_status status = pb_model_config_read(options.path, &shape);
    pb_config_clear(pb_cell_model_fields, &options);
    PB_TRY(status);
    return pb_model_open_shape(&shape, &m->model);
}

/* A new entry, named; NULL when memory is out. */
static env_model *new_entry(pb_cell_env *env, const char *name)
{
    env_model *grown = pb_memory_resize(env->models, (size_t)env->models_count + 1, sizeof *grown);
    if (grown == NULL) {
        return NULL;
    }
    env->models  = grown;
    env_model *m = &env->models[env->models_count];
    m->name      = pb_memory_text(name);
    if (m->name == NULL) {
        return NULL;
    }
    env->models_count++;
    return m;
}

/* Keeps why a model cannot be used; only a broken group or no memory is passed on. */
static pb_status remember(pb_cell_env *env, env_model *m)
{
    if (m->status == PB_OK) {
        return PB_OK;
    }
    if (m->status == PB_ERR_COMM || m->status == PB_ERR_MEMORY) {
        return pb_error_frame(m->status, __FILE__, __LINE__, __func__);
    }
    m->message = pb_memory_text(own_message(env));
    pb_log0_error("model %s cannot be used, its cells fail: %s", m->name, m->message);
    pb_error_clear();
    return m->message != NULL ? PB_OK : PB_ERR_MEMORY;
}

pb_status pb_cell_env_add_shape(pb_cell_env *env, const char *name, const pb_config *config)
{
    if (env_find_model(env, name) != NULL) {
        return PB_OK;
    }
    env_model *m = new_entry(env, name);
    if (m == NULL) {
        return PB_ERR_MEMORY;
    }
    m->status = open_shape(m, config);
    return remember(env, m);
}

pb_status pb_cell_env_add_model(pb_cell_env *env, const char *name, const pb_config *config)
{
    if (env_find_model(env, name) != NULL) {
        return PB_OK;
    }
    env_model *m = new_entry(env, name);
    if (m == NULL) {
        return PB_ERR_MEMORY;
    }
    m->status = open_model(env, m, config);
    PB_TRY(remember(env, m));
    if (m->status == PB_OK) {
        pb_log0_info("model %s: %lld parameters, %.1f MB", name,
                     (long long)pb_model_parameters(m->model),
                     (double)pb_model_bytes(m->model) / 1e6);
    }
    return PB_OK;
}
