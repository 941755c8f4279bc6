// SPDX-License-Identifier: Apache-2.0
/* The token cache: one file per set of token rows, named by a hash over all that it follows from.
 *
 * A file is a header, then the sections one behind the other, each at a multiple of 64 bytes, in
 * the byte order of the machine (the header's magic number tells). It is written beside its name
 * and renamed, so that a reader sees all of it or nothing; a lock keeps two processes from making
 * the same one. What a reader opens is compared with the checksum in its header; a file that does
 * not fit is made again. Nothing here is ever needed: the folder can be removed at any time. */
#include "encoded.h"
#include "internal.h"

#include "pb/log.h"
#include "pb/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Changes whenever the same inputs give other tokens, or the file another form. */
#define TOKENS_VERSION "1"

enum { ALIGNMENT = 64 };

static const uint64_t magic = 0x0a316e656b6f7470u; /* "ptoken1\n" on a little-endian machine */

typedef struct header {
    uint64_t magic;
    char key[PB_HASH_TEXT], sha[PB_HASH_TEXT], checksum[PB_HASH_TEXT]; /* checksum: of the rest */
    char unused[5];
    int64_t lengths[PB_SECTION_COUNT];
    int64_t truncated, too_long;
    pb_row_counts counts;
} header;

static size_t padded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t section_bytes(const int64_t *lengths, int section)
{
    return (size_t)lengths[section] * pb_encoded_item_bytes((pb_encoded_section)section);
}

/* The options of the data set that its texts follow from: file names and notes are left out. */
static pb_status options_text(const pb_dataset_options *options, pb_string *out)
{
    for (const pb_config_field *f = pb_dataset_fields; f->key != NULL; f++) {
        const pb_config_field one[] = {*f, PB_FIELD_END};
        if (f->type != PB_CONFIG_PATH && !f->is_note) {
            PB_TRY(pb_config_write(one, options, "", out));
        }
    }
    return PB_OK;
}

static pb_status file_sha(const pb_dataset *ds, pb_split split, char sha[PB_HASH_TEXT])
{
    const char *path = split == PB_SPLIT_TRAIN ? ds->options.train_file : ds->options.test_file;

    if (ds->ops->build == NULL || *path == '\0') {
        return pb_hash_bytes("", 0, sha);
    }
    return pb_hash_file(path, sha);
}

static pb_status describe(const pb_dataset *ds, pb_split split, const pb_encode_options *o,
                          const pb_encoded_set *test, pb_string *out)
{
    const pb_data_options *d = &ds->data;
    char sha[PB_HASH_TEXT];

    PB_TRY(file_sha(ds, split, sha));
    PB_TRY(pb_string_printf(out,
                            "tokens " TOKENS_VERSION "\n%s %s\nfile %s\nrows %" PRId64
                            "\nbad %.17g\ntemplate %s\ntokenizer %s\ncutoff %" PRId64 "\n",
                            pb_protocol_names[ds->protocol], pb_split_name(split), sha,
                            split == PB_SPLIT_TRAIN ? d->train_rows : d->test_rows,
                            d->max_bad_share, pb_template_name(o->tpl),
                            pb_tokenizer_hash(o->tokenizer), o->cutoff_tokens));
    if (test != NULL) {
        const pb_encoded_storage *s = test->storage;
        PB_TRY(pb_hash_bytes(s->arrays[PB_SECTION_DIGESTS],
                             section_bytes(s->lengths, PB_SECTION_DIGESTS), sha));
        PB_TRY(pb_string_printf(out, "without %s\n", sha));
    }
    PB_TRY(pb_string_printf(out, "instruction %s\n", ds->instructions[split]));
    return options_text(&ds->options, out);
}

/* All that the token rows follow from, as a hash; the row order of a file counts, its name does
 * not. */
static pb_status key_of(const pb_dataset *ds, pb_split split, const pb_encode_options *options,
                        const pb_encoded_set *test, char key[PB_HASH_TEXT])
{
    pb_string text = {0};
    pb_status status;

    PB_TRY_GOTO(status, describe(ds, split, options, test, &text), out_text);
    PB_TRY_GOTO(status, pb_hash_bytes(text.data, text.length, key), out_text);
out_text:
    pb_string_clear(&text);
    return status;
}

static size_t file_bytes(const int64_t *lengths)
{
    size_t bytes = padded(sizeof(header));

    for (int i = 0; i < PB_SECTION_COUNT; i++) {
        bytes += padded(section_bytes(lengths, i));
    }
    return bytes;
}

