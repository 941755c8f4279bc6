// SPDX-License-Identifier: Apache-2.0
/* Files as images in memory. A file beyond some megabytes, as a merged one, is not copied: it is
 * checked through a mapping and then read by HDF5 where it is, so that memory does not grow with
 * it. */
#include "source.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <hdf5.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IMAGE_BYTES = 1 << 24 };

struct pb_record_source {
    char *path;
    char *label;      /* for messages: the path, or the record of a pack */
    int64_t at, size; /* of a record in a pack; else 0 */
    pb_string bytes;  /* HDF5 reads these, */
    int fd;           /* or this file; else -1 */
    size_t total;     /* their number */
    seal seal;
    hid_t file;
    int64_t users;
};

void record_source_release(pb_record_source *source)
{
    if (source == NULL || --source->users > 0) {
        return;
    }
    if (source->file >= 0) {
        (void)H5Fclose(source->file);
    }
    if (source->fd >= 0) {
        (void)close(source->fd);
    }
    pb_string_clear(&source->bytes);
    pb_memory_free(source->path);
    pb_memory_free(source->label);
    pb_memory_free(source);
}

const char *source_path(const pb_record_source *source)
{
    return source->label != NULL ? source->label : source->path;
}

const char *source_hash(const pb_record_source *source)
{
    return source->seal.hash;
}

bool source_is_sealed(const pb_record_source *source)
{
    return source->seal.state == SEAL_WHOLE;
}

hid_t source_file(const pb_record_source *source)
{
    return source->file;
}

/* A sealed shard has a remedy of its own. */
static pb_status fail_broken(const pb_record_source *source, bool sealed)
{
    const char *path = source_path(source);
    size_t size      = source->total;

    if (sealed || source->seal.is_shard) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s was cut or changed after it was written: its checksum does not match "
                       "its %zu bytes%s",
                       path, size, sealed ? "" : "; the same `peftbench run` makes its cell again");
    }
    return PB_FAIL(PB_ERR_FORMAT,
                   "%s was cut or changed after it was written, or is not a results file: no "
                   "checksum matches its %zu bytes; merge its shards again: peftbench merge",
                   path, size);
}

/* Only its own bytes, of a record in a pack. */
static pb_status read_bytes(pb_record_source *source)
{
    if (source->size == 0) {
        return pb_file_read(source->path, 0, &source->bytes);
    }
    return pb_file_read_part(source->path, source->at, (size_t)source->size, &source->bytes);
}

/* Damage is permanent: a file with a bad checksum is read once more before it counts as damaged. */
static pb_status read_checked(pb_record_source *source, bool sealed)
{
    for (int tries = 0; tries < 2; tries++) {
        pb_string_clear(&source->bytes);
        PB_TRY(read_bytes(source));
        seal_clear_open_mark(source->bytes.data, source->bytes.length);
        const pb_mapping file = {.data = source->bytes.data, .size = source->bytes.length};
        source->total         = file.size;
        PB_TRY(seal_check(&file, false, &source->seal));
        if (source->seal.state == SEAL_WHOLE || (source->seal.state == SEAL_NONE && !sealed)) {
            return PB_OK;
        }
    }
    return fail_broken(source, sealed);
}

/* Instead of copying and freeing an image, HDF5 reads the bytes of the source (`data`) in place.
 * H5LTopen_file_image does the same, but some versions of it leak a block a file. */
static void *lend(size_t size, H5FD_file_image_op_t operation, void *data)
{
    (void)size;
    (void)operation;
    return data;
}

static void *copy_nothing(void *to, const void *from, size_t size, H5FD_file_image_op_t operation,
                          void *data)
{
    (void)from;
    (void)size;
    (void)operation;
    (void)data;
    return to;
}

static void *refuse_growth(void *bytes, size_t size, H5FD_file_image_op_t operation, void *data)
{
    (void)bytes;
    (void)size;
    (void)operation;
    (void)data;
    return NULL;
}

static herr_t take_back(void *bytes, H5FD_file_image_op_t operation, void *data)
{
    (void)bytes;
    (void)operation;
    (void)data;
    return 0;
}

static void *same(void *data)
{
    return data;
}

static herr_t keep(void *data)
{
    (void)data;
    return 0;
}

/* HDF5 neither copies nor frees the bytes. It treats two images with the same name as one file. */
static hid_t open_bytes(pb_string *bytes)
{
    H5FD_file_image_callbacks_t borrow = {lend, copy_nothing, refuse_growth, take_back,
                                          same, keep,         bytes->data};
    char name[32];
    hid_t file   = -1;
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    snprintf(name, sizeof name, "image %p", (void *)bytes->data);
    if (access >= 0 && H5Pset_fapl_core(access, 1 << 16, false) >= 0 &&
        H5Pset_file_image_callbacks(access, &borrow) >= 0 &&
        H5Pset_file_image(access, bytes->data, bytes->length) >= 0) {
        file = H5Fopen(name, H5F_ACC_RDONLY, access);
    }
    if (access >= 0) {
        H5Pclose(access);
    }
    return file;
}

