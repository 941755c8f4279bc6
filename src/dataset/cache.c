// SPDX-License-Identifier: Apache-2.0
/* The token cache: one file per set of token rows, named by a hash over everything that determines
 * it.
 *
 * A lock keeps two processes from making the same set at the same time; those that wait then find
 * it. The cache is never required: the folder can be removed at any time, and where it cannot be
 * written the tokens stay in memory. */
#include "internal.h"
#include "token_file.h"

#include "pb/log.h"
#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Changes whenever the same inputs give different tokens. The tokens of a file's first rows are
 * part of the key as well, which catches most forgotten changes. */
#define TOKENS_VERSION "3"

enum { PROBED_ROWS = 16, WAIT_MILLISECONDS = 20, OLD_SECONDS = 24 * 3600 };

/* One requested set. */
typedef struct request {
    const pb_dataset *ds;
    pb_split split;
    const pb_encode_options *options;
    const pb_encoded_set *test;
    char sha[PB_HASH_TEXT]; /* of the rows' file, "" where rows are synthetic */
    char key[PB_HASH_TEXT];
    pb_string path, lock; /* of the file of tokens, and of its lock */
} request;

/* Message, answer and ids of the first rows, without bad ones. */
static pb_status probe_rows(const request *q, pb_rows *rows, pb_string *out)
{
    const pb_example *examples = NULL;
    int64_t count              = 0;
    pb_status status           = pb_rows_next(rows, &examples, &count);

    if (status != PB_OK) {
        pb_error_clear();
        return status == PB_ERR_MEMORY ? PB_ERR_MEMORY : PB_OK;
    }
    for (int64_t i = 0; i < count; i++) {
        pb_rendered rendered = {0};
        PB_TRY(pb_string_printf(out, "%s\n%s\n", examples[i].user, examples[i].answer));
        status = pb_template_render(q->options->tpl, q->options->tokenizer, examples[i].user,
                                    examples[i].answer, q->ds->protocol == PB_PROTOCOL_CORRECTED,
                                    &rendered);
        for (int64_t t = 0; t < rendered.ids.count && status == PB_OK; t++) {
            status = pb_string_printf(out, "%" PRId32 " ", rendered.ids.items[t]);
        }
        pb_rendered_clear(&rendered);
        PB_TRY(status);
    }
    return PB_OK;
}

static pb_status probe(const request *q, pb_string *out)
{
    pb_rows *rows = NULL;

    PB_TRY(pb_rows_open(q->ds, q->split, 1, &rows));
    rows_limit(rows, PROBED_ROWS);
    pb_status status = probe_rows(q, rows, out);
    pb_rows_close(rows);
    return status;
}

static pb_status describe(const request *q, pb_string *out)
{
    const pb_encode_options *o = q->options;
    unsigned kept        = q->split == PB_SPLIT_TRAIN ? PB_KEPT_TRAIN_TOKENS : PB_KEPT_TEST_TOKENS;
    pb_data_options data = q->ds->data;

    data.cutoff_tokens = o->cutoff_tokens;
    PB_TRY(pb_string_printf(out,
                            "tokens " TOKENS_VERSION " %zu\n%s %s\nfile %s %s\nchecked %d\n"
                            "template %s\ntokenizer %s\n",
                            token_file_header_bytes(), pb_protocol_names[q->ds->protocol],
                            split_name(q->split), pb_dataset_form(&q->ds->options, q->split),
                            q->sha, q->ds->check != NULL, pb_template_name(o->tpl),
                            pb_tokenizer_hash(o->tokenizer)));
    if (q->test != NULL) {
        const pb_encoded_storage *s = q->test->storage;
        char digests[PB_HASH_TEXT];
        PB_TRY(pb_hash_bytes(s->arrays[SECTION_DIGESTS], encoded_section_bytes(s, SECTION_DIGESTS),
                             digests));
        PB_TRY(pb_string_printf(out, "without %s\n", digests));
    }
    PB_TRY(pb_string_printf(out, "instruction %s\n", q->ds->instructions[q->split]));
    PB_TRY(pb_config_write(pb_dataset_fields, &q->ds->options, "", kept, out));
    PB_TRY(pb_config_write(pb_data_fields, &data, "", kept, out));
    return probe(q, out);
}

static pb_status file_sha(request *q)
{
    const pb_dataset_options *o = &q->ds->options;
    const char *path            = q->split == PB_SPLIT_TRAIN ? o->train_file : o->test_file;
    const char *known           = q->options->file_sha[q->split];

    if (q->ds->ops->build == NULL || *path == '\0') {
        return PB_OK;
    }
    if (known != NULL && strlen(known) == PB_HASH_TEXT - 1) {
        memcpy(q->sha, known, sizeof q->sha);
        return PB_OK;
    }
    return pb_hash_file(path, q->sha);
}

/* Composes the names: everything that determines the token rows, as a hash. The name of a file
 * counts only as far as it determines the file's form. */
static pb_status name(request *q)
{
    pb_string text = {0};
    pb_status status;

    PB_TRY(file_sha(q));
    PB_TRY_GOTO(status, describe(q, &text), out_text);
    PB_TRY_GOTO(status, pb_hash_bytes(text.data, text.length, q->key), out_text);
    PB_TRY_GOTO(status,
                pb_string_printf(&q->path, "%s/%.*s.tokens", q->options->cache, PB_FIT(q->key, 32)),
                out_text);
    PB_TRY_GOTO(status,
                pb_string_printf(&q->lock, "%s/%.*s.lock", q->options->cache, PB_FIT(q->key, 32)),
                out_text);
out_text:
    pb_string_clear(&text);
    return status;
}

