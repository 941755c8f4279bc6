// SPDX-License-Identifier: Apache-2.0
/* The checksum covers the header, with its own field zeroed, and all sections; lengths are
 * cross-checked before anything is read through them. */
#include "token_file.h"

#include "pb/memory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ALIGNMENT = 64 };

static const uint64_t magic = 0x0a316e656b6f7470u; /* "ptoken1\n" on a little-endian machine */

typedef struct header {
    uint64_t magic;
    char key[PB_HASH_TEXT], sha[PB_HASH_TEXT], checksum[PB_HASH_TEXT];
    char unused[5];
    int64_t lengths[SECTION_COUNT];
    int64_t truncated, too_long;
    pb_row_counts counts;
} header;

static const char padding[ALIGNMENT];

static size_t padded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

size_t token_file_header_bytes(void)
{
    return sizeof(header);
}

static size_t section_bytes(const header *h, int section)
{
    return (size_t)h->lengths[section] * encoded_item_bytes((encoded_section)section);
}

static size_t file_bytes(const header *h)
{
    size_t bytes = padded(sizeof *h);

    for (int i = 0; i < SECTION_COUNT; i++) {
        bytes += padded(section_bytes(h, i));
    }
    return bytes;
}

static bool is_none_or(int64_t length, int64_t rows)
{
    return length == 0 || length == rows;
}

/* Lengths that are impossible for a file of this size would overflow the sums. */
static bool lengths_fit(const header *h, size_t size)
{
    const int64_t *n = h->lengths;
    int64_t rows     = n[SECTION_ROWS];

    for (int i = 0; i < SECTION_COUNT; i++) {
        if (n[i] < 0 || (size_t)n[i] > size) {
            return false;
        }
    }
    return n[SECTION_OFFSETS] == rows + 1 && n[SECTION_FIRST_ANSWERS] == rows + 1 &&
           n[SECTION_PROMPT_LENGTHS] == rows && is_none_or(n[SECTION_ID_TEXTS], rows) &&
           is_none_or(n[SECTION_DIGESTS], rows) && file_bytes(h) == size;
}

static pb_status hash_header(pb_hash *hash, const header *h)
{
    header plain = *h;

    memset(plain.checksum, 0, sizeof plain.checksum);
    return pb_hash_update(hash, &plain, sizeof plain);
}

/* `rest`: of the file, after the header. */
static pb_status check_sum(const char *path, const header *h, const void *rest, size_t size)
{
    char checksum[PB_HASH_TEXT];
    pb_hash *hash = NULL;
    pb_status status;

    PB_TRY(pb_hash_create(&hash));
    PB_TRY_GOTO(status, hash_header(hash, h), out_hash);
    PB_TRY_GOTO(status, pb_hash_update(hash, rest, size), out_hash);
    PB_TRY_GOTO(status, pb_hash_finish(hash, checksum), out_hash);
    if (memcmp(checksum, h->checksum, sizeof checksum) != 0) {
        status = PB_FAIL(PB_ERR_FORMAT, "%s does not have its checksum", path);
    }
out_hash:
    pb_hash_destroy(hash);
    return status;
}

static pb_status check_file(const char *path, const char *key, const pb_mapping *mapping,
                            bool checksum)
{
    const header *h = mapping->data;
    size_t head     = padded(sizeof *h);

    if (mapping->size < head || h->magic != magic || memcmp(h->key, key, sizeof h->key) != 0 ||
        memchr(h->sha, '\0', sizeof h->sha) == NULL || !lengths_fit(h, mapping->size)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s is not a complete file of tokens", path);
    }
    return checksum ? check_sum(path, h, (const char *)mapping->data + sizeof *h,
                                mapping->size - sizeof *h)
                    : PB_OK;
}

