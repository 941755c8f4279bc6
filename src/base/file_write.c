// SPDX-License-Identifier: Apache-2.0
/* The atomic durable write: temporary file, fsync, rename, fsync of the directory. A kill at any
 * moment leaves either the old file or the new one under the name. Writes never follow a symbolic
 * link. */
#include "file_private.h"

#include "pb/file.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOST_BYTES = 256, TEMPORARY_TRIES = 1000 };

pb_status pb_file_write_all(int fd, const char *path, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t written = write(fd, at, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return FAIL_SYSTEM("write", path);
        }
        at += written;
        size -= (size_t)written;
    }
    return PB_OK;
}

/* A rename would remove a pipe or a device as readily as a file, so only a regular file is
 * replaced, or a link to one or a dangling link, whose target stays. Under a shell's "> file",
 * /dev/stdout leads to a regular file through /proc. */
static pb_status check_replaceable(const char *path)
{
    static const char descriptors[] = "/proc/";
    char target[sizeof descriptors] = "";
    struct stat about;

    bool leads = readlink(path, target, sizeof target - 1) > 0;
    if (leads && strcmp(target, descriptors) == 0) {
        return PB_FAIL(PB_ERR_IO, "cannot write %s: it leads to an open file; choose another name",
                       path);
    }
    if (stat(path, &about) == 0 && !S_ISREG(about.st_mode)) {
        return PB_FAIL(PB_ERR_IO,
                       "cannot write %s: it %s %s, not a regular file; remove it or choose another "
                       "name",
                       path, leads ? "leads to" : "is", file_kind(about.st_mode));
    }
    return PB_OK;
}

/* The synced temporary takes the name; on failure it is removed. */
static pb_status publish(const char *temporary, const char *path)
{
    pb_status status;
    char *directory = NULL;

    PB_TRY_GOTO(status, check_replaceable(path), err_temporary);
    PB_TRY_GOTO(status, pb_path_directory(path, &directory), err_temporary);
    if (rename(temporary, path) != 0) {
        status = FAIL_SYSTEM("rename a temporary file to", path);
        goto err_directory;
    }
    status = pb_path_sync_directory(directory);
    pb_memory_free(directory);
    return status;

err_directory:
    pb_memory_free(directory);
err_temporary:
    (void)unlink(temporary);
    return status;
}

/* A new file with a unique name. Host and process number repeat when a container is restarted, so
 * names left by a killed run are skipped. */
static pb_status create_temporary(const char *path, char **name, int *fd)
{
    static atomic_uint calls;
    char host[HOST_BYTES] = "";

    if (path[0] == '\0') {
        return PB_FAIL(PB_ERR_ARGUMENT, "the path of a file is empty");
    }
    PB_TRY(check_replaceable(path));
    if (gethostname(host, sizeof host - 1) != 0) {
        (void)snprintf(host, sizeof host, "host");
    }
    for (int i = 0; i < TEMPORARY_TRIES; i++) {
        pb_string text = {0};
        PB_TRY(pb_string_printf(&text, "%s.tmp.%s.%ld.%u", path, host, (long)getpid(),
                                atomic_fetch_add(&calls, 1)));
        *fd = open(text.data, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (*fd >= 0) {
            *name = text.data;
            return PB_OK;
        }
        int reason = errno;
        pb_string_clear(&text);
        errno = reason;
        if (reason != EEXIST) {
            break;
        }
    }
    return FAIL_SYSTEM("create a temporary file beside", path);
}

/* Closes the temporary once it is durable, and gives it the name; on failure it is removed. */
static pb_status finish(int fd, const char *temporary, const char *path)
{
    pb_status status = PB_OK;

    if (file_sync(fd) != 0) {
        status = FAIL_SYSTEM("make durable", path);
    }
    /* Network file systems report late failures here. */
    if (close(fd) != 0 && errno != EINTR && status == PB_OK) {
        status = FAIL_SYSTEM("close", path);
    }
    if (status == PB_OK) {
        return publish(temporary, path);
    }
    (void)unlink(temporary);
    return status;
}

pb_status pb_file_write_atomic(const char *path, const void *bytes, size_t size)
{
    char *temporary = NULL;
    int fd          = -1;

    PB_TRY(create_temporary(path, &temporary, &fd));
    pb_status status = pb_file_write_all(fd, path, bytes, size);
    if (status == PB_OK) {
        status = finish(fd, temporary, path);
    } else {
        (void)close(fd);
        (void)unlink(temporary);
    }
    pb_memory_free(temporary);
    return PB_FRAME(status);
}

pb_status pb_file_commit(const char *temporary, const char *path)
{
    /* Some systems need write access for a sync to reach the disk. */
    int fd = open(temporary, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        pb_status status = FAIL_SYSTEM("open", temporary);
        (void)unlink(temporary);
        return status;
    }
    return finish(fd, temporary, path);
}

pb_status pb_file_temporary_create(const char *path, char **out)
{
    int fd = -1;

    PB_TRY(create_temporary(path, out, &fd));
    (void)close(fd);
    return PB_OK;
}

pb_status pb_file_temporary_stream(const char *temporary, FILE **out)
{
    int fd = open(temporary, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return FAIL_SYSTEM("open", temporary);
    }
    *out = fdopen(fd, "wb");
    if (*out == NULL) {
        int reason = errno;
        (void)close(fd);
        return file_fail(PB_ERR_IO, __FILE__, __LINE__, __func__, "open", temporary, reason);
    }
    return PB_OK;
}

/* The "." before the digits that end at `end`, NULL when there are none. */
static const char *before_number(const char *begin, const char *end)
{
    const char *at = end;

    while (at > begin && isdigit((unsigned char)at[-1])) {
        at--;
    }
    return at < end && at > begin && at[-1] == '.' ? at - 1 : NULL;
}

bool pb_file_is_temporary(const char *name)
{
    const char *mark    = strstr(name, ".tmp.");
    const char *count   = before_number(name, name + strlen(name));
    const char *process = count != NULL ? before_number(name, count) : NULL;

    return mark != NULL && process != NULL && mark + strlen(".tmp.") < process;
}
