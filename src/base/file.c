// SPDX-License-Identifier: Apache-2.0
/* Opening files and reading them as a whole, and what their failures are called. */
#include "file_private.h"

#include "pb/file.h"
#include "pb/log.h"
#include "pb/memory.h"
#include "pb/string.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024 };
enum { POINTER_BYTES = 1024 }; /* of the largest pointer file */
enum { READ_TRIES = 4, READ_PAUSE_NS = 50 * 1000 * 1000 };

const char *pb_file_remedy(int reason)
{
    switch (reason) {
    case ENOSPC:
        return "; free some space or choose another directory";
    case EDQUOT:
        return "; the quota is used up: free some space or choose another directory";
    case EFBIG:
        return "; raise the limit on file sizes (ulimit -f)";
    case EACCES:
    case EPERM:
    case EROFS:
        return "; check its permissions or choose another path";
    case ENOTDIR:
        return "; a part of the path is a file, not a directory";
    case EEXIST:
        return "; remove the *.tmp.* files that stopped runs left beside it";
    default:
        return "";
    }
}

pb_status file_fail(pb_status status, const char *file, int line, const char *function,
                    const char *verb, const char *path, int reason)
{
    return pb_error_set(status, file, line, function, "cannot %s %s: %s%s", verb, path,
                        strerror(reason), pb_file_remedy(reason));
}

const char *file_kind(mode_t mode)
{
    if (S_ISDIR(mode)) {
        return "a directory";
    }
    if (S_ISFIFO(mode)) {
        return "a pipe";
    }
    if (S_ISLNK(mode)) {
        return "a symbolic link";
    }
    return S_ISSOCK(mode) ? "a socket" : "a device";
}

int file_sync(int fd)
{
    int result;

    do {
        result = fsync(fd);
    } while (result != 0 && errno == EINTR);
    return result;
}

pb_status pb_path_sync_directory(const char *directory)
{
    pb_status status = PB_OK;

    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return FAIL_SYSTEM("open directory", directory);
    }
    if (file_sync(fd) != 0 && errno != EINVAL) {
        status = FAIL_SYSTEM("make durable the directory", directory);
    }
    (void)close(fd);
    return status;
}

/* The pointers that Git leaves in place of large files that were not fetched: a few lines of text.
 * The formats are documented (git-lfs docs/spec.md, git-annex internals). */
static pb_status refuse_pointer(const char *path, int fd, const struct stat *about)
{
    static const struct {
        const char *begin, *name, *command;
    } pointers[] = {
        {"version https://git-lfs.github.com/spec/", "Git LFS", "git lfs pull"},
        {"version https://hawser.github.com/spec/", "Git LFS", "git lfs pull"},
        {"/annex/objects/", "git-annex", "git annex get"},
    };
    char begin[64] = "";

    if (about->st_size <= 0 || about->st_size > POINTER_BYTES ||
        pread(fd, begin, sizeof begin - 1, 0) <= 0) {
        return PB_OK; /* a failing read will fail again where its bytes are needed */
    }
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        if (pb_string_begins(begin, pointers[i].begin)) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "%s is a %s pointer (%lld bytes), not the file itself: run `%s` in its "
                           "folder, or download the file",
                           path, pointers[i].name, (long long)about->st_size, pointers[i].command);
        }
    }
    return PB_OK;
}

