// SPDX-License-Identifier: Apache-2.0
/* The environment of a sweep: the backend, and every model of the grid, opened once and
 * collectively, with its tokenizer and chat template, so that a converted checkpoint occupies one
 * window per node. Weights are placed in the backend's memory when the first cell needs them. */
#include "internal.h"

#include "pb/clock.h"
#include "pb/kernels.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/safetensors.h"

#include <stdio.h>
#include <string.h>

enum { BACKEND_TEXT_BYTES = 1024 };

/* The reference rate for `mfu`. Other kernels were measured on one thread, with F32 factors; on
 * several threads the same ratio is assumed. */
static pb_status find_peak(pb_cell_env *env)
{
    pb_kernels kernels;
    const char *best = "";
    pb_string text   = {0};
    pb_kernels_get(&kernels);
    double ratio     = pb_kernels_best(&kernels, &best);
    env->peak_gflops = ratio * env->gemm_gflops;
    if (!pb_backend_is_host(env->backend) || env->setup.dtype != PB_DTYPE_F32) {
        env->peak_gflops = env->gemm_gflops;
        PB_TRY(pb_string_printf(&text, "square %s product, %s", pb_dtype_name(env->setup.dtype),
                                pb_backend_describe(env->backend)));
        env->peak_source = text.data;
        return PB_OK;
    }
    PB_TRY(pb_string_printf(&text, "square F32 product, %s%s", *best != '\0' ? best : "CBLAS",
                            *best != '\0' ? " kernels" : ""));
    if (ratio > 1.0) {
        pb_status status =
            pb_string_printf(&text, ", %.2f times the measured rate of %s", ratio, kernels.name);
        if (status != PB_OK) {
            pb_string_clear(&text);
            return status;
        }
    }
    env->peak_source = text.data;
    return PB_OK;
}

/* A plan with stated or fitted rates needs no device: the CPU stands in. */
static pb_status open_planned(pb_cell_env *env)
{
    const pb_backend_ops *ops = NULL;
    const char *name          = env->setup.backend;
    if (strcmp(name, "auto") != 0) {
        PB_TRY(pb_backend_find(name, &ops));
        env->on_device = !ops->is_host;
        name           = ops->is_host ? name : "cpu";
    }
    PB_TRY(pb_backend_open(name, env->on_device ? 0 : env->setup.device, env->setup.threads,
                           &env->backend));
    env->on_device     = env->on_device || !pb_backend_is_host(env->backend);
    env->setup.threads = pb_backend_threads(env->backend);
    env->gemm_gflops   = env->setup.gflops;
    env->rates =
        env->setup.rates != NULL ? *env->setup.rates : pb_rates_of_product(env->gemm_gflops);
    return PB_OK;
}

/* For another machine: its processors and devices are not those here. */
static bool is_planned(const pb_cell_env *env)
{
    return env->setup.gflops > 0.0 || env->setup.rates != NULL;
}

static pb_status open_backend(pb_cell_env *env)
{
    if (is_planned(env)) {
        return open_planned(env);
    }
    PB_TRY(pb_energy_open(&env->energy));
    PB_TRY(
        pb_backend_open(env->setup.backend, env->setup.device, env->setup.threads, &env->backend));
    env->setup.threads = pb_backend_threads(env->backend);
    pb_backend_warn(env->backend);
    env->on_device = !pb_backend_is_host(env->backend);
    PB_TRY(pb_backend_use_dtype(env->backend, env->setup.dtype));
    if (env->setup.products != NULL) {
        PB_TRY(pb_backend_use_products(env->backend, env->setup.products));
    }
    pb_backend_use_graphs(env->backend, env->setup.graphs);
    PB_TRY(pb_cell_gemm_rate(env->backend, 0, &env->gemm_gflops));
    env->rates = pb_rates_of_product(env->gemm_gflops);
    return find_peak(env);
}

/* Other kernels or another number of threads change the last digits. Rank 0 includes its backend in
 * the hashes of the plan, so every process must have the same one. */