/* Opens the file itself, which nothing replaces under the name of its descriptor. */
static hid_t open_descriptor(const pb_record_source *source)
{
    char name[32];
    snprintf(name, sizeof name, "/proc/self/fd/%d", source->fd);
    return H5Fopen(access(name, R_OK) == 0 ? name : source->path, H5F_ACC_RDONLY, H5P_DEFAULT);
}

static pb_status open_file(pb_record_source *source)
{
    hdf_quiet();
    source->file = source->fd >= 0 ? open_descriptor(source) : open_bytes(&source->bytes);
    if (source->file >= 0) {
        return PB_OK;
    }
    pb_status status = hdf_fail("H5Fopen(image)", __FILE__, __LINE__, __func__);
    if (!source_is_sealed(source)) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: not a readable HDF5 file (truncated, damaged or of another format)",
                       source_path(source));
    }
    return pb_error_prefix(status, "%s", source_path(source));
}

/* Checks a large file where it is, and opens it; any other is left to read_checked. */
static pb_status check_in_place(pb_record_source *source, bool sealed)
{
    pb_mapping file = {0};
    struct stat named, opened;
    int fd           = -1;
    bool whole       = false;
    pb_status status = PB_OK;

    if (source->size > 0 || stat(source->path, &named) != 0 || !S_ISREG(named.st_mode) ||
        named.st_size <= IMAGE_BYTES) {
        return PB_OK;
    }
    PB_TRY(pb_file_open(source->path, &fd));
    PB_TRY_GOTO(status, pb_mapping_open(source->path, &file), out);
    /* Both are the same file unless it was just replaced. */
    if (fstat(fd, &opened) != 0 || stat(source->path, &named) != 0 ||
        opened.st_ino != named.st_ino || file.size <= IMAGE_BYTES ||
        seal_has_open_mark(file.data, file.size)) {
        goto out;
    }
    source->total = file.size;
    PB_TRY_GOTO(status, seal_check(&file, true, &source->seal), out);
    whole = source->seal.state == SEAL_WHOLE || (source->seal.state == SEAL_NONE && !sealed);
out:
    pb_mapping_close(&file);
    if (whole) {
        source->fd = fd;
    } else {
        (void)close(fd);
    }
    return status;
}

static pb_status open_part(const char *path, int64_t at, int64_t size, const char *label,
                           bool sealed, pb_record_source **out)
{
    pb_record_source *source = NULL;
    pb_status status;

    PB_TRY(PB_ALLOC(source, 1));
    source->file  = -1;
    source->fd    = -1;
    source->users = 1;
    source->at    = at;
    source->size  = size;
    PB_TRY_GOTO(status, pb_record_set_text(&source->path, path), err);
    PB_TRY_GOTO(status, pb_record_set_text(&source->label, label), err);
    PB_TRY_GOTO(status, check_in_place(source, sealed), err);
    if (source->fd < 0) {
        PB_TRY_GOTO(status, read_checked(source, sealed), err);
    }
    PB_TRY_GOTO(status, open_file(source), err);
    *out = source;
    return PB_OK;

err:
    record_source_release(source);
    return status;
}

pb_status source_open(const char *path, bool sealed, pb_record_source **out)
{
    return open_part(path, 0, 0, NULL, sealed, out);
}

pb_status source_open_part(const char *path, int64_t at, int64_t size, const char *label,
                           pb_record_source **out)
{
    return open_part(path, at, size, label, true, out);
}

pb_status source_mark(pb_record_source *source, bool keep, pb_record *record)
{
    PB_TRY(pb_record_set_text(&record->source_file, source->path));
    record->source_at   = source->at;
    record->source_size = source->size;
    memcpy(record->source_hash, source->seal.hash, sizeof record->source_hash);
    if (keep) {
        source->users++;
        record->source = source;
    }
    return PB_OK;
}

pb_status source_of(const pb_record *record, pb_record_source **out)
{
    pb_record_source *source = NULL;

    if (record->source != NULL) {
        record->source->users++;
        *out = record->source;
        return PB_OK;
    }
    PB_TRY(open_part(record->source_file, record->source_at, record->source_size, NULL, true,
                     &source));
    if (strcmp(source->seal.hash, record->source_hash) != 0) {
        record_source_release(source);
        return PB_FAIL(PB_ERR_IO, "%s was replaced while it was read; run the command again",
                       record->source_file);
    }
    *out = source;
    return PB_OK;
}
