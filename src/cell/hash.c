// SPDX-License-Identifier: Apache-2.0
/* The hash of a cell: everything that can change its result, and nothing else. */
#include "internal.h"

#include "build.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <stdio.h>
#include <string.h>

/* Changes whenever the same configuration may give another result. */
#define RESULT_VERSION "2"

const char *pb_cell_program(void)
{
    return "peftbench " PB_BUILD_VERSION ", commit " PB_BUILD_COMMIT ", version " RESULT_VERSION
           " of results";
}

static env_file *find_file(const pb_cell_env *env, const char *path)
{
    for (int64_t i = 0; i < env->files_count; i++) {
        if (strcmp(env->files[i].path, path) == 0) {
            return &env->files[i];
        }
    }
    return NULL;
}

pb_status env_file_set(pb_cell_env *env, const char *path, const char *hash)
{
    env_file *file = find_file(env, path);

    if (file != NULL) {
        (void)snprintf(file->hash, sizeof file->hash, "%s", hash);
        return PB_OK;
    }
    env_file *grown = pb_memory_resize(env->files, (size_t)env->files_count + 1, sizeof *grown);
    if (grown == NULL) {
        return PB_ERR_MEMORY;
    }
    env->files = grown;
    file       = &env->files[env->files_count];
    file->path = pb_memory_text(path);
    if (file->path == NULL) {
        return PB_ERR_MEMORY;
    }
    (void)snprintf(file->hash, sizeof file->hash, "%s", hash);
    env->files_count++;
    return PB_OK;
}

/* Contents of a file by its hash, or why it cannot be read, in words that do not name the machine's
 * folders. */
pb_status env_file_hash(pb_cell_env *env, const char *path, char hash[PB_HASH_TEXT])
{
    const env_file *known = find_file(env, path);

    if (known != NULL) {
        memcpy(hash, known->hash, PB_HASH_TEXT);
        return PB_OK;
    }
    if (*path == '\0') {
        strcpy(hash, "none");
    } else if (pb_hash_file(path, hash) != PB_OK) {
        pb_error_clear();
        strcpy(hash, "unreadable");
    }
    return env_file_set(env, path, hash);
}

static pb_status update_file(pb_cell_env *env, pb_hash *h, const char *path)
{
    char hash[PB_HASH_TEXT];
    PB_TRY(env_file_hash(env, path, hash));
    return pb_hash_update_text(h, hash);
}

static pb_status update(pb_cell_env *env, const pb_cell *cell, const cell_options *options,
                        pb_hash *h)
{
    char threads[32];
    pb_string text = {0};
    pb_status status;
    PB_TRY_GOTO(status, cell_options_write(options, cell, false, &text), done);
    PB_TRY_GOTO(status, pb_hash_update_text(h, text.data), done);
    PB_TRY_GOTO(status, pb_hash_update_text(h, RESULT_VERSION), done);
    PB_TRY_GOTO(status, pb_hash_update_text(h, pb_backend_describe(env->backend)), done);
    snprintf(threads, sizeof threads, "%d %s", env->setup.threads, pb_dtype_name(env->setup.dtype));
    PB_TRY_GOTO(status, pb_hash_update_text(h, threads), done);
    const env_model *model = env_find_model(env, cell->model);
    bool usable            = model != NULL && model->model != NULL && model->tokenizer != NULL;
    PB_TRY_GOTO(status, pb_hash_update_text(h, usable ? model->hash : "unreadable"), done);
    PB_TRY_GOTO(status, pb_hash_update_text(h, usable ? pb_tokenizer_hash(model->tokenizer) : ""),
                done);
    /* The same bytes are other rows in another form, which a name may tell. */
    PB_TRY_GOTO(status, pb_hash_update_text(h, pb_dataset_form(&options->dataset, PB_SPLIT_TRAIN)),
                done);
    PB_TRY_GOTO(status, pb_hash_update_text(h, pb_dataset_form(&options->dataset, PB_SPLIT_TEST)),
                done);
    PB_TRY_GOTO(status, update_file(env, h, options->dataset.train_file), done);
    PB_TRY_GOTO(status, update_file(env, h, options->dataset.test_file), done);
done:
    pb_string_clear(&text);
    return status;
}

/* A configuration that cannot be read is hashed by its message: mended, it is another cell. */
static pb_status update_any(pb_cell_env *env, const pb_cell *cell, pb_hash *h)
{
    cell_options options = {0};
    pb_status status     = cell_options_read(cell, &options);
    if (status == PB_ERR_MEMORY) {
        return PB_FRAME(status);
    }
    if (status != PB_OK) {
        status = pb_hash_update_text(h, pb_error_message());
        pb_error_clear();
        return status;
    }
    status = update(env, cell, &options, h);
    cell_options_clear(&options);
    return status;
}

pb_status pb_cell_hash(pb_cell_env *env, const pb_cell *cell, char text[PB_HASH_TEXT])
{
    pb_hash *h = NULL;
    pb_status status;
    PB_TRY(pb_hash_create(&h));
    PB_TRY_GOTO(status, update_any(env, cell, h), done);
    PB_TRY_GOTO(status, pb_hash_finish(h, text), done);
done:
    pb_hash_destroy(h);
    return status;
}