static pb_status check_backends(const pb_cell_env *env)
{
    char first[BACKEND_TEXT_BYTES] = "";
    pb_status status               = PB_OK;
    const char *own                = pb_backend_describe(env->backend);
    snprintf(first, sizeof first, "%s", own);
    PB_TRY(pb_comm_broadcast(env->comm, first, sizeof first, 0));
    if (strncmp(first, own, sizeof first - 1) != 0) {
        status =
            PB_FAIL(PB_ERR_CONFIG,
                    "this process would compute with \"%s\", rank 0 with \"%s\": results would "
                    "depend on where a cell runs; start all processes on nodes of one kind, "
                    "with the same OPENBLAS_CORETYPE and a fixed --threads N",
                    own, first);
    }
    return pb_comm_agree(env->comm, status);
}

static bool is_same_device(pb_device_id a, pb_device_id b)
{
    return a.parts[0] == b.parts[0] && a.parts[1] == b.parts[1];
}

/* The processes that have the device of `rank`; 0 where that has none. */
static int device_users(const pb_device_id *ids, int ranks, int rank)
{
    int users = 0;
    for (int i = 0; i < ranks && !is_same_device(ids[rank], (pb_device_id){0}); i++) {
        users += is_same_device(ids[i], ids[rank]);
    }
    return users;
}

/* Processes that share a device compute in turns and hold the weights once each. Numbers of devices
 * do not tell: a process may see one only, its own. */
static pb_status find_sharing(pb_cell_env *env)
{
    int ranks         = pb_comm_size(env->comm);
    int sharing       = 0;
    pb_device_id *ids = NULL;
    pb_status status  = pb_comm_agree(env->comm, PB_ALLOC(ids, ranks));
    PB_TRY_GOTO(status, status, done);
    ids[pb_comm_rank(env->comm)] = pb_backend_device_id(env->backend);
    PB_TRY_GOTO(status, pb_comm_reduce_sum(env->comm, ids->parts, 2 * ranks), done);
    for (int i = 0; i < ranks; i++) {
        sharing += device_users(ids, ranks, i) > 1;
    }
    env->shares_device = device_users(ids, ranks, pb_comm_rank(env->comm)) > 1;
    if (sharing > 0) {
        pb_log0_warn(
            "%d of %d processes share their device with others, and each holds weights of its "
            "own there; start one per device",
            sharing, ranks);
    }
done:
    pb_memory_free(ids);
    return status;
}

pb_status pb_cell_env_open(const pb_cell_setup *setup, pb_comm *comm, pb_cell_env **out)
{
    pb_cell_env *env = NULL;
    pb_status status = PB_ALLOC(env, 1);
    PB_TRY_GOTO(status, pb_comm_agree(comm, status), err_env);
    env->setup = *setup;
    env->comm  = comm;
    PB_TRY_GOTO(status, pb_comm_agree(env->comm, open_backend(env)), err_env);
    PB_TRY_GOTO(status, check_backends(env), err_env);
    PB_TRY_GOTO(status, find_sharing(env), err_env);
    if (!is_planned(env)) {
        status = env_report_processors(env, setup->threads <= 0);
        PB_TRY_GOTO(status, pb_comm_agree(env->comm, status), err_env);
    }
    *out = env;
    return PB_OK;

err_env:
    pb_cell_env_close(env);
    return status;
}

pb_status pb_cell_env_measure_products(pb_cell_env *env, char text[PB_PRODUCTS_SIZE])
{
    PB_TRY(pb_backend_use_products(env->backend, "auto"));
    (void)snprintf(text, PB_PRODUCTS_SIZE, "%s", pb_backend_products(env->backend));
    return PB_OK;
}

pb_status pb_cell_env_use_products(pb_cell_env *env, const char *text)
{
    PB_TRY(pb_comm_agree(env->comm, pb_backend_use_products(env->backend, text)));
    return check_backends(env);
}

