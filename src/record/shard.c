// SPDX-License-Identifier: Apache-2.0
/* Shards: one file per cell. The file is composed in memory and its bytes are written by base, so
 * that no HDF5 file is open when the disk is full or the process is killed. */
#include "shard.h"

#include "cell.h"
#include "nexus.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/mistakes.h"
#include "pb/results.h"
#include "pb/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_MAX_BYTES  ((size_t)180) /* file systems allow 255, the temporary has a suffix */
#define NAME_KEPT_BYTES ((size_t)120)
#define HASH_SHOWN      16 /* digits of the configuration's hash */

/* Names too long for a file system end in "~", which no escaped name contains, and a hash of the
 * whole name. */
static pb_status append_cell(const pb_record_key *key, pb_string *out)
{
    pb_string name = {0};
    char hash[PB_HASH_TEXT];
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, pb_results_escape(key->model, &name), out);
    PB_TRY_GOTO(status, pb_string_puts(&name, "__"), out);
    PB_TRY_GOTO(status, pb_results_escape(key->dataset, &name), out);
    PB_TRY_GOTO(status, pb_string_puts(&name, "__"), out);
    PB_TRY_GOTO(status, pb_results_escape(key->method, &name), out);
    PB_TRY_GOTO(status, pb_string_printf(&name, "__%" PRId64, key->seed), out);
    if (name.length > NAME_MAX_BYTES) {
        PB_TRY_GOTO(status, pb_hash_bytes(name.data, name.length, hash), out);
        PB_TRY_GOTO(
            status,
            pb_string_printf(out, "%.*s~%.*s", (int)NAME_KEPT_BYTES, name.data, PB_FIT(hash, 32)),
            out);
    } else {
        PB_TRY_GOTO(status, pb_string_puts(out, name.data), out);
    }
out:
    pb_string_clear(&name);
    return status;
}

/* The configuration is part of the name, so that no result replaces that of another
 * configuration. */
pb_status shard_name(const pb_record_key *key, pb_string *out)
{
    char shown[HASH_SHOWN + 1];

    (void)snprintf(shown, sizeof shown, "%.*s", HASH_SHOWN, key->config_hash);
    PB_TRY(append_cell(key, out));
    PB_TRY(pb_string_puts(out, "__"));
    PB_TRY(pb_results_escape(shown, out)); /* a plan may have been edited */
    return PB_OK;
}

pb_status pb_cell_file_path(const char *directory, const char *folder, const pb_record_key *key,
                            const char *suffix, char **out)
{
    pb_string path = {0};
    pb_status status;

    PB_TRY_GOTO(status, pb_string_printf(&path, "%s/%s/", directory, folder), err_path);
    PB_TRY_GOTO(status, shard_name(key, &path), err_path);
    PB_TRY_GOTO(status, pb_string_puts(&path, suffix), err_path);
    *out = path.data;
    return PB_OK;

err_path:
    pb_string_clear(&path);
    return status;
}

pb_status pb_shard_path(const char *directory, const pb_record_key *key, char **out)
{
    return pb_cell_file_path(directory, "shards", key, ".h5", out);
}

static pb_status compose(const pb_record *record, void **bytes, size_t *size)
{
    hid_t file       = -1;
    void *image      = NULL;
    size_t length    = 0;
    pb_status status = PB_OK;

    PB_TRY(hdf_create(NULL, &file));
    PB_TRY_GOTO(status, cell_root_write(file, "shard"), err_file);
    PB_TRY_GOTO(status, nexus_default(file, "cells"), err_file);
    PB_TRY_GOTO(status, cell_write(file, record), err_file);
    PB_TRY_GOTO(status, hdf_image(file, &image, &length), err_file);
    PB_TRY_GOTO(status, hdf_close(&file), err_image);
    *bytes = image;
    *size  = length;
    return PB_OK;

err_file:
    (void)H5Fclose(file);
err_image:
    pb_memory_free(image);
    return status;
}

pb_status shard_compose(const pb_record *record, const char *path, void **bytes, size_t *size)
{
    pb_status status = compose(record, bytes, size);
    if (status != PB_OK) {
        return pb_error_prefix(status, "%s", path);
    }
    status = seal_bytes(*bytes, *size);
    if (status != PB_OK) {
        pb_memory_free(*bytes);
    }
    return status;
}

pb_status pb_shard_write(const char *directory, const pb_record *record)
{
    char *path       = NULL;
    char *folder     = NULL;
    void *bytes      = NULL;
    size_t size      = 0;
    pb_status status = PB_OK;

    if (record->key.model == NULL || record->key.dataset == NULL || record->key.method == NULL) {
        return PB_FAIL(PB_ERR_ARGUMENT, "shard: a record without a key");
    }
    PB_TRY(pb_shard_path(directory, &record->key, &path));
    PB_TRY_GOTO(status, pb_path_directory(path, &folder), out);
    PB_TRY_GOTO(status, pb_path_make_directories(folder), out);
    PB_TRY_GOTO(status, shard_compose(record, path, &bytes, &size), out);
    status = pb_file_write_atomic(path, bytes, size);
    pb_memory_free(bytes);
out:
    pb_memory_free(folder);
    pb_memory_free(path);
    return status;
}

/* The first cell of a file is the cell of a shard. */
typedef struct first_cell {
    char *group;
    int64_t count;
} first_cell;