/* Lengths that no file can have would overflow the sums below. */
static bool lengths_fit(const int64_t *lengths, size_t size)
{
    for (int i = 0; i < PB_SECTION_COUNT; i++) {
        if (lengths[i] < 0 || (size_t)lengths[i] > size) {
            return false;
        }
    }
    return file_bytes(lengths) == size;
}

/* `checksum`: also reads all of it. */
static pb_status check_file(const char *path, const char *key, const pb_mapping *mapping,
                            bool checksum)
{
    const header *h = mapping->data;
    char found[PB_HASH_TEXT];

    if (mapping->size < padded(sizeof *h) || h->magic != magic ||
        memcmp(h->key, key, sizeof h->key) != 0 || !lengths_fit(h->lengths, mapping->size)) {
        return PB_FAIL(PB_ERR_FORMAT, "%s is no complete file of tokens", path);
    }
    size_t head = padded(sizeof *h);
    if (!checksum) {
        return PB_OK;
    }
    PB_TRY(pb_hash_bytes((const char *)mapping->data + head, mapping->size - head, found));
    if (memcmp(found, h->checksum, sizeof found) != 0) {
        return PB_FAIL(PB_ERR_FORMAT, "%s does not have its checksum", path);
    }
    return PB_OK;
}

static pb_status open_file(const char *path, const char *key, bool checksum, pb_encoded_set *out)
{
    pb_encoded_set set = {.from_cache = true};
    pb_status status;

    PB_TRY(PB_ALLOC(set.storage, 1));
    PB_TRY_GOTO(status, pb_mapping_open(path, &set.storage->mapping), err_storage);
    PB_TRY_GOTO(status, check_file(path, key, &set.storage->mapping, checksum), err_mapping);
    const header *h = set.storage->mapping.data;
    /* The mapping is read only, and so are all pointers of a set. */
    char *at = (char *)(uintptr_t)set.storage->mapping.data + padded(sizeof *h);
    for (int i = 0; i < PB_SECTION_COUNT; i++) {
        set.storage->arrays[i]  = at;
        set.storage->lengths[i] = h->lengths[i];
        at += padded(section_bytes(h->lengths, i));
    }
    set.truncated = h->truncated;
    set.too_long  = h->too_long;
    set.counts    = h->counts;
    memcpy(set.sha, h->sha, sizeof set.sha);
    pb_encoded_resolve(&set);
    *out = set;
    return PB_OK;

err_mapping:
    pb_mapping_close(&set.storage->mapping);
err_storage:
    pb_memory_free(set.storage);
    return status;
}

/* A set counts the same whether it is mapped or not: so does a cell's memory. */
static void account(const pb_encoded_set *set)
{
    for (int i = 0; i < PB_SECTION_COUNT; i++) {
        pb_memory_account((int64_t)section_bytes(set->storage->lengths, i));
    }
}

static const char padding[ALIGNMENT];

