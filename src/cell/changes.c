// SPDX-License-Identifier: Apache-2.0
/* Files may be replaced while a sweep runs, so the inputs of a cell are checked against its
 * configuration hash, which was computed at the start.
 *
 * Rows: the readers hash what they read. Model and tokenizer are opened once, so their folder is
 * checked before and after every cell, and rehashed when an inode, a size or a time differs; cp -p
 * and touch cannot set the ctime of an inode. */
#include "running.h"

#include <string.h>

/* Hashes the current contents of the folder. */
static pb_status look_again(env_model *m, const char *stamp)
{
    pb_tokenizer *tokenizer = NULL;

    PB_TRY(pb_model_hash_files(m->model, m->seen_model));
    PB_TRY(pb_tokenizer_open(m->folder, &tokenizer));
    strcpy(m->seen_tokenizer, pb_tokenizer_hash(tokenizer));
    pb_tokenizer_close(tokenizer);
    strcpy(m->stamp, stamp);
    return PB_OK;
}

static pb_status fail_changed(const char *what, const char *path, const char *planned,
                              const char *now)
{
    return PB_FAIL(PB_ERR_IO,
                   "%s: %s changed after this run started: SHA-256 was %s, now %s; put the file "
                   "back, or start again with the new one: the same command runs this cell again",
                   path, what, planned, now);
}

pb_status env_check_model(env_model *m, pb_record *record)
{
    char stamp[PB_HASH_TEXT];

    PB_TRY(env_stamp_folder(m->folder, stamp));
    if (strcmp(stamp, m->stamp) != 0) {
        PB_TRY(look_again(m, stamp));
    }
    PB_TRY(pb_record_set_text(&record->model_hash, m->seen_model));
    PB_TRY(pb_record_set_text(&record->tokenizer_hash, m->seen_tokenizer));
    if (strcmp(m->seen_model, m->hash) != 0) {
        return fail_changed("the model", m->folder, m->hash, m->seen_model);
    }
    if (strcmp(m->seen_tokenizer, pb_tokenizer_hash(m->tokenizer)) != 0) {
        return fail_changed("the tokenizer", m->folder, pb_tokenizer_hash(m->tokenizer),
                            m->seen_tokenizer);
    }
    return PB_OK;
}

pb_status cell_check_hash(pb_cell_env *env, const pb_cell *cell)
{
    char hash[PB_HASH_TEXT];

    if (cell->hash[0] == '\0') {
        return PB_OK;
    }
    PB_TRY(pb_cell_hash(env, cell, hash));
    if (strcmp(hash, cell->hash) != 0) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "this process would run configuration %s, but the plan has %s: model, "
                       "tokenizer, data or setup differ from those of rank 0",
                       hash, cell->hash);
    }
    return PB_OK;
}

static pb_status check_file(pb_cell_env *env, const char *path, const char *read)
{
    char planned[PB_HASH_TEXT];

    if (*path == '\0') {
        return PB_OK;
    }
    PB_TRY(env_file_hash(env, path, planned));
    return strcmp(planned, read) == 0 ? PB_OK : fail_changed("the file", path, planned, read);
}

pb_status cell_check_data(pb_cell_env *env, const cell_data *data)
{
    const pb_dataset_options *o = pb_dataset_get_options(data->dataset);

    PB_TRY(check_file(env, o->train_file, data->train_set.sha));
    return check_file(env, o->test_file, data->test_set.sha);
}

static pb_status check_recorded(const char *what, const char *recorded, size_t at,
                                const char *today)
{
    if (recorded == NULL || strlen(recorded) < at + PB_HASH_TEXT - 1 ||
        strncmp(recorded + at, today, PB_HASH_TEXT - 1) == 0) {
        return PB_OK; /* it failed before reading this, or the contents are equal */
    }
    return PB_FAIL(PB_ERR_FORMAT, "its %s was %.*s, now it is %s", what, PB_HASH_TEXT - 1,
                   recorded + at, today);
}

static pb_status check_rows(pb_cell_env *env, const char *path, size_t at, const pb_record *record)
{
    char today[PB_HASH_TEXT];

    if (*path == '\0') {
        return PB_OK;
    }
    PB_TRY(env_file_hash(env, path, today));
    return PB_FRAME(check_recorded(path, record->data_hash, at, today));
}

pb_status pb_cell_check_record(pb_cell_env *env, const pb_cell *cell, const pb_record *record)
{
    const env_model *m          = env_find_model(env, cell->name.model);
    const pb_dataset_options *o = &cell->plan->options.dataset;

    if (m == NULL || m->status != PB_OK || cell->plan->status != PB_OK) {
        return PB_OK; /* it would fail again */
    }
    PB_TRY(check_recorded("model", record->model_hash, 0, m->hash));
    PB_TRY(check_recorded("tokenizer", record->tokenizer_hash, 0, pb_tokenizer_hash(m->tokenizer)));
    PB_TRY(check_rows(env, o->train_file, 0, record));
    return check_rows(env, o->test_file, PB_HASH_TEXT, record);
}
