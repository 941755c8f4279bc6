// SPDX-License-Identifier: Apache-2.0
/* Advisory locks on files, which the system releases however their holder ends. */
#include "file_private.h"

#include "pb/file.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HOLDER_BYTES = 512, LOOKS = 10 };

struct pb_file_lock {
    int fd;
};

static int flock_retrying(int fd, int kind)
{
    int result;

    do {
        result = flock(fd, kind | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    return result;
}

/* pb_file_lock_look holds the lock for a moment: it is tried again `looks` times. */
static int take(int fd, int looks)
{
    const struct timespec moment = {.tv_nsec = 5000000};
    int result                   = flock_retrying(fd, LOCK_EX);

    for (int i = 0; i < looks && result != 0 && errno == EWOULDBLOCK; i++) {
        (void)nanosleep(&moment, NULL);
        result = flock_retrying(fd, LOCK_EX);
    }
    return result;
}

static pb_status fail_held(int fd, const char *path)
{
    char holder[HOLDER_BYTES] = "";

    if (pread(fd, holder, sizeof holder - 1, 0) <= 0) {
        (void)snprintf(holder, sizeof holder, "another process");
    }
    return PB_FAIL(PB_ERR_IO,
                   "cannot lock %s: it is held by %s; wait for that one to end, or choose another "
                   "directory",
                   path, holder);
}

/* The text is only informative: the lock works without it, for example on a full disk. */
static void write_holder(int fd, const char *path, const char *holder)
{
    if (ftruncate(fd, 0) != 0 || pwrite(fd, holder, strlen(holder), 0) < 0) {
        pb_log_debug("cannot write the holder's name to %s: %s", path, strerror(errno));
    }
}

/* The file of a lock is truncated and written to: it must have no other name. */
static pb_status check_lock_file(int fd, const char *path)
{
    struct stat about;

    if (fstat(fd, &about) != 0) {
        return PB_FAIL(PB_ERR_IO, "cannot examine %s: %s", path, strerror(errno));
    }
    if (!S_ISREG(about.st_mode)) {
        return PB_FAIL(PB_ERR_IO, "cannot lock %s: it is %s, not a regular file; remove it", path,
                       file_kind(about.st_mode));
    }
    if (about.st_nlink > 1) {
        return PB_FAIL(PB_ERR_IO,
                       "cannot lock %s: the file has other names (hard links) and would be emptied "
                       "under them too; remove this one",
                       path);
    }
    return PB_OK;
}

static pb_status open_lock_file(const char *path, int *fd)
{
    struct stat about;

    *fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
    if (*fd < 0) {
        int reason = errno;
        if (lstat(path, &about) == 0 && !S_ISREG(about.st_mode)) {
            return PB_FAIL(PB_ERR_IO, "cannot lock %s: it is %s, not a regular file; remove it",
                           path, file_kind(about.st_mode));
        }
        return PB_FAIL(PB_ERR_IO, "cannot open %s: %s%s", path, strerror(reason),
                       pb_file_remedy(reason));
    }
    pb_status status = check_lock_file(*fd, path);
    if (status != PB_OK) {
        (void)close(*fd);
        *fd = -1;
    }
    return status;
}

/* *out holds the lock, or is NULL with the system's reason. */
static pb_status open_lock(const char *path, int looks, pb_file_lock **out, int *fd, int *reason)
{
    pb_file_lock *lock = NULL;
    pb_status status;

    *out = NULL;
    PB_TRY(PB_ALLOC(lock, 1));
    PB_TRY_GOTO(status, open_lock_file(path, fd), err_lock);
    if (take(*fd, looks) == 0) {
        lock->fd = *fd;
        *out     = lock;
        return PB_OK;
    }
    *reason = errno;
err_lock:
    pb_memory_free(lock);
    return status;
}

pb_status pb_file_lock_take(const char *path, const char *holder, pb_file_lock **out)
{
    int fd           = -1;
    int reason       = 0;
    pb_status status = PB_OK;

    PB_TRY(open_lock(path, LOOKS, out, &fd, &reason));
    if (*out != NULL) {
        write_holder(fd, path, holder);
        return PB_OK;
    }
    if (reason == EWOULDBLOCK) {
        status = fail_held(fd, path);
    } else {
        pb_log_warn("cannot lock %s: %s; nothing prevents a second process from working here", path,
                    strerror(reason));
    }
    (void)close(fd);
    return status;
}

pb_status pb_file_lock_try(const char *path, pb_file_lock **out, bool *held)
{
    int fd     = -1;
    int reason = 0;

    *held = false;
    PB_TRY(open_lock(path, 0, out, &fd, &reason));
    if (*out == NULL) {
        *held = reason == EWOULDBLOCK;
        (void)close(fd);
    }
    return PB_OK;
}

void pb_file_lock_release(pb_file_lock *lock)
{
    if (lock != NULL) {
        if (ftruncate(lock->fd, 0) != 0) {
            pb_log_debug("the text of a lock stays: %s", strerror(errno));
        }
        (void)close(lock->fd);
        pb_memory_free(lock);
    }
}

pb_file_lock_state pb_file_lock_look(const char *path)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? PB_FILE_LOCK_FREE : PB_FILE_LOCK_UNKNOWN;
    }
    bool taken = flock_retrying(fd, LOCK_SH) == 0;
    bool held  = !taken && errno == EWOULDBLOCK;
    (void)close(fd);
    return taken ? PB_FILE_LOCK_FREE : held ? PB_FILE_LOCK_HELD : PB_FILE_LOCK_UNKNOWN;
}
