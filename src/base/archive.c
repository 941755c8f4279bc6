// SPDX-License-Identifier: Apache-2.0
/* Archives: written through a stream to a temporary file, read from a mapping that was checked. */
#include "file_private.h"

#include "pb/archive.h"
#include "pb/file.h"
#include "pb/hash.h"
#include "pb/memory.h"

#include <string.h>
#include <unistd.h>

#define MAGIC "peftbench archive 1\n"
enum { HASH_DIGITS = PB_HASH_TEXT - 1 };

struct pb_archive {
    char *path;
    /* writing */
    char *temporary;
    FILE *stream;
    pb_hash *hash;
    /* reading */
    pb_mapping file;
    size_t at, end;
};

static void destroy(pb_archive *a)
{
    if (a->stream != NULL) {
        (void)fclose(a->stream);
    }
    if (a->temporary != NULL) {
        (void)unlink(a->temporary);
    }
    pb_mapping_close(&a->file);
    pb_hash_destroy(a->hash);
    pb_memory_free(a->temporary);
    pb_memory_free(a->path);
    pb_memory_free(a);
}

static pb_status create(const char *path, pb_archive **out)
{
    pb_archive *a = NULL;
    PB_TRY(PB_ALLOC(a, 1));
    pb_status status = PB_TEXT(a->path, path);
    if (status != PB_OK) {
        destroy(a);
        return PB_FRAME(status);
    }
    *out = a;
    return PB_OK;
}

bool pb_archive_reads(const pb_archive *archive)
{
    return archive->stream == NULL;
}

static pb_status put(pb_archive *a, const void *bytes, size_t size)
{
    if (size > 0 && fwrite(bytes, 1, size, a->stream) != size) {
        return FAIL_SYSTEM("write", a->path);
    }
    return pb_hash_update(a->hash, bytes, size);
}

static pb_status get(pb_archive *a, void *bytes, size_t size)
{
    if (size > a->end - a->at) {
        return PB_FAIL(PB_ERR_FORMAT, "%s ends early; remove it", a->path);
    }
    if (size > 0) {
        memcpy(bytes, (const char *)a->file.data + a->at, size);
    }
    a->at += size;
    return PB_OK;
}

pb_status pb_archive_bytes(pb_archive *a, void *bytes, size_t size)
{
    return pb_archive_reads(a) ? get(a, bytes, size) : put(a, bytes, size);
}

pb_status pb_archive_text(pb_archive *a, char **text)
{
    int64_t length = *text != NULL ? (int64_t)strlen(*text) : -1;
    PB_TRY(pb_archive_bytes(a, &length, sizeof length));
    if (pb_archive_reads(a)) {
        pb_memory_free(*text);
        *text = NULL;
        if (length < -1 || length > (int64_t)(a->end - a->at)) {
            return PB_FAIL(PB_ERR_FORMAT, "%s ends early; remove it", a->path);
        }
        PB_TRY(length >= 0 ? PB_ALLOC(*text, length + 1) : PB_OK);
    }
    return length > 0 ? pb_archive_bytes(a, *text, (size_t)length) : PB_OK;
}

pb_status pb_archive_create(const char *path, const char *identity, pb_archive **out)
{
    pb_archive *a = NULL;
    pb_status status;
    PB_TRY(create(path, &a));
    PB_TRY_GOTO(status, pb_hash_create(&a->hash), fail);
    PB_TRY_GOTO(status, pb_file_temporary_create(path, &a->temporary), fail);
    PB_TRY_GOTO(status, pb_file_temporary_stream(a->temporary, &a->stream), fail);
    PB_TRY_GOTO(status, put(a, MAGIC, strlen(MAGIC)), fail);
    PB_TRY_GOTO(status, put(a, identity, strlen(identity) + 1), fail);
    *out = a;
    return PB_OK;
fail:
    destroy(a);
    return status;
}

static pb_status check(pb_archive *a, const char *identity)
{
    const char *bytes = a->file.data;
    size_t start      = strlen(MAGIC) + strlen(identity) + 1;
    char hash[PB_HASH_TEXT];
    if (a->file.size < strlen(MAGIC) + HASH_DIGITS || memcmp(bytes, MAGIC, strlen(MAGIC)) != 0) {
        return PB_FAIL(PB_ERR_FORMAT, "%s is damaged: it does not begin as an archive", a->path);
    }
    a->end = a->file.size - HASH_DIGITS;
    PB_TRY(pb_hash_bytes(bytes, a->end, hash));
    if (memcmp(bytes + a->end, hash, HASH_DIGITS) != 0) {
        return PB_FAIL(PB_ERR_FORMAT, "%s is damaged: its checksum does not match", a->path);
    }
    if (start > a->end || memcmp(bytes + strlen(MAGIC), identity, strlen(identity) + 1) != 0) {
        return PB_FAIL(PB_ERR_FORMAT, "%s was written by another version, or for another cell",
                       a->path);
    }
    a->at = start;
    return PB_OK;
}

pb_status pb_archive_open(const char *path, const char *identity, pb_archive **out)
{
    pb_archive *a = NULL;
    pb_status status;
    *out = NULL;
    if (!pb_path_exists(path)) {
        return PB_OK;
    }
    PB_TRY(create(path, &a));
    PB_TRY_GOTO(status, pb_mapping_open(path, &a->file), fail);
    PB_TRY_GOTO(status, check(a, identity), fail);
    *out = a;
    return PB_OK;
fail:
    destroy(a);
    return status;
}

static pb_status publish(pb_archive *a)
{
    char hash[PB_HASH_TEXT];
    PB_TRY(pb_hash_finish(a->hash, hash));
    if (fwrite(hash, 1, HASH_DIGITS, a->stream) != HASH_DIGITS) {
        return FAIL_SYSTEM("write", a->path);
    }
    FILE *stream = a->stream;
    a->stream    = NULL;
    if (fclose(stream) != 0) {
        return FAIL_SYSTEM("write", a->path);
    }
    pb_status status = pb_file_commit(a->temporary, a->path);
    pb_memory_free(a->temporary);
    a->temporary = NULL;
    return status;
}

pb_status pb_archive_close(pb_archive *a, pb_status status)
{
    if (a == NULL) {
        return status;
    }
    if (status == PB_OK && !pb_archive_reads(a)) {
        status = publish(a);
    }
    destroy(a);
    return status;
}
