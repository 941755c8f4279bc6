// SPDX-License-Identifier: Apache-2.0
/* Which cells were running when their process went down. Every process has a file
 * DIRECTORY/attempts/<host>.<process>.running, which names its cells and which it locks; it is
 * overwritten in place, and made durable only for cells that take longer than a moment. The next
 * run finds those that nobody locks, and counts in DIRECTORY/attempts/<cell> how often the cell
 * took its process down, and which the last one was. An attempt that wrote a checkpoint does not
 * count, since the next begins further on. A signal that asks to stop removes the file at once, so
 * ranks that a launcher ends because of another one are not to blame. The files are hints: a
 * failure to write them is only logged. */
#include "internal.h"

#include "pb/clock.h"
#include "pb/file.h"
#include "pb/interned.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER  "attempts"
#define RUNNING ".running"
#define END     "end\n" /* of the names; what follows is older */

enum { HOST_BYTES = 256, FILE_BYTES = 4096, LIST_BYTES = 1 << 20 };

static const double MOMENT = 1.0; /* seconds */

/* ---------------------------------------------------------------- the file of this process */

static void host_name(char host[HOST_BYTES])
{
    memset(host, 0, HOST_BYTES);
    if (gethostname(host, HOST_BYTES - 1) != 0) {
        strcpy(host, "unknown-host");
    }
}

static pb_status fail_file(const char *verb, const char *path)
{
    return PB_FAIL(PB_ERR_IO, "cannot %s %s: %s%s", verb, path, strerror(errno),
                   pb_file_remedy(errno));
}