bool pb_cell_env_on_host(const pb_cell_env *env)
{
    return !env->on_device;
}

int pb_cell_env_threads(const pb_cell_env *env)
{
    return env->setup.threads;
}

double pb_cell_env_gflops(const pb_cell_env *env)
{
    return env->setup.rates != NULL ? 0.0 : env->gemm_gflops;
}

pb_status pb_cell_env_set_cache(pb_cell_env *env, const char *folder)
{
    char *copy = NULL;

    PB_TRY(PB_TEXT(copy, folder));
    pb_memory_free(env->cache);
    env->cache = copy;
    return PB_OK;
}

void pb_cell_env_set_search(pb_cell_env *env, const pb_train_search *search)
{
    env->search = search;
}

void pb_cell_env_close(pb_cell_env *env)
{
    if (env == NULL) {
        return;
    }
    for (int64_t i = env->models_count - 1; i >= 0; i--) {
        pb_tokenizer_close(env->models[i].tokenizer);
        pb_weights_close(env->models[i].weights);
        pb_model_close(env->models[i].model);
        cell_plan_release(env->models[i].plan);
        pb_memory_free(env->models[i].name);
        pb_memory_free(env->models[i].folder);
        pb_memory_free(env->models[i].message);
    }
    pb_memory_free_texts(env->warned, (size_t)env->warned_count);
    for (int64_t i = 0; i < env->files_count; i++) {
        pb_memory_free(env->files[i].path);
    }
    pb_memory_free(env->models);
    pb_memory_free(env->files);
    pb_memory_free(env->cache);
    pb_memory_free(env->adapters);
    pb_memory_free(env->checkpoints);
    pb_memory_free(env->peak_source);
    pb_energy_close(env->energy);
    pb_backend_close(env->backend);
    pb_memory_free(env);
}

env_model *env_find_model(const pb_cell_env *env, const char *name)
{
    for (int64_t i = 0; i < env->models_count; i++) {
        if (strcmp(env->models[i].name, name) == 0) {
            return &env->models[env->models[i].same];
        }
    }
    return NULL;
}

/* The first entry with the folder and chat template of a plan; the count when there is none. */
static int64_t find_same(const pb_cell_env *env, const cell_plan *plan)
{
    const cell_model_options *own = &plan->options.model;
    int64_t i                     = own->path == NULL ? env->models_count : 0;
    for (; i < env->models_count; i++) {
        const cell_model_options *o = &env->models[i].plan->options.model;
        if (o->path != NULL && strcmp(o->path, own->path) == 0 && strcmp(o->chat, own->chat) == 0) {
            break;
        }
    }
    return i;
}

static bool is_by_model(const cell_plan *plan)
{
    return strcmp(plan->options.model.chat, "auto") == 0;
}

/* Until the tokenizer is open, "none" replaces "auto". */
static pb_status find_chat(env_model *m)
{
    const cell_plan *plan = m->plan;
    const char *chat      = is_by_model(plan) ? "none" : plan->options.model.chat;
    return pb_config_at(plan->config, "model", "chat", -1, pb_template_find(chat, &m->chat));
}

/* Opens, once, the parts of a model that need no collective call. */
static pb_status open_text(env_model *m)
{
    const cell_plan *plan    = m->plan;
    const char *path         = plan->options.model.path;
    const pb_model_config *c = pb_model_get_config(m->model);
    if (m->tokenizer != NULL) {
        return PB_OK;
    }
    PB_TRY(find_chat(m));
    PB_TRY(pb_tokenizer_open(path, &m->tokenizer));
    if (is_by_model(plan)) {
        m->chat = pb_template_for(pb_model_architecture(c), m->tokenizer);
        PB_TRY(pb_template_warn(pb_model_architecture(c), m->tokenizer, path));
    }
    if (pb_tokenizer_size(m->tokenizer) > c->vocab) {
        pb_log_warn("%s: the tokenizer has %lld ids, the model %lld", path,
                    (long long)pb_tokenizer_size(m->tokenizer), (long long)c->vocab);
    }
    return PB_OK;
}