/* Hashes the sections in the form of the file. */
static pb_status checksum_of(const pb_encoded_storage *s, char checksum[PB_HASH_TEXT])
{
    pb_hash *hash = NULL;
    pb_status status;

    PB_TRY(pb_hash_create(&hash));
    for (int i = 0; i < PB_SECTION_COUNT; i++) {
        size_t bytes = section_bytes(s->lengths, i);
        PB_TRY_GOTO(status, pb_hash_update(hash, s->arrays[i], bytes), out_hash);
        PB_TRY_GOTO(status, pb_hash_update(hash, padding, padded(bytes) - bytes), out_hash);
    }
    PB_TRY_GOTO(status, pb_hash_finish(hash, checksum), out_hash);
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

static pb_status write_sections(const char *path, const header *h, const pb_encoded_storage *s)
{
    FILE *file = fopen(path, "wb");
    bool good  = file != NULL && write_padded(file, h, sizeof *h);

    for (int i = 0; i < PB_SECTION_COUNT && good; i++) {
        good = write_padded(file, s->arrays[i], section_bytes(s->lengths, i));
    }
    int reason = errno;
    if (file != NULL && fclose(file) != 0 && good) {
        reason = errno;
        good   = false;
    }
    if (!good) {
        return PB_FAIL(PB_ERR_IO, "cannot write %s: %s%s", path, strerror(reason),
                       pb_file_remedy(reason));
    }
    return PB_OK;
}

static pb_status write_file(const char *path, const char *key, const pb_encoded_set *set)
{
    const pb_encoded_storage *s = set->storage;
    char *temporary             = NULL;
    header h                    = {.magic     = magic,
                                   .truncated = set->truncated,
                                   .too_long  = set->too_long,
                                   .counts    = set->counts};

    memcpy(h.key, key, sizeof h.key);
    memcpy(h.sha, set->sha, sizeof h.sha);
    memcpy(h.lengths, s->lengths, sizeof h.lengths);
    PB_TRY(checksum_of(s, h.checksum));
    PB_TRY(pb_file_temporary_create(path, &temporary));
    pb_status status = write_sections(temporary, &h, s);
    if (status == PB_OK) {
        status = pb_file_commit(temporary, path);
    } else {
        (void)unlink(temporary);
    }
    pb_memory_free(temporary);
    return status;
}

/* The set in the file; *found is false when there is none, or none that can be used. Who holds the
 * lock is the one to tell that a file is damaged. */
static pb_status find(const char *path, const char *key, bool locked, pb_encoded_set *out,
                      bool *found)
{
    *found = false;
    if (!pb_path_exists(path)) {
        return PB_OK;
    }
    pb_status status = open_file(path, key, true, out);
    *found           = status == PB_OK;
    if (*found) {
        account(out);
    }
    if (status == PB_OK || status == PB_ERR_MEMORY) {
        return status;
    }
    if (locked) {
        pb_log_warn("token cache: %s; it is made again", pb_error_message());
    }
    pb_error_clear();
    return PB_OK;
}

/* Makes the set and keeps it. A cache that cannot be written is no reason to fail. */
static pb_status make_and_keep(const char *path, const char *key, const pb_dataset *ds,
                               pb_split split, const pb_encode_options *options,
                               const pb_encoded_set *test, pb_encoded_set *out)
{
    pb_encoded_set made = {0};

    PB_TRY(pb_encoded_make(ds, split, options, test, &made));
    pb_status status = write_file(path, key, &made);
    if (status == PB_OK) {
        /* Not read again: its pages would be resident beside those of the set. */
        status = open_file(path, key, false, out);
    }
    if (status == PB_OK) {
        out->from_cache = false;
        pb_encoded_close(&made);
        account(out);
        return PB_OK;
    }
    pb_log_warn("token cache: %s; the tokens of data set %s stay in memory", pb_error_message(),
                ds->options.name);
    pb_error_clear();
    *out = made;
    return PB_OK;
}

static pb_status find_or_make(const char *path, const char *lock_path, const char *key,
                              const pb_dataset *ds, pb_split split,
                              const pb_encode_options *options, const pb_encoded_set *test,
                              pb_encoded_set *out)
{
    pb_file_lock *lock = NULL;
    bool found         = false;

    PB_TRY(find(path, key, false, out, &found));
    if (found) {
        return PB_OK;
    }
    if (pb_file_lock_wait(lock_path, &lock) != PB_OK) {
        pb_log_debug("%s", pb_error_message());
        pb_error_clear();
    }
    /* Another process may have made it meanwhile. */
    pb_status status = find(path, key, true, out, &found);
    if (status == PB_OK && !found) {
        status = make_and_keep(path, key, ds, split, options, test, out);
    }
    /* Who waits for the lock has its file open still, and finds the set; who comes later needs no
     * lock. */
    (void)unlink(lock_path);
    pb_file_lock_release(lock);
    return status;
}

static pb_status open_cached(const pb_dataset *ds, pb_split split, const pb_encode_options *options,
                             const pb_encoded_set *test, pb_encoded_set *out)
{
    char key[PB_HASH_TEXT];
    pb_string path = {0}, lock_path = {0};
    pb_status status;

    PB_TRY(key_of(ds, split, options, test, key));
    PB_TRY_GOTO(status, pb_string_printf(&path, "%s/%.32s.tokens", options->cache, key), out_paths);
    PB_TRY_GOTO(status, pb_string_printf(&lock_path, "%s/%.32s.lock", options->cache, key),
                out_paths);
    PB_TRY_GOTO(status, find_or_make(path.data, lock_path.data, key, ds, split, options, test, out),
                out_paths);
out_paths:
    pb_string_clear(&path);
    pb_string_clear(&lock_path);
    return status;
}

pb_status pb_encoded_open(const pb_dataset *ds, pb_split split, const pb_encode_options *options,
                          const pb_encoded_set *test, pb_encoded_set *out)
{
    if (options->cache == NULL || *options->cache == '\0') {
        return pb_encoded_make(ds, split, options, test, out);
    }
    if (pb_path_make_directories(options->cache) != PB_OK) {
        pb_log_warn("token cache: %s; nothing is kept", pb_error_message());
        pb_error_clear();
        return pb_encoded_make(ds, split, options, test, out);
    }
    return open_cached(ds, split, options, test, out);
}
