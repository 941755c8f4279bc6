// SPDX-License-Identifier: Apache-2.0
/* The files that cells read: their hashes, computed once and shared by all processes, and a stamp
 * of a model's folder that reveals changes without reading the files. */
#include "internal.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/string.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static env_file *find_file(const pb_cell_env *env, const char *path)
{
    for (int64_t i = 0; i < env->files_count; i++) {
        if (strcmp(env->files[i].path, path) == 0) {
            return &env->files[i];
        }
    }
    return NULL;
}

static pb_status set_file(pb_cell_env *env, const char *path, const char *hash)
{
    env_file *file = find_file(env, path);

    if (file != NULL) {
        (void)snprintf(file->hash, sizeof file->hash, "%s", hash);
        return PB_OK;
    }
    PB_TRY(PB_GROW(env->files, env->files_count + 1));
    file = &env->files[env->files_count];
    PB_TRY(PB_TEXT(file->path, path));
    (void)snprintf(file->hash, sizeof file->hash, "%s", hash);
    env->files_count++;
    return PB_OK;
}

/* The hash of a file's contents; if it cannot be read, a word that does not depend on paths of this
 * machine. */
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
    return set_file(env, path, hash);
}

/* Whether a file of this name may belong to a model or a tokenizer. */
static bool is_input(const char *name)
{
    static const char *const suffixes[] = {".json", ".safetensors", ".model", ".txt", ".jinja"};

    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        if (pb_string_ends(name, suffixes[i])) {
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
        PB_TRY(set_file(env, path, hash));
        at = path + strlen(path) + 1;
    }
    return PB_OK;
}

pb_status pb_cell_env_share_files(pb_cell_env *env)
{
    pb_string text   = {0};
    int64_t length   = 0;
    bool first       = pb_comm_rank(env->comm) == 0;
    pb_status status = first ? write_files(env, &text) : PB_OK;

    if (pb_comm_size(env->comm) == 1) {
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