/* A set counts the same whether it is mapped or not: so does a cell's memory. */
static void account(const pb_encoded_set *set)
{
    for (int i = 0; i < SECTION_COUNT; i++) {
        pb_memory_account((int64_t)encoded_section_bytes(set->storage, i));
    }
}

/* The set in the file; *found is false when there is none, or none that can be used. Only the
 * holder of the lock reports a damaged file. */
static pb_status find(const request *q, bool locked, pb_encoded_set *out, bool *found)
{
    *found = false;
    if (!pb_path_exists(q->path.data)) {
        return PB_OK;
    }
    pb_status status = token_file_open(q->path.data, q->key, true, out);
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

/* A temporary file that was not written to for this long is abandoned. */
static bool is_old(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && time(NULL) - about.st_mtime > OLD_SECONDS;
}

/* Removes what killed writers left: of this file, whose lock is held, and of others after a long
 * time. */
static pb_status remove_leftover(void *request_of, const char *path, const char *name)
{
    const request *q = request_of;
    const char *base = strrchr(q->path.data, '/') + 1;

    if (pb_file_is_temporary(name) && (strncmp(name, base, strlen(base)) == 0 || is_old(path))) {
        (void)unlink(path);
    }
    return PB_OK;
}

static pb_status make(const request *q, pb_encoded_set *out)
{
    return encoded_make(q->ds, q->split, q->options, q->test, out);
}

/* Replaces the set that was made by a mapping of its file. */
static pb_status keep(const request *q, const char *temporary, pb_encoded_set *made)
{
    pb_encoded_set mapped = {0};

    if (*q->sha != '\0' && strcmp(q->sha, made->sha) != 0) {
        (void)unlink(temporary);
        return PB_FAIL(PB_ERR_IO, "the file of rows changed while it was read");
    }
    PB_TRY(token_file_write(temporary, q->path.data, q->key, made));
    /* Not read again: its pages would be resident in addition to those of the set. */
    PB_TRY(token_file_open(q->path.data, q->key, false, &mapped));
    mapped.from_cache = false;
    pb_encoded_close(made);
    account(&mapped);
    *made = mapped;
    return PB_OK;
}

static void tell_not_kept(const request *q)
{
    pb_log_warn("token cache: %s; the tokens of data set %s stay in memory", pb_error_message(),
                q->ds->options.name);
    pb_error_clear();
}

/* Called with the lock. Whether the folder can be written is found out before the work, so that
 * others do not wait in vain. */
static pb_status make_and_keep(const request *q, pb_file_lock **lock, pb_encoded_set *out)
{
    char *temporary = NULL;

    if (pb_path_each(q->options->cache, NULL, remove_leftover, (void *)(uintptr_t)q) != PB_OK) {
        pb_error_clear();
    }
    if (pb_file_temporary_create(q->path.data, &temporary) != PB_OK) {
        tell_not_kept(q);
        pb_file_lock_release(*lock);
        *lock = NULL;
        return make(q, out);
    }
    pb_status status = make(q, out);
    if (status != PB_OK) {
        (void)unlink(temporary);
    } else if (keep(q, temporary, out) != PB_OK) {
        tell_not_kept(q);
    }
    pb_memory_free(temporary);
    return status;
}

/* *lock is NULL where there are no locks: then sets may be made twice, which only costs time. */
static pb_status wait_for_lock(const request *q, pb_file_lock **lock)
{
    const pb_encode_options *o = q->options;
    const struct timespec wait = {.tv_nsec = WAIT_MILLISECONDS * 1000000L};
    bool held                  = false;

    for (int64_t tries = 0;; tries++) {
        if (pb_file_lock_try(q->lock.data, lock, &held) != PB_OK) {
            pb_log_debug("token cache: %s", pb_error_message());
            pb_error_clear();
        }
        if (!held) {
            return PB_OK;
        }
        if (o->stop != NULL && o->stop(o->stop_context)) {
            return PB_FAIL(PB_STOPPED, "stopped while another process made the tokens of %s",
                           q->ds->options.name);
        }
        if (tries == 50) {
            pb_log_info("waiting for the tokens of %s, which another process makes",
                        q->ds->options.name);
        }
        (void)nanosleep(&wait, NULL);
    }
}

static pb_status find_or_make(const request *q, pb_encoded_set *out)
{
    pb_file_lock *lock = NULL;
    bool found         = false;

    PB_TRY(find(q, false, out, &found));
    if (found) {
        return PB_OK;
    }
    PB_TRY(wait_for_lock(q, &lock));
    /* Another process may have made it meanwhile. */
    pb_status status = find(q, true, out, &found);
    if (status == PB_OK && !found) {
        status = make_and_keep(q, &lock, out);
    }
    /* A waiting process still has the lock's file open and finds the set; later ones need no lock.
     */
    if (lock != NULL) {
        (void)unlink(q->lock.data);
    }
    pb_file_lock_release(lock);
    return status;
}

pb_status pb_encoded_open(const pb_dataset *ds, pb_split split, const pb_encode_options *options,
                          const pb_encoded_set *test, pb_encoded_set *out)
{
    request q = {.ds = ds, .split = split, .options = options, .test = test};
    pb_status status;

    if (options->cache == NULL || *options->cache == '\0') {
        return make(&q, out);
    }
    if (pb_path_make_directories(options->cache) != PB_OK) {
        tell_not_kept(&q);
        return make(&q, out);
    }
    PB_TRY_GOTO(status, name(&q), out_names);
    PB_TRY_GOTO(status, find_or_make(&q, out), out_names);
out_names:
    pb_string_clear(&q.path);
    pb_string_clear(&q.lock);
    return status;
}