/* Another process may have the same name, on a host of the same name. */
static pb_status open_file(const char *directory, attempts *a)
{
    char host[HOST_BYTES];
    bool held        = true;
    pb_string path   = {0};
    pb_status status = PB_OK;
    host_name(host);
    PB_TRY_GOTO(status, pb_string_printf(&path, "%s/" FOLDER, directory), done);
    PB_TRY_GOTO(status, pb_path_make_directories(path.data), done);
    for (int n = 0; held; n++) {
        path.length = 0;
        PB_TRY_GOTO(status, pb_string_printf(&path, "%s/" FOLDER "/", directory), done);
        PB_TRY_GOTO(status, pb_results_escape(host, &path), done);
        PB_TRY_GOTO(status, pb_string_printf(&path, ".%ld.%d" RUNNING, (long)getpid(), n), done);
        PB_TRY_GOTO(status, pb_file_lock_try(path.data, &a->lock, &held), done);
    }
    a->fd = open(path.data, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (a->fd < 0) {
        status = fail_file("open", path.data);
        goto done;
    }
    a->path = path.data;
    path    = (pb_string){0};
done:
    pb_string_clear(&path);
    return status;
}

/* Names the cells that are not over. */
static pb_status write_names(const attempts *a)
{
    char host[HOST_BYTES];
    pb_string text = {0};
    pb_status status;
    host_name(host);
    PB_TRY_GOTO(status, pb_string_printf(&text, "process %ld on %s\n", (long)getpid(), host), done);
    for (int64_t i = 0; i < a->count; i++) {
        if (a->names[i] != NULL) {
            PB_TRY_GOTO(status, pb_string_printf(&text, "%s\n", a->names[i]), done);
        }
    }
    PB_TRY_GOTO(status, pb_string_puts(&text, END), done);
    if (pwrite(a->fd, text.data, text.length, 0) != (ssize_t)text.length) {
        status = fail_file("write", a->path);
    }
done:
    pb_string_clear(&text);
    return status;
}

static pb_status begin(const char *directory, const pb_cell *const *cells, int64_t count,
                       attempts *a)
{
    struct stat about;
    if (a->path == NULL) {
        PB_TRY(open_file(directory, a));
    }
    PB_TRY(PB_ALLOC(a->names, count));
    a->count = count;
    for (int64_t i = 0; i < count; i++) {
        char *path = NULL;
        PB_TRY(pb_cell_path(directory, FOLDER, cells[i], "", &path));
        pb_status status = PB_TEXT(a->names[i], strrchr(path, '/') + 1);
        pb_memory_free(path);
        PB_TRY(status);
    }
    PB_TRY(write_names(a));
    if (fstat(a->fd, &about) != 0) {
        return fail_file("examine", a->path);
    }
    a->begun   = about.st_mtim;
    a->seconds = pb_clock_seconds();
    a->durable = false;
    pb_stop_unlink(&a->path, 1);
    return PB_OK;
}

void attempts_begin(attempts *a, const char *directory, const pb_cell *const *cells, int64_t count)
{
    if (a->broken) {
        return;
    }
    pb_status status = begin(directory, cells, count, a);
    a->broken        = status != PB_OK;
    pb_ignore(status, "crashes of the cells of this process will not be counted");
}

/* Its time stays that of the beginning: checkpoints are compared with it. */
void attempts_over(attempts *a, int64_t index)
{
    if (a->broken || index >= a->count || a->names[index] == NULL) {
        return;
    }
    pb_memory_free(a->names[index]);
    a->names[index]  = NULL;
    pb_status status = write_names(a);
    if (status == PB_OK && futimens(a->fd, (struct timespec[2]){a->begun, a->begun}) != 0) {
        status = fail_file("set the time of", a->path);
    }
    pb_ignore(status, "a crash may be counted for a cell that has a result");
}

void attempts_tick(attempts *a)
{
    if (a->count > 0 && !a->broken && !a->durable && pb_clock_seconds() - a->seconds > MOMENT) {
        a->durable = true;
        if (fdatasync(a->fd) != 0) {
            pb_log_debug("%s is not durable: %s", a->path, strerror(errno));
        }
    }
}

void attempts_end(attempts *a)
{
    pb_stop_unlink(NULL, 0);
    for (int64_t i = 0; i < a->count; i++) {
        attempts_over(a, i);
    }
    pb_memory_free_texts(a->names, (size_t)a->count);
    a->names = NULL;
    a->count = 0;
}

void attempts_close(attempts *a)
{
    if (a->path != NULL) {
        (void)unlink(a->path);
        (void)close(a->fd);
    }
    pb_file_lock_release(a->lock);
    pb_memory_free(a->path);
    *a = (attempts){0};
}

/* ---------------------------------------------------------------- the files of cells */

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

/* Counts one more attempt, by `who`, which began at this time. */
static pb_status add_mark(const char *path, const char *who, struct timespec began)
{
    int64_t count  = 0;
    pb_string text = {0};
    pb_status status;
    PB_TRY_GOTO(status, read_mark(path, &count, &text), done);
    pb_string_clear(&text);
    PB_TRY_GOTO(status, pb_string_printf(&text, "%" PRId64 " %s\n", count + 1, who), done);
    PB_TRY_GOTO(status, pb_file_write_atomic(path, text.data, text.length), done);
    if (utimensat(AT_FDCWD, path, (struct timespec[2]){began, began}, 0) != 0) {
        status = fail_file("set the time of", path);
    }
done:
    pb_string_clear(&text);
    return status;
}

void attempts_forget(const char *directory, const pb_cell *cell)
{
    char *path       = NULL;
    pb_status status = pb_cell_path(directory, FOLDER, cell, "", &path);
    if (status == PB_OK) {
        (void)unlink(path);
    }
    pb_memory_free(path);
    pb_ignore(status, "earlier crashes of this cell stay counted");
}

/* Calls `take` with the cells that the file of a process names, and with the process. */
static pb_status each_name(const char *path,
                           pb_status (*take)(void *context, const char *name, const char *who),
                           void *context)
{
    pb_string text = {0};
    char *rest     = NULL;
    PB_TRY(pb_file_read(path, LIST_BYTES, &text));
    pb_status status = PB_OK;
    char *who        = text.length > 0 ? strtok_r(text.data, "\n", &rest) : NULL;
    char *name       = who != NULL ? strtok_r(NULL, "\n", &rest) : NULL;
    while (name != NULL && strcmp(name, "end") != 0 && status == PB_OK) {
        status = take(context, name, who);
        name   = strtok_r(NULL, "\n", &rest);
    }
    pb_string_clear(&text);
    return status;
}

/* A process that went down. */
typedef struct dead {
    const char *folder;
    struct timespec began;
} dead;

static pb_status add_name(void *context, const char *name, const char *who)
{
    const dead *d    = context;
    pb_string path   = {0};
    pb_status status = pb_string_printf(&path, "%s/%s", d->folder, name);
    if (status == PB_OK && strchr(name, '/') == NULL) {
        status = add_mark(path.data, who, d->began);
    }
    pb_string_clear(&path);
    return status;
}

static pb_status collect_file(void *context, const char *path, const char *file)
{
    struct stat about;
    dead d             = {.folder = context};
    pb_file_lock *lock = NULL;
    bool held          = false;
    (void)file;
    PB_TRY(pb_file_lock_try(path, &lock, &held));
    if (held) {
        return PB_OK; /* it runs */
    }
    pb_status status = stat(path, &about) == 0 ? PB_OK : fail_file("examine", path);
    if (status == PB_OK) {
        d.began = about.st_mtim;
        status  = each_name(path, add_name, &d);
    }
    if (status == PB_OK) {
        (void)unlink(path);
    }
    pb_file_lock_release(lock);
    return status;
}

pb_status attempts_collect(const folder *f)
{
    char *marks = NULL;
    if (f->lockless && f->shared) {
        return PB_OK;
    }
    PB_TRY(pb_path_join(f->path, FOLDER, &marks));
    pb_status status =
        pb_path_is_directory(marks) ? pb_path_each(marks, RUNNING, collect_file, marks) : PB_OK;
    pb_memory_free(marks);
    return status;
}

static bool is_running(const char *name)
{
    size_t length = strlen(name);
    return length > strlen(RUNNING) && strcmp(name + length - strlen(RUNNING), RUNNING) == 0;
}

/* The lock is released after the file is gone: nobody can have it by then. */
static pb_status remove_file(void *context, const char *path, const char *name)
{
    pb_file_lock *lock = NULL;
    bool held          = false;
    (void)context;
    PB_TRY(is_running(name) ? pb_file_lock_try(path, &lock, &held) : PB_OK);
    if (!held) {
        (void)unlink(path);
    }
    pb_file_lock_release(lock);
    return PB_OK;
}

void attempts_clear(const folder *f)
{
    char *marks      = NULL;
    pb_status status = pb_path_join(f->path, FOLDER, &marks);
    if (status == PB_OK && pb_path_is_directory(marks) && !(f->lockless && f->shared)) {
        status = pb_path_each(marks, NULL, remove_file, NULL);
    }
    pb_memory_free(marks);
    pb_ignore(status, "what is left in " FOLDER " counts nothing");
}

static pb_status note_name(void *context, const char *name, const char *who)
{
    int32_t number = 0;
    (void)who;
    return pb_interned_add(context, name, strlen(name), &number);
}

static pb_status note_file(void *context, const char *path, const char *name)
{
    if (pb_file_is_temporary(name)) {
        return PB_OK;
    }
    if (is_running(name)) {
        return each_name(path, note_name, context);
    }
    return note_name(context, name, NULL);
}

pb_status attempts_count(const char *directory, int64_t *out)
{
    pb_interned names = {0};
    char *marks       = NULL;
    PB_TRY(pb_path_join(directory, FOLDER, &marks));
    pb_status status =
        pb_path_is_directory(marks) ? pb_path_each(marks, NULL, note_file, &names) : PB_OK;
    *out = names.count;
    pb_interned_clear(&names);
    pb_memory_free(marks);
    return status;
}

/* ---------------------------------------------------------------- judging a cell */

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
    PB_TRY_GOTO(status, pb_cell_config(cell, &text), done);
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
