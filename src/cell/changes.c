// SPDX-License-Identifier: Apache-2.0
/* What a cell read must be what its configuration hash says, which was made at the start: files may
 * be replaced while a sweep runs.
 *
 * Rows: the readers hash what they read. Model and tokenizer are opened once, so their folder is
 * looked at before and after every cell, and hashed again when an inode, a size or a time differs;
 * the time of the last change of the inode is one that cp -p and touch cannot set.
 */
#include "internal.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static bool ends_with(const char *name, const char *suffix)
{
    size_t length = strlen(name);
    size_t end    = strlen(suffix);

    return length >= end && strcmp(name + length - end, suffix) == 0;
}

/* Files of a checkpoint that a model or a tokenizer may be read from. */
static bool is_input(const char *name)
{
    static const char *const suffixes[] = {".json", ".safetensors", ".model", ".txt", ".jinja"};

    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        if (ends_with(name, suffixes[i])) {
            return true;
        }
    }
    return false;
}

static pb_status describe(const char *folder, const char *name, pb_string *out)
{
    struct stat about = {0};
    char *path        = NULL;

    PB_TRY(pb_path_join(folder, name, &path));
    bool there = stat(path, &about) == 0;
    pb_memory_free(path);
    if (!there) {
        return pb_string_printf(out, "%s is gone\n", name);
    }
    return pb_string_printf(
        out, "%s %ju %ju %jd %jd.%09ld %jd.%09ld\n", name, (uintmax_t)about.st_dev,
        (uintmax_t)about.st_ino, (intmax_t)about.st_size, (intmax_t)about.st_mtim.tv_sec,
        about.st_mtim.tv_nsec, (intmax_t)about.st_ctim.tv_sec, about.st_ctim.tv_nsec);
}

pb_status env_stamp_folder(const char *folder, char stamp[PB_HASH_TEXT])
{
    pb_string text   = {0};
    char **names     = NULL;
    size_t count     = 0;
    pb_status status = PB_OK;

    PB_TRY(pb_path_list(folder, NULL, &names, &count));
    for (size_t i = 0; i < count; i++) {
        if (is_input(names[i])) {
            PB_TRY_GOTO(status, describe(folder, names[i], &text), out);
        }
    }
    PB_TRY_GOTO(status, pb_hash_bytes(text.data, text.length, stamp), out);
out:
    pb_memory_free_texts(names, count);
    pb_string_clear(&text);
    return status;
}

/* Hashes the folder as it is now. */
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
                   "%s: %s changed after this run had begun: SHA-256 %s then, %s now; put the file "
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

    if (cell->hash == NULL) {
        return PB_OK;
    }
    PB_TRY(pb_cell_hash(env, cell, hash));
    if (strcmp(hash, cell->hash) != 0) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "this process would run the configuration %s, the plan says %s: model, "
                       "tokenizer, data or set-up here are not those of rank 0",
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
        return PB_OK; /* it failed before it read that, or it read the same */
    }
    return PB_FAIL(PB_ERR_FORMAT, "its %s was %.*s, today it is %s", what, PB_HASH_TEXT - 1,
                   recorded + at, today);
}

static pb_status check_rows(pb_cell_env *env, const char *path, size_t at, const pb_record *record)
{
    char today[PB_HASH_TEXT];

    if (*path == '\0') {
        return PB_OK;
    }
    PB_TRY(env_file_hash(env, path, today));
    PB_TRY(check_recorded(path, record->data_hash, at, today));
    return PB_OK;
}

pb_status pb_cell_check_record(pb_cell_env *env, const pb_cell *cell, const pb_record *record)
{
    const env_model *m   = env_find_model(env, cell->model);
    cell_options options = {0};
    pb_status status     = PB_OK;

    if (m == NULL || m->status != PB_OK || cell_options_read(cell, &options) != PB_OK) {
        pb_error_clear();
        return PB_OK; /* it fails as it did */
    }
    PB_TRY_GOTO(status, check_recorded("model", record->model_hash, 0, m->hash), out);
    PB_TRY_GOTO(
        status,
        check_recorded("tokenizer", record->tokenizer_hash, 0, pb_tokenizer_hash(m->tokenizer)),
        out);
    PB_TRY_GOTO(status, check_rows(env, options.dataset.train_file, 0, record), out);
    PB_TRY_GOTO(status, check_rows(env, options.dataset.test_file, PB_HASH_TEXT, record), out);
out:
    cell_options_clear(&options);
    return status;
}

/* Hash and path of every file, each with its terminator. */
static pb_status write_files(const pb_cell_env *env, pb_string *out)
{
    for (int64_t i = 0; i < env->files_count; i++) {
        const env_file *file = &env->files[i];
        PB_TRY(pb_string_append(out, file->hash, strlen(file->hash) + 1));
        PB_TRY(pb_string_append(out, file->path, strlen(file->path) + 1));
    }
    return PB_OK;
}

static pb_status read_files(pb_cell_env *env, const char *bytes, size_t length)
{
    for (const char *at = bytes; at < bytes + length;) {
        const char *hash = at;
        const char *path = hash + strlen(hash) + 1;
        PB_TRY(env_file_set(env, path, hash));
        at = path + strlen(path) + 1;
    }
    return PB_OK;
}

pb_status pb_cell_env_share_files(pb_cell_env *env)
{
    pb_string text   = {0};
    int64_t length   = 0;
    bool first       = env->comm == NULL || pb_comm_rank(env->comm) == 0;
    pb_status status = first ? write_files(env, &text) : PB_OK;

    if (env->comm == NULL || pb_comm_size(env->comm) == 1) {
        goto out;
    }
    length = (int64_t)text.length;
    PB_TRY_GOTO(status, pb_comm_agree(env->comm, status), out);
    PB_TRY_GOTO(status, pb_comm_broadcast(env->comm, &length, sizeof length, 0), out);
    if (!first) {
        status = PB_ALLOC(text.data, length + 1);
    }
    PB_TRY_GOTO(status, pb_comm_agree(env->comm, status), out);
    if (length > 0) {
        PB_TRY_GOTO(status, pb_comm_broadcast(env->comm, text.data, (size_t)length, 0), out);
    }
    if (!first) {
        status = read_files(env, text.data, (size_t)length);
    }
    status = pb_comm_agree(env->comm, status);
out:
    pb_string_clear(&text);
    return status;
}
