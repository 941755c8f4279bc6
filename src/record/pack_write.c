// SPDX-License-Identifier: Apache-2.0
/* Committing results. A process that writes to packs has one of its own, which it holds by a lock:
 * that of a process that has ended is free again, so that the number of packs is that of processes,
 * however often a sweep is stopped. */
#include "pack.h"
#include "shard.h"

#include "pb/clock.h"
#include "pb/file.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A cell is durable as soon as it is committed, except one that follows the cell before at once, as
 * baselines do: these are made durable together. A kill of the process loses none of them, only the
 * end of the machine can. */
static const double SECONDS_AT_ONCE       = 0.05;
static const double SECONDS_BETWEEN_SYNCS = 1.0;

struct pb_shard_writer {
    char *directory;
    bool packed;
    int64_t round;
    int first;                /* number of the pack that is tried first */
    char *path;               /* of the pack; NULL: none yet */
    int fd;                   /* of the pack */
    int64_t end;              /* where the next record goes */
    bool waits;               /* something is not durable */
    double synced, committed; /* clock seconds, of the last sync and the last record */
};

pb_status pb_shard_writer_open(const char *directory, bool packed, int64_t round, int rank,
                               pb_shard_writer **out)
{
    pb_shard_writer *w = NULL;
    PB_TRY(PB_ALLOC(w, 1));
    *w = (pb_shard_writer){.packed = packed, .round = round, .first = rank + 1, .fd = -1};
    pb_status status = PB_TEXT(w->directory, directory);
    if (status != PB_OK) {
        pb_memory_free(w);
        return status;
    }
    *out = w;
    return PB_OK;
}

static pb_status fail_pack(const char *verb, const char *path)
{
    return PB_FAIL(PB_ERR_IO, "cannot %s %s: %s%s", verb, path, strerror(errno),
                   pb_file_remedy(errno));
}

static pb_status sync_pack(pb_shard_writer *w)
{
    int result;
    do {
        result = fdatasync(w->fd);
    } while (result != 0 && errno == EINTR);
    if (result != 0) {
        return fail_pack("make durable", w->path);
    }
    w->waits  = false;
    w->synced = pb_clock_seconds();
    return PB_OK;
}

pb_status pb_shard_writer_close(pb_shard_writer *w)
{
    pb_status status = PB_OK;
    if (w == NULL) {
        return PB_OK;
    }
    if (w->fd >= 0) {
        status = w->waits ? sync_pack(w) : PB_OK;
        (void)close(w->fd);
    }
    pb_memory_free(w->path);
    pb_memory_free(w->directory);
    pb_memory_free(w);
    return status;
}

/* Locks a pack, which is made when missing; *fd < 0: another process holds it. Without support for
 * locks the name, which then has the host and the process, must be new. */
static pb_status try_pack(const char *path, int flags, int *fd, bool *no_locks)
{
    struct stat named, opened;
    *fd =
        open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | flags, 0666);
    if (*fd < 0) {
        return fail_pack("open", path);
    }
    bool held = flock(*fd, LOCK_EX | LOCK_NB) != 0;
    *no_locks = held && errno != EWOULDBLOCK;
    if (fstat(*fd, &opened) != 0 || !S_ISREG(opened.st_mode)) {
        (void)close(*fd);
        *fd = -1;
        return PB_FAIL(PB_ERR_IO, "%s is not a regular file; remove it", path);
    }
    /* A pack that is mended meanwhile is replaced. */
    bool replaced = stat(path, &named) != 0 || named.st_ino != opened.st_ino;
    if ((held && flags == 0) || replaced) {
        (void)close(*fd);
        *fd = -1;
    }
    return PB_OK;
}