/* One rank computes the hash and shares it. */
static pb_status share_hash(pb_cell_env *env, env_model *m)
{
    pb_status status = PB_OK;
    if (pb_comm_rank(env->comm) == 0) {
        status = pb_model_hash(m->model, m->hash);
    }
    PB_TRY(pb_comm_agree(env->comm, status));
    return pb_comm_broadcast(env->comm, m->hash, sizeof m->hash, 0);
}

/* A folder that cannot be listed is reported when the model is opened. */
static pb_status note_folder(env_model *m, const char *folder)
{
    PB_TRY(pb_record_set_text(&m->folder, folder));
    if (env_stamp_folder(folder, m->stamp) != PB_OK) {
        pb_error_clear();
        m->stamp[0] = '\0';
    }
    return PB_OK;
}

/* Fails if the files changed between opening and hashing. */
static pb_status check_unchanged(env_model *m)
{
    char stamp[PB_HASH_TEXT];
    PB_TRY(env_stamp_folder(m->folder, stamp));
    if (strcmp(stamp, m->stamp) != 0) {
        return PB_FAIL(PB_ERR_IO, "%s changed while it was read; start again", m->folder);
    }
    memcpy(m->seen_model, m->hash, sizeof m->seen_model);
    (void)snprintf(m->seen_tokenizer, sizeof m->seen_tokenizer, "%s",
                   pb_tokenizer_hash(m->tokenizer));
    return PB_OK;
}

/* The group `model` is read before the other groups of a cell, whose errors do not matter here. */
static pb_status check_group(const cell_plan *plan)
{
    return plan->options.model.path != NULL ? PB_OK : PB_FAIL(plan->status, "%s", plan->message);
}

static pb_status open_model(pb_cell_env *env, env_model *m)
{
    const cell_plan *plan = m->plan;
    const char *path      = plan->options.model.path;
    pb_status status      = check_group(plan);
    if (status == PB_OK) {
        status = note_folder(m, path);
    }
    PB_TRY(pb_comm_agree(env->comm, status));
    PB_TRY(pb_model_open(path, env->comm, env->setup.threads, &m->model));
    PB_TRY(pb_comm_agree(env->comm, open_text(m)));
    PB_TRY(share_hash(env, m));
    return pb_comm_agree(env->comm, check_unchanged(m));
}

/* The message as the failing rank wrote it: pb_comm_agree names that rank on the others, and a
 * record must not depend on the number of ranks. */
static const char *own_message(void)
{
    const char *message = pb_error_message();
    int rank            = 0;
    int length          = 0;
    if (sscanf(message, "rank %d: %n", &rank, &length) == 1 && length > 0) {
        return message + length;
    }
    return message;
}

/* Most kinds of damage show in the headers, without reading the weights. */
static pb_status check_weights(const char *directory)
{
    pb_safetensors *file = NULL;
    PB_TRY(pb_safetensors_open(directory, &file));
    pb_safetensors_close(file);
    return PB_OK;
}

/* A folder without weights is enough for planning, which needs config.json alone and reads the
 * tokenizer only where it is. */
static pb_status open_shape(env_model *m, bool weights)
{
    const cell_plan *plan = m->plan;
    const char *path      = plan->options.model.path;
    bool fetched          = false;
    pb_model_config shape;
    PB_TRY(check_group(plan));
    PB_TRY(pb_model_config_read(path, &shape));
    PB_TRY(pb_model_open_shape(&shape, &m->model));
    PB_TRY(pb_safetensors_present(path, &fetched));
    if (fetched || weights) {
        PB_TRY(check_weights(path));
        return open_text(m);
    }
    pb_status status = open_text(m);
    if (status != PB_ERR_NOT_FOUND) {
        return status;
    }
    pb_error_clear();
    return PB_OK;
}

