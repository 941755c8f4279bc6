// SPDX-License-Identifier: Apache-2.0
/* Opening, closing and describing a model. The weights come from files (weights.c), from random
 * numbers, or are absent. */
#include "model_private.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/random.h"

#include <string.h>

#define INIT_DEVIATION 0.02 /* initializer_range of Llama */

static pb_status create(const pb_model_config *config, const char *directory, pb_model **out)
{
    pb_model *model  = NULL;
    pb_status status = PB_OK;
    PB_TRY(PB_ALLOC(model, 1));
    model->config = *config;
    PB_TRY_GOTO(status, PB_TEXT(model->directory, directory), err_model);
    PB_TRY_GOTO(status, sites_create(config, &model->sites, &model->site_count), err_model);
    *out = model;
    return PB_OK;
err_model:
    pb_model_close(model);
    return status;
}

pb_status pb_model_open(const char *directory, pb_comm *comm, int threads, pb_model **out)
{
    pb_model_config config = {0};
    pb_model *model        = NULL;
    if (comm != NULL && pb_comm_size(comm) == 1) {
        comm = NULL;
    }
    pb_status status = pb_model_config_read(directory, &config);
    if (status == PB_OK) {
        status = create(&config, directory, &model);
    }
    if (comm != NULL) {
        status = pb_comm_agree(comm, status);
    }
    if (status != PB_OK) {
        goto err_model;
    }
    PB_TRY_GOTO(status, model_load(model, comm, threads > 0 ? threads : 1), err_model);
    *out = model;
    return PB_OK;
err_model:
    pb_model_close(model);
    return status;
}

pb_status pb_model_open_shape(const pb_model_config *config, pb_model **out)
{
    return create(config, "", out);
}

/* Item i of a site's stream is its value i, so the order of work does not change the weights. */
static void fill_random(pb_site *site, float norm, uint64_t seed, int threads)
{
    float *x     = site->weight.data;
    int64_t n    = pb_tensor_count(&site->weight);
    bool is_norm = site->site_class == PB_SITE_NORM;

    pb_random stream = pb_random_stream(seed, PB_RANDOM_SYNTHETIC, (uint64_t)site->index);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n; i++) {
        x[i] = is_norm ? norm : (float)(INIT_DEVIATION * pb_random_normal(stream, (uint64_t)i));
    }
}

pb_status pb_model_open_random(const pb_model_config *config, uint64_t seed, int threads,
                               pb_model **out)
{
    pb_model *model  = NULL;
    pb_status status = PB_OK;
    PB_TRY(create(config, "", &model));
    PB_TRY_GOTO(status, PB_ALLOC(model->arena, model_lay_out(model, NULL)), err_model);
    model_lay_out(model, model->arena);
    for (int64_t i = 0; i < model->site_count; i++) {
        if (model->sites[i].has_weight) {
            fill_random(&model->sites[i], (float)(1.0 - config->norm_offset), seed, threads);
        }
    }
    model_finish(model);
    *out = model;
    return PB_OK;
err_model:
    pb_model_close(model);
    return status;
}

void pb_model_close(pb_model *model)
{
    if (model == NULL) {
        return;
    }
    pb_comm_window_destroy(model->window);
    pb_safetensors_close(model->file);
    pb_memory_free_texts(model->files, (size_t)model->file_count);
    pb_memory_free(model->arena);
    pb_memory_free(model->sites);
    pb_memory_free(model->directory);
    pb_memory_free(model);
}

void pb_model_release(const pb_model *model)
{
    if (model->file != NULL) {
        pb_safetensors_release(model->file);
    }
}

const pb_model_config *pb_model_get_config(const pb_model *model)
{
    return &model->config;
}

const char *pb_model_directory(const pb_model *model)
{
    return model->directory;
}

int64_t pb_model_parameters(const pb_model *model)
{
    int64_t total = 0;
    for (int64_t i = 0; i < model->site_count; i++) {
        const pb_site *site = &model->sites[i];
        if (site->has_weight) {
            total += site->out * site->in;
        }
        if (site->has_bias) {
            total += site->out;
        }
    }
    return total;
}

size_t pb_model_bytes(const pb_model *model)
{
    return model->bytes;
}

/* Name and contents of one file; the contents enter as a hash of their own, so that files cannot
 * run into each other. */
static pb_status hash_file(pb_hash *hash, const char *path)
{
    char text[PB_HASH_TEXT];
    const char *slash = strrchr(path, '/');
    PB_TRY(pb_hash_file(path, text));
    PB_TRY(pb_hash_update_text(hash, slash != NULL ? slash + 1 : path));
    return pb_hash_update_text(hash, text);
}

pb_status pb_model_hash_files(const pb_model *model, char text[PB_HASH_TEXT])
{
    pb_status status  = PB_OK;
    pb_hash *hash     = NULL;
    char *config_path = NULL;
    if (model->file_count == 0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "a model that was not read from files has no hash");
    }
    PB_TRY(pb_hash_create(&hash));
    PB_TRY_GOTO(status, pb_path_join(model->directory, "config.json", &config_path), out_hash);
    PB_TRY_GOTO(status, hash_file(hash, config_path), out_hash);
    for (int64_t i = 0; i < model->file_count; i++) {
        PB_TRY_GOTO(status, hash_file(hash, model->files[i]), out_hash);
    }
    PB_TRY_GOTO(status, pb_hash_finish(hash, text), out_hash);
out_hash:
    pb_memory_free(config_path);
    pb_hash_destroy(hash);
    return status;
}

pb_status pb_model_hash(pb_model *model, char text[PB_HASH_TEXT])
{
    if (model->hash[0] == '\0') {
        PB_TRY(pb_model_hash_files(model, model->hash));
    }
    memcpy(text, model->hash, PB_HASH_TEXT);
    return PB_OK;
}
