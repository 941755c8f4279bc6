// SPDX-License-Identifier: Apache-2.0
/* The hash of a cell: everything that can change its result, and nothing else. */
#include "internal.h"

#include "build.h"

#include <stdio.h>

/* Must change whenever the same configuration may give a different result. */
#define RESULT_VERSION "3"

const char *pb_cell_program(void)
{
    return "peftbench " PB_BUILD_VERSION ", commit " PB_BUILD_COMMIT ", version " RESULT_VERSION
           " of results";
}

const char *cell_results_version(void)
{
    return RESULT_VERSION;
}

static pb_status update_file(pb_cell_env *env, pb_hash *h, const char *path)
{
    char hash[PB_HASH_TEXT];
    PB_TRY(env_file_hash(env, path, hash));
    return pb_hash_update_text(h, hash);
}

static pb_status update(pb_cell_env *env, const pb_cell *cell, pb_hash *h)
{
    const pb_dataset_options *o = &cell->plan->options.dataset;
    const env_model *model      = env_find_model(env, cell->name.model);
    bool usable                 = model != NULL && model->model != NULL && model->tokenizer != NULL;
    char threads[32];
    pb_string text = {0};

    pb_status status = pb_cell_text(cell, &text);
    if (status == PB_OK) {
        status = pb_hash_update_text(h, text.data);
    }
    pb_string_clear(&text);
    PB_TRY(status);
    PB_TRY(*cell->group != '\0' ? pb_hash_update_text(h, cell->group) : PB_OK);
    PB_TRY(pb_hash_update_text(h, RESULT_VERSION));
    PB_TRY(pb_hash_update_text(h, pb_backend_describe(env->backend)));
    snprintf(threads, sizeof threads, "%d %s", env->setup.threads, pb_dtype_name(env->setup.dtype));
    PB_TRY(pb_hash_update_text(h, threads));
    PB_TRY(pb_hash_update_text(h, usable ? model->hash : "unreadable"));
    PB_TRY(pb_hash_update_text(h, usable ? pb_tokenizer_hash(model->tokenizer) : ""));
    /* The form, which may depend on the file name, determines the rows read from the same bytes. */
    PB_TRY(pb_hash_update_text(h, pb_dataset_form(o, PB_SPLIT_TRAIN)));
    PB_TRY(pb_hash_update_text(h, pb_dataset_form(o, PB_SPLIT_TEST)));
    PB_TRY(update_file(env, h, o->train_file));
    return update_file(env, h, o->test_file);
}

/* An invalid configuration is hashed by its message: once corrected, it is a different cell. */
pb_status pb_cell_hash(pb_cell_env *env, const pb_cell *cell, char text[PB_HASH_TEXT])
{
    const cell_plan *plan = cell->plan;
    pb_hash *h            = NULL;
    pb_status status;
    PB_TRY(pb_hash_create(&h));
    PB_TRY_GOTO(
        status,
        plan->status == PB_OK ? update(env, cell, h) : pb_hash_update_text(h, plan->message), done);
    PB_TRY_GOTO(status, pb_hash_finish(h, text), done);
done:
    pb_hash_destroy(h);
    return status;
}