/* Adds an entry for the model of the cell; a variant of a model that is there shares its entry. */
static pb_status new_entry(pb_cell_env *env, const pb_cell *cell, env_model **out)
{
    PB_TRY(PB_GROW(env->models, env->models_count + 1));
    env_model *m = &env->models[env->models_count];
    PB_TRY(PB_TEXT(m->name, cell->name.model));
    m->plan = cell_plan_share(cell->plan);
    m->same = find_same(env, cell->plan);
    env->models_count++;
    *out = &env->models[m->same];
    return PB_OK;
}

/* Keeps the reason why a model cannot be used; only PB_ERR_MEMORY is passed on. */
static pb_status remember(env_model *m)
{
    if (m->status == PB_OK) {
        return PB_OK;
    }
    if (m->status == PB_ERR_MEMORY) {
        return PB_FRAME(m->status);
    }
    m->message = pb_memory_text(own_message());
    pb_error_clear();
    return m->message != NULL ? PB_OK : PB_ERR_MEMORY;
}

pb_status pb_cell_env_add_shape(pb_cell_env *env, const pb_cell *cell, bool weights)
{
    const char *name = cell->name.model;
    env_model *m     = NULL;
    if (env_find_model(env, name) != NULL) {
        return PB_OK;
    }
    PB_TRY(pb_comm_agree(env->comm, new_entry(env, cell, &m)));
    if (m->model != NULL || m->status != PB_OK) {
        return PB_OK;
    }
    m->status = pb_comm_agree(env->comm, open_shape(m, weights));
    return pb_comm_agree(env->comm, remember(m));
}

pb_status pb_cell_env_add_model(pb_cell_env *env, const pb_cell *cell)
{
    const char *name = cell->name.model;
    env_model *m     = env_find_model(env, name);
    PB_TRY(pb_comm_agree(env->comm, m == NULL ? new_entry(env, cell, &m) : PB_OK));
    if (m->loaded || m->status != PB_OK) {
        return PB_OK;
    }
    pb_model_close(m->model);
    m->model  = NULL;
    m->status = open_model(env, m);
    m->loaded = m->status == PB_OK;
    if (m->status == PB_ERR_COMM) { /* the group is broken */
        return PB_FRAME(m->status);
    }
    PB_TRY(pb_comm_agree(env->comm, remember(m)));
    if (m->loaded) {
        pb_log0_info("model %s: %lld parameters, %.1f MB", name,
                     (long long)pb_model_parameters(m->model),
                     (double)pb_model_bytes(m->model) / 1e6);
    }
    return PB_OK;
}

pb_status pb_cell_env_check_model(const pb_cell_env *env, const char *name)
{
    const env_model *m = env_find_model(env, name);
    if (m == NULL) {
        return PB_FAIL(PB_ERR_INTERNAL, "model %s was not opened before its cells", name);
    }
    return m->status == PB_OK ? PB_OK : PB_FAIL(m->status, "model %s: %s", name, m->message);
}

void env_release_other_weights(pb_cell_env *env, const env_model *m)
{
    for (int64_t i = 0; i < env->models_count && !pb_backend_is_host(env->backend); i++) {
        if (&env->models[i] != m) {
            pb_weights_close(env->models[i].weights);
            env->models[i].weights = NULL;
        }
    }
}

pb_status env_place_weights(pb_cell_env *env, env_model *m)
{
    if (m->weights != NULL) {
        return PB_OK;
    }
    double begin = pb_clock_seconds();
    PB_TRY(pb_weights_open(m->model, env->backend, pb_backend_border(env->backend), &m->weights));
    if (!pb_backend_is_host(env->backend)) {
        pb_log_info("model %s: %.1f MB placed in the memory of %s in %.1f s", m->name,
                    (double)pb_weights_bytes(m->weights) / 1e6, pb_backend_name(env->backend),
                    pb_clock_seconds() - begin);
    }
    return PB_OK;
}