static pb_status keep_first(void *context, hid_t file, const char *group)
{
    first_cell *first = context;

    (void)file;
    first->count++;
    return first->count == 1 ? pb_record_set_text(&first->group, group) : PB_OK;
}

static pb_status read_cell(pb_record_source *source, pb_record_parts parts, pb_record *out)
{
    hid_t file       = source_file(source);
    first_cell first = {0};
    pb_status status = PB_OK;

    PB_TRY(cell_root_check(file));
    PB_TRY_GOTO(status, cell_each(file, keep_first, &first), out);
    if (first.count != 1) {
        status =
            PB_FAIL(PB_ERR_FORMAT, "a shard holds one cell, this file holds %" PRId64, first.count);
        goto out;
    }
    PB_TRY_GOTO(status, cell_read(file, first.group, parts, out), out);
    status = source_mark(source, false, out);
    if (status != PB_OK) {
        pb_record_clear(out);
    }
out:
    pb_memory_free(first.group);
    return status;
}

pb_status shard_take(pb_record_source *source, pb_record_parts parts, pb_record *out)
{
    pb_status status = read_cell(source, parts, out);

    if (status != PB_OK) {
        pb_error_prefix(status, "%s", source_path(source));
    }
    record_source_release(source);
    return status;
}

/* A file that the system refuses to read (permissions, a failing disk) may be sound. */
static bool is_damaged(const char *path, pb_status status)
{
    struct stat about;

    if (status == PB_ERR_FORMAT) {
        return true;
    }
    if (stat(path, &about) == 0) {
        return !S_ISREG(about.st_mode);
    }
    return errno == ENOENT || errno == ELOOP; /* a link to nothing */
}

/* There is a dangling link. */
static bool is_missing(const char *path)
{
    struct stat about;

    return lstat(path, &about) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

/* Classifies a file by the outcome of reading it. */
static pb_status judge(const char *path, pb_status status, pb_shard_state *state, char **damage)
{
    if (is_missing(path)) {
        pb_error_clear();
        *state = PB_SHARD_MISSING;
        return PB_OK;
    }
    if (!is_damaged(path, status)) {
        return PB_FRAME(status);
    }
    *state = PB_SHARD_DAMAGED;
    return pb_mistake_keep(status, damage);
}

pb_status pb_shard_examine(const char *path, pb_record_parts parts, pb_record *out,
                           pb_shard_state *state, char **damage)
{
    pb_record_source *source = NULL;
    pb_record record;

    *damage          = NULL;
    pb_status status = source_open(path, true, &source);
    if (status != PB_OK) {
        return judge(path, status, state, damage);
    }
    PB_TRY(shard_take(source, parts, &record)); /* its checksum holds: this is not damage */
    *state = record.status == PB_OK ? PB_SHARD_DONE : PB_SHARD_FAILED;
    *out   = record;
    return PB_OK;
}

pb_status shard_check_key(const char *place, const pb_record_key *key, const pb_record *record)
{
    const pb_record_key *found = &record->key;

    if (pb_record_key_compare(found, key) == 0 &&
        strcmp(found->config_hash, key->config_hash) == 0) {
        return PB_OK;
    }
    return PB_FAIL(
        PB_ERR_FORMAT,
        "%s holds another cell or configuration than its name says: %s/%s/%s/%" PRId64 ", %s",
        place, found->model, found->dataset, found->method, found->seed, found->config_hash);
}

pb_status pb_shard_find(const char *directory, const pb_record_key *key, pb_record_parts parts,
                        pb_record *out, pb_shard_state *state, char **damage)
{
    pb_record record;
    char *path       = NULL;
    pb_status status = PB_OK;

    PB_TRY(pb_shard_path(directory, key, &path));
    PB_TRY_GOTO(status, pb_shard_examine(path, parts, &record, state, damage), out);
    if (*state != PB_SHARD_DONE && *state != PB_SHARD_FAILED) {
        goto out;
    }
    status = shard_check_key(path, key, &record);
    if (status == PB_OK) {
        *out = record;
        goto out;
    }
    status = judge(path, status, state, damage);
    pb_record_clear(&record);
out:
    pb_memory_free(path);
    return status;
}

/* Files that were set aside before stay. */
pb_status shard_damaged_path(const char *path, pb_string *out)
{
    PB_TRY(pb_string_printf(out, "%s.damaged", path));
    for (int n = 2; !is_missing(out->data); n++) {
        out->length = 0;
        PB_TRY(pb_string_printf(out, "%s.damaged.%d", path, n));
    }
    return PB_OK;
}

pb_status pb_shard_set_aside(const char *directory, const pb_record_key *key, char **out)
{
    pb_string name   = {0};
    char *path       = NULL;
    pb_status status = PB_OK;

    PB_TRY(pb_shard_path(directory, key, &path));
    PB_TRY_GOTO(status, shard_damaged_path(path, &name), out);
    if (rename(path, name.data) != 0) {
        status = PB_FAIL(PB_ERR_IO, "cannot rename the damaged %s to %s: %s%s", path, name.data,
                         strerror(errno), pb_file_remedy(errno));
        goto out;
    }
    *out = name.data;
    name = (pb_string){0};
out:
    pb_string_clear(&name);
    pb_memory_free(path);
    return status;
}