static pb_status open_for_reading(const char *path, int *fd, struct stat *about)
{
    pb_status status;

    /* Without O_NONBLOCK, opening a pipe waits for a writer. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0 && errno == ENXIO) {
        return PB_FAIL(PB_ERR_IO,
                       "cannot read %s: it is a socket or a device, not a regular file; "
                       "copy its contents into one",
                       path);
    }
    if (*fd < 0) {
        return file_fail(errno == ENOENT ? PB_ERR_NOT_FOUND : PB_ERR_IO, __FILE__, __LINE__,
                         __func__, "open", path, errno);
    }
    if (fstat(*fd, about) != 0) {
        status = FAIL_SYSTEM("examine", path);
        goto err_open;
    }
    if (!S_ISREG(about->st_mode)) {
        status = PB_FAIL(PB_ERR_IO,
                         "cannot read %s: it is %s, not a regular file; copy its contents into one",
                         path, file_kind(about->st_mode));
        goto err_open;
    }
    if (fcntl(*fd, F_SETFL, 0) != 0) {
        status = FAIL_SYSTEM("open", path);
        goto err_open;
    }
    PB_TRY_GOTO(status, refuse_pointer(path, *fd, about), err_open);
    return PB_OK;

err_open:
    (void)close(*fd);
    *fd = -1;
    return status;
}

/* What network file systems and failing disks report once and not the next time. */
static bool is_transient(int reason)
{
    return reason == EIO || reason == ESTALE || reason == EAGAIN || reason == ENOLCK ||
           reason == ETIMEDOUT || reason == EINTR;
}

bool file_try_again(pb_status status, int reason, int tries)
{
    if (status != PB_ERR_IO || !is_transient(reason) || tries >= READ_TRIES) {
        return false;
    }
    pb_log_debug("%s; trying again", pb_error_message());
    pb_error_clear();
    (void)nanosleep(&(struct timespec){.tv_nsec = READ_PAUSE_NS}, NULL);
    return true;
}

pb_status pb_file_open(const char *path, int *fd)
{
    for (int tries = 1;; tries++) {
        struct stat about;

        errno            = 0;
        pb_status status = open_for_reading(path, fd, &about);
        if (!file_try_again(status, errno, tries)) {
            return status;
        }
    }
}

/* Skips a byte-order mark and white space; `word` is lower case. */
static bool begins_with(const char *bytes, size_t size, const char *word)
{
    size_t at     = size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    size_t length = strlen(word);

    while (at < size && isspace((unsigned char)bytes[at])) {
        at++;
    }
    return size - at >= length && strncasecmp(bytes + at, word, length) == 0;
}

const char *pb_file_failed_download(const void *bytes, size_t size)
{
    if (size == 0) {
        return "is empty";
    }
    if (begins_with(bytes, size, "<!doctype html") || begins_with(bytes, size, "<html")) {
        return "holds an HTML page";
    }
    return begins_with(bytes, size, "<?xml") ? "holds an XML page" : NULL;
}

static pb_status read_all(int fd, const char *path, size_t max_bytes, pb_string *text)
{
    char *chunk      = NULL;
    pb_status status = PB_OK;

    PB_TRY(PB_ALLOC(chunk, READ_BYTES));
    for (;;) {
        ssize_t got = read(fd, chunk, READ_BYTES);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            status = FAIL_SYSTEM("read", path);
            break;
        }
        if (max_bytes != 0 && text->length + (size_t)got > max_bytes) {
            status = PB_FAIL(PB_ERR_FORMAT, "%s is larger than the %zu bytes allowed here", path,
                             max_bytes);
            break;
        }
        PB_TRY_GOTO(status, pb_string_append(text, chunk, (size_t)got), out_chunk);
        if (got == 0) {
            break;
        }
    }
out_chunk:
    pb_memory_free(chunk);
    return status;
}

/* *reason: the system's, when a system call failed. */
static pb_status read_once(const char *path, size_t max_bytes, pb_string *out, int *reason)
{
    pb_status status;
    int fd            = -1;
    struct stat about = {0};
    pb_string text    = {0};

    errno  = 0;
    status = open_for_reading(path, &fd, &about);
    if (status != PB_OK) {
        *reason = errno;
        return PB_FRAME(status);
    }
    /* The size is only a first guess: /proc reports none, and a file may still grow. */
    if (max_bytes != 0 && about.st_size > 0 && (uint64_t)about.st_size > max_bytes) {
        status = PB_FAIL(PB_ERR_FORMAT, "%s has %lld bytes, more than the %zu allowed here", path,
                         (long long)about.st_size, max_bytes);
        goto out_fd;
    }
    if (about.st_size > 0) {
        text.capacity = (size_t)about.st_size + 1;
        PB_TRY_GOTO(status, PB_ALLOC(text.data, text.capacity), out_fd);
    }
    PB_TRY_GOTO(status, read_all(fd, path, max_bytes, &text), err_text);
    *out = text;
    goto out_fd;

err_text:
    *reason = errno;
    pb_string_clear(&text);
out_fd:
    (void)close(fd);
    return status;
}

pb_status pb_file_read(const char *path, size_t max_bytes, pb_string *out)
{
    for (int tries = 1;; tries++) {
        int reason       = 0;
        pb_status status = read_once(path, max_bytes, out, &reason);

        if (!file_try_again(status, reason, tries)) {
            return status;
        }
    }
}

static pb_status read_part_once(const char *path, int64_t at, size_t size, pb_string *out,
                                int *reason)
{
    int fd         = -1;
    pb_string text = {.capacity = size + 1};
    pb_status status;

    errno  = 0;
    status = pb_file_open(path, &fd);
    if (status != PB_OK) {
        *reason = errno;
        return PB_FRAME(status);
    }
    PB_TRY_GOTO(status, PB_ALLOC(text.data, text.capacity), out_fd);
    while (text.length < size) {
        ssize_t n = pread(fd, text.data + text.length, size - text.length,
                          (off_t)(at + (int64_t)text.length));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            *reason = errno;
            status  = FAIL_SYSTEM("read", path);
            goto out_fd;
        }
        if (n == 0) {
            break;
        }
        text.length += (size_t)n;
    }
    *out = text;
    text = (pb_string){0};
out_fd:
    pb_string_clear(&text);
    (void)close(fd);
    return status;
}

pb_status pb_file_read_part(const char *path, int64_t at, size_t size, pb_string *out)
{
    for (int tries = 1;; tries++) {
        int reason       = 0;
        pb_status status = read_part_once(path, at, size, out, &reason);

        if (!file_try_again(status, reason, tries)) {
            return status;
        }
    }
}
