// SPDX-License-Identifier: Apache-2.0
/* Which cells were running when their process went down: DIRECTORY/attempts/<cell> is there from
 * before a cell begins until it has a result or is stopped. It holds how often that was so, and who
 * ran it last. An attempt that wrote a checkpoint does not count, since the next begins further on.
 * A signal that asks to stop removes it at once, so ranks that a launcher ends because of another
 * one are not to blame. The files are hints: a failure to write them is only logged. */
#include "internal.h"

#include "pb/file.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/stop.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "attempts"

enum { HOST_BYTES = 256, FILE_BYTES = 4096 };

/* *count is 0 without a file; one that was not written to its end counts once. */
static pb_status read_mark(const char *path, int64_t *count, pb_string *last)
{
    char *end = NULL;
    *count    = 0;
    if (!pb_path_exists(path)) {
        return PB_OK;
    }
    PB_TRY(pb_file_read(path, FILE_BYTES, last));
    long long number = last->length > 0 ? strtoll(last->data, &end, 10) : 0;
    *count           = number > 0 && number < INT32_MAX ? number : 1;
    return PB_OK;
}

static pb_status write_mark(const char *path)
{
    char host[HOST_BYTES] = "";
    char *parent          = NULL;
    int64_t count         = 0;
    pb_string text        = {0};
    pb_status status;
    if (gethostname(host, sizeof host - 1) != 0) {
        strcpy(host, "an unknown host");
    }
    PB_TRY_GOTO(status, read_mark(path, &count, &text), done);
    pb_string_clear(&text);
    PB_TRY_GOTO(
        status,
        pb_string_printf(&text, "%" PRId64 " process %ld on %s\n", count + 1, (long)getpid(), host),
        done);
    PB_TRY_GOTO(status, pb_path_directory(path, &parent), done);
    PB_TRY_GOTO(status, pb_path_make_directories(parent), done);
    PB_TRY_GOTO(status, pb_file_write_atomic(path, text.data, text.length), done);
done:
    pb_memory_free(parent);
    pb_string_clear(&text);
    return status;
}

void attempts_begin(const char *directory, const pb_cell *const *cells, int64_t count,
                    attempts *out)
{
    pb_status status = PB_ALLOC(out->paths, count);
    for (int64_t i = 0; i < count && status == PB_OK; i++) {
        status = pb_cell_path(directory, FOLDER, cells[i], "", &out->paths[i]);
        if (status == PB_OK) {
            status = write_mark(out->paths[i]);
        }
        out->count = i + (status == PB_OK);
    }
    pb_stop_unlink(out->paths, out->count);
    pb_ignore(status, "a crash of this cell will not be counted");
}

void attempts_over(attempts *a, int64_t index)
{
    if (index < a->count) {
        (void)unlink(a->paths[index]);
    }
}

void attempts_end(attempts *a)
{
    pb_stop_unlink(NULL, 0);
    for (int64_t i = 0; i < a->count; i++) {
        attempts_over(a, i);
    }
    pb_memory_free_texts(a->paths, (size_t)a->count);
    *a = (attempts){0};
}

/* The last attempt left a checkpoint: the next one begins further on. */
static pb_status got_further(const char *directory, const pb_cell *cell, const char *mark,
                             bool *out)
{
    struct stat began, saved;
    char *checkpoint = NULL;
    PB_TRY(pb_cell_path(directory, "checkpoints", cell, ".ckpt", &checkpoint));
    *out = stat(mark, &began) == 0 && stat(checkpoint, &saved) == 0 &&
           (saved.st_mtim.tv_sec > began.st_mtim.tv_sec ||
            (saved.st_mtim.tv_sec == began.st_mtim.tv_sec &&
             saved.st_mtim.tv_nsec > began.st_mtim.tv_nsec));
    pb_memory_free(checkpoint);
    return PB_OK;
}

/* The failed result of a cell that is not tried again. */
static pb_status give_up(const pb_sweep *s, const char *directory, const pb_record_key *key,
                         const pb_cell *cell, pb_status failure)
{
    pb_record record;
    pb_string text = {0};
    pb_status status;
    pb_record_init(&record);
    PB_TRY_GOTO(status, pb_record_fail(&record, failure), done);
    PB_TRY_GOTO(status,
                pb_record_set_key(&record, key->model, key->dataset, key->method, key->seed), done);
    memcpy(record.key.config_hash, key->config_hash, sizeof key->config_hash);
    PB_TRY_GOTO(status,
                pb_record_set_text(&record.protocol,
                                   pb_protocol_names[pb_grid_get_sweep(s->grid)->protocol]),
                done);
    PB_TRY_GOTO(status, pb_cell_text(cell, &text), done);
    PB_TRY_GOTO(status, pb_record_set_text(&record.config, text.data), done);
    PB_TRY_GOTO(status, pb_cell_provenance(s->env, &record), done);
    PB_TRY_GOTO(status, pb_shard_write(directory, &record), done);
    pb_error_clear();
done:
    pb_string_clear(&text);
    pb_record_clear(&record);
    return status;
}

static pb_status judge(const pb_sweep *s, const char *directory, const pb_record_key *key,
                       const pb_cell *cell, const char *path, attempts_verdict *out)
{
    int64_t most   = pb_grid_get_run(s->grid)->max_attempts;
    int64_t count  = 0;
    bool further   = false;
    pb_string last = {0};
    pb_status status;
    *out = ATTEMPTS_NONE;
    PB_TRY(got_further(directory, cell, path, &further));
    if (s->options.fresh || s->options.retry_failed || further) {
        (void)unlink(path);
        return PB_OK;
    }
    PB_TRY_GOTO(status, read_mark(path, &count, &last), done);
    *out = count == 0 ? ATTEMPTS_NONE : count < most ? ATTEMPTS_SOME : ATTEMPTS_ALL;
    if (*out == ATTEMPTS_ALL) {
        const char *who = last.data != NULL ? strchr(last.data, ' ') : NULL;
        PB_TRY_GOTO(
            status,
            give_up(s, directory, key, cell,
                    PB_FAIL(PB_ERR_MEMORY,
                            "it took its process down %" PRId64 " time%s, the last time%.*s"
                            ": killed, as by the out-of-memory killer (see dmesg there), "
                            "or crashed; --retry-failed runs it again",
                            count, count == 1 ? "" : "s",
                            (int)(who != NULL ? strcspn(who, "\n") : 0), who != NULL ? who : "")),
            done);
        (void)unlink(path);
    }
done:
    pb_string_clear(&last);
    return status;
}

pb_status attempts_judge(const pb_sweep *s, const char *directory, const pb_record_key *key,
                         const pb_cell *cell, attempts_verdict *out)
{
    char *path = NULL;
    PB_TRY(pb_cell_path(directory, FOLDER, cell, "", &path));
    pb_status status = judge(s, directory, key, cell, path, out);
    pb_memory_free(path);
    return status;
}