static pb_status name_pack(const pb_shard_writer *w, int number, bool no_locks, pb_string *out)
{
    char host[256] = "";
    out->length    = 0;
    PB_TRY(pb_string_printf(out, "%s/shards/", w->directory));
    if (!no_locks) {
        return pb_string_printf(out, "%04d.pack", number);
    }
    if (gethostname(host, sizeof host - 1) != 0) {
        strcpy(host, "host");
    }
    PB_TRY(pb_results_escape(host, out));
    return pb_string_printf(out, ".%ld.%d.pack", (long)getpid(), number);
}

static pb_status pass_record(void *context, const pack_record *record)
{
    (void)context, (void)record;
    return PB_OK;
}

/* Cuts off what a killed process has left of a record. */
static pb_status find_end(pb_shard_writer *w)
{
    const pack_visitor visitor = {.record = pass_record};
    pack_gap tail;
    PB_TRY(pack_walk(w->fd, w->path, 0, 0, &visitor, &tail));
    if (tail.to > tail.from && ftruncate(w->fd, (off_t)tail.from) != 0) {
        return fail_pack("cut", w->path);
    }
    w->end = tail.from;
    return PB_OK;
}

static pb_status open_pack(pb_shard_writer *w)
{
    pb_string path   = {0};
    char *folder     = NULL;
    bool no_locks    = false;
    pb_status status = PB_OK;

    PB_TRY(pb_path_join(w->directory, "shards", &folder));
    PB_TRY_GOTO(status, pb_path_make_directories(folder), out);
    for (int number = w->first; w->fd < 0; number++) {
        PB_TRY_GOTO(status, name_pack(w, number, no_locks, &path), out);
        PB_TRY_GOTO(status, try_pack(path.data, no_locks ? O_EXCL : 0, &w->fd, &no_locks), out);
    }
    w->path = path.data;
    path    = (pb_string){0};
    PB_TRY_GOTO(status, find_end(w), out);
    PB_TRY_GOTO(status, pb_path_sync_directory(folder), out);
out:
    pb_string_clear(&path);
    pb_memory_free(folder);
    return status;
}

static pb_status write_whole(const pb_shard_writer *w, const char *bytes, size_t size, int64_t at)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(w->fd, bytes + done, size - done, (off_t)(at + (int64_t)done));
        if (n < 0 && errno != EINTR) {
            return fail_pack("write", w->path);
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return PB_OK;
}

static pb_status append(pb_shard_writer *w, const pb_string *line, const void *bytes, size_t size)
{
    pb_status status = write_whole(w, line->data, line->length, w->end);
    if (status == PB_OK) {
        status = write_whole(w, bytes, size, w->end + (int64_t)line->length);
    }
    if (status != PB_OK) {
        if (ftruncate(w->fd, (off_t)w->end) != 0) {
            pb_log_debug("%s keeps a part of a record: %s", w->path, strerror(errno));
        }
        return status;
    }
    double now = pb_clock_seconds();
    bool due   = now - w->committed > SECONDS_AT_ONCE || now - w->synced > SECONDS_BETWEEN_SYNCS;
    w->end += (int64_t)(line->length + size);
    w->waits     = true;
    w->committed = now;
    return due ? sync_pack(w) : PB_OK;
}

pb_status pb_shard_writer_put(pb_shard_writer *w, const pb_record *record)
{
    pb_string name   = {0};
    pb_string line   = {0};
    void *bytes      = NULL;
    size_t size      = 0;
    pb_status status = PB_OK;

    if (!w->packed) {
        return pb_shard_write(w->directory, record);
    }
    if (w->fd < 0) {
        PB_TRY(open_pack(w));
    }
    PB_TRY_GOTO(status, shard_name(&record->key, &name), out);
    PB_TRY_GOTO(status, shard_compose(record, w->path, &bytes, &size), out);
    PB_TRY_GOTO(status, pack_line(name.data, w->round, (int64_t)size, &line), out);
    PB_TRY_GOTO(status, append(w, &line, bytes, size), out);
out:
    pb_memory_free(bytes);
    pb_string_clear(&line);
    pb_string_clear(&name);
    return status;
}