pb_status token_file_open(const char *path, const char *key, bool checksum, pb_encoded_set *out)
{
    pb_encoded_set set = {.from_cache = true};
    pb_status status;

    PB_TRY(PB_ALLOC(set.storage, 1));
    PB_TRY_GOTO(status, pb_mapping_open(path, &set.storage->mapping), err_storage);
    PB_TRY_GOTO(status, check_file(path, key, &set.storage->mapping, checksum), err_mapping);
    const header *h = set.storage->mapping.data;
    /* The mapping is read only, and so are all pointers of a set. */
    char *at = (char *)(uintptr_t)set.storage->mapping.data + padded(sizeof *h);
    for (int i = 0; i < SECTION_COUNT; i++) {
        set.storage->arrays[i]  = at;
        set.storage->lengths[i] = h->lengths[i];
        at += padded(section_bytes(h, i));
    }
    set.truncated = h->truncated;
    set.too_long  = h->too_long;
    set.counts    = h->counts;
    memcpy(set.sha, h->sha, sizeof set.sha);
    encoded_resolve(&set);
    *out = set;
    return PB_OK;

err_mapping:
    pb_mapping_close(&set.storage->mapping);
err_storage:
    pb_memory_free(set.storage);
    return status;
}

/* Fills the checksum of a header that is otherwise complete. */
static pb_status make_sum(header *h, const pb_encoded_storage *s)
{
    pb_hash *hash = NULL;
    pb_status status;

    PB_TRY(pb_hash_create(&hash));
    PB_TRY_GOTO(status, hash_header(hash, h), out_hash);
    PB_TRY_GOTO(status, pb_hash_update(hash, padding, padded(sizeof *h) - sizeof *h), out_hash);
    for (int i = 0; i < SECTION_COUNT; i++) {
        size_t bytes = section_bytes(h, i);
        PB_TRY_GOTO(status, pb_hash_update(hash, s->arrays[i], bytes), out_hash);
        PB_TRY_GOTO(status, pb_hash_update(hash, padding, padded(bytes) - bytes), out_hash);
    }
    PB_TRY_GOTO(status, pb_hash_finish(hash, h->checksum), out_hash);
out_hash:
    pb_hash_destroy(hash);
    return status;
}

static bool write_padded(FILE *file, const void *bytes, size_t size)
{
    size_t rest = padded(size) - size;
    return (size == 0 || fwrite(bytes, 1, size, file) == size) &&
           fwrite(padding, 1, rest, file) == rest;
}

static pb_status write_all(const char *path, const header *h, const pb_encoded_storage *s)
{
    FILE *file = NULL;

    PB_TRY(pb_file_temporary_stream(path, &file));
    bool good = write_padded(file, h, sizeof *h);
    for (int i = 0; i < SECTION_COUNT && good; i++) {
        good = write_padded(file, s->arrays[i], section_bytes(h, i));
    }
    int reason = errno;
    if (fclose(file) != 0 && good) {
        reason = errno;
        good   = false;
    }
    if (!good) {
        return PB_FAIL(PB_ERR_IO, "cannot write %s: %s%s", path, strerror(reason),
                       pb_file_remedy(reason));
    }
    return PB_OK;
}

pb_status token_file_write(const char *temporary, const char *path, const char *key,
                           const pb_encoded_set *set)
{
    header h;

    memset(&h, 0, sizeof h); /* its gaps are part of the checksum */
    h.magic     = magic;
    h.truncated = set->truncated;
    h.too_long  = set->too_long;
    h.counts    = set->counts;
    memcpy(h.key, key, sizeof h.key);
    memcpy(h.sha, set->sha, sizeof h.sha);
    memcpy(h.lengths, set->storage->lengths, sizeof h.lengths);
    pb_status status = make_sum(&h, set->storage);
    if (status == PB_OK) {
        status = write_all(temporary, &h, set->storage);
    }
    if (status == PB_OK) {
        return pb_file_commit(temporary, path);
    }
    (void)unlink(temporary);
    return PB_FRAME(status);
}
