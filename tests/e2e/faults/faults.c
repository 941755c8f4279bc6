// SPDX-License-Identifier: Apache-2.0
/* For LD_PRELOAD: makes system calls fail, as the environment specifies.
 *
 *     FAULT_FOLDERS  only files below these folders count, separated by ":"
 *     FAULT_CALL     open, read, map, write, fsync, rename, lock or clock
 *     FAULT_AT       which call of that kind fails, from 1; 0: every one
 *     FAULT_ERRNO    the errno it fails with; a write with FAULT_ERRNO=0 writes only half
 *     FAULT_SECONDS  of clock: the time of day jumps by so many at that call
 *     FAULT_SIGNAL   in place of failing, the process is sent this signal before the call
 *     FAULT_COUNTS   this file gets a line "kind calls" for every kind, at the end
 *
 * The real calls are made by syscall(2), so that nothing depends on other replacements. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { OPEN, READ, MAP, WRITE, FSYNC, RENAME, LOCK, CLOCK, KINDS, PATH_BYTES = 4096 };

static const char *const names[KINDS] = {"open",  "read",   "map",  "write",
                                         "fsync", "rename", "lock", "clock"};
static atomic_long calls[KINDS];

static long number(const char *name)
{
    const char *text = getenv(name);

    return text != NULL ? strtol(text, NULL, 10) : 0;
}

static bool is_below(const char *path)
{
    const char *folders = getenv("FAULT_FOLDERS");

    for (; folders != NULL && *folders != '\0'; folders += strspn(folders, ":")) {
        size_t length = strcspn(folders, ":");
        if (strncmp(path, folders, length) == 0 && (path[length] == '/' || path[length] == '\0')) {
            return true;
        }
        folders += length;
    }
    return false;
}

/* Counts a call; true with errno when this one is to fail. Relative names are not below any
 * folder. */
static bool fails(int kind, const char *path)
{
    const char *wanted = getenv("FAULT_CALL");
    int kept           = errno;

    if (path == NULL || !is_below(path)) {
        return false;
    }
    long count = atomic_fetch_add(&calls[kind], 1) + 1;
    long at    = number("FAULT_AT");
    if (wanted == NULL || strcmp(wanted, names[kind]) != 0 || (at != 0 && at != count)) {
        errno = kept;
        return false;
    }
    if (number("FAULT_SIGNAL") != 0) {
        (void)kill(getpid(), (int)number("FAULT_SIGNAL"));
        errno = kept;
        return false;
    }
    errno = (int)number("FAULT_ERRNO");
    return true;
}

static bool fails_on(int kind, int fd)
{
    char name[64];
    char path[PATH_BYTES];

    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlink, name, path, sizeof path - 1);
    if (fd < 0 || length <= 0) {
        return false;
    }
    path[length] = '\0';
    return fails(kind, path);
}

__attribute__((destructor)) static void write_counts(void)
{
    const char *path = getenv("FAULT_COUNTS");
    char text[512]   = "";
    int length       = 0;
    long all         = 0;

    for (int k = 0; k < KINDS; k++) {
        all += calls[k];
        length += snprintf(text + length, sizeof text - (size_t)length, "%s %ld\n", names[k],
                           atomic_load(&calls[k]));
    }
    if (path != NULL && all > 0) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        (void)!syscall(SYS_write, fd, text, length);
        (void)syscall(SYS_close, fd);
    }
}

#define OPENING(name)                                                                          \
    int name(const char *path, int flags, ...);                                                \
    int name(const char *path, int flags, ...)                                                 \
    {                                                                                          \
        va_list list;                                                                          \
        va_start(list, flags);                                                                 \
        unsigned mode = (flags & O_CREAT) != 0 ? va_arg(list, unsigned) : 0;                   \
        va_end(list);                                                                          \
        return fails(OPEN, path) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode); \
    }
OPENING(open)
OPENING(open64)

#define READING(name)                                                               \
    ssize_t name(int fd, void *bytes, size_t size, off_t at);                       \
    ssize_t name(int fd, void *bytes, size_t size, off_t at)                        \
    {                                                                               \
        return fails_on(READ, fd) ? -1 : syscall(SYS_pread64, fd, bytes, size, at); \
    }
READING(pread)
READING(pread64)

/* How much of a write is made: all, half, or, with -1, nothing. */
static ssize_t writable(int fd, size_t size)
{
    return !fails_on(WRITE, fd) ? (ssize_t)size : errno != 0 ? -1 : (ssize_t)(size + 1) / 2;
}

#define WRITING(name)                                                      \
    ssize_t name(int fd, const void *bytes, size_t size, off_t at);        \
    ssize_t name(int fd, const void *bytes, size_t size, off_t at)         \
    {                                                                      \
        ssize_t part = writable(fd, size);                                 \
        return part < 0 ? -1 : syscall(SYS_pwrite64, fd, bytes, part, at); \
    }
WRITING(pwrite)
WRITING(pwrite64)

#define MAPPING(name)                                                                             \
    void *name(void *at, size_t size, int rights, int flags, int fd, off_t begin);                \
    void *name(void *at, size_t size, int rights, int flags, int fd, off_t begin)                 \
    {                                                                                             \
        return fails_on(MAP, fd) ? MAP_FAILED                                                     \
                                 : (void *)syscall(SYS_mmap, at, size, rights, flags, fd, begin); \
    }
MAPPING(mmap)
MAPPING(mmap64)

ssize_t read(int fd, void *bytes, size_t size)
{
    return fails_on(READ, fd) ? -1 : syscall(SYS_read, fd, bytes, size);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    ssize_t part = writable(fd, size);
    return part < 0 ? -1 : syscall(SYS_write, fd, bytes, part);
}

size_t fwrite(const void *bytes, size_t size, size_t count, FILE *stream)
{
    static size_t (*real)(const void *, size_t, size_t, FILE *);

    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "fwrite");
    }
    return fails_on(WRITE, fileno(stream)) && errno != 0 ? 0 : real(bytes, size, count, stream);
}

int ftruncate(int fd, off_t size)
{
    return fails_on(WRITE, fd) && errno != 0 ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int fsync(int fd)
{
    return fails_on(FSYNC, fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
    return fails(RENAME, to) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int flock(int fd, int operation)
{
    return fails_on(LOCK, fd) ? -1 : (int)syscall(SYS_flock, fd, operation);
}

#define CONTROL(name)                                                                             \
    int name(int fd, int command, ...);                                                           \
    int name(int fd, int command, ...)                                                            \
    {                                                                                             \
        bool locks = command == F_SETLK || command == F_SETLKW || command == F_GETLK ||           \
                     command == F_OFD_SETLK || command == F_OFD_SETLKW || command == F_OFD_GETLK; \
        va_list list;                                                                             \
        va_start(list, command);                                                                  \
        void *argument = va_arg(list, void *);                                                    \
        va_end(list);                                                                             \
        return locks && fails_on(LOCK, fd) ? -1 : (int)syscall(SYS_fcntl, fd, command, argument); \
    }
CONTROL(fcntl)
CONTROL(fcntl64)

int clock_gettime(clockid_t id, struct timespec *now)
{
    const char *wanted = getenv("FAULT_CALL");
    int result         = (int)syscall(SYS_clock_gettime, id, now);

    if (id == CLOCK_REALTIME && wanted != NULL && strcmp(wanted, names[CLOCK]) == 0 &&
        atomic_fetch_add(&calls[CLOCK], 1) + 1 >= number("FAULT_AT")) {
        now->tv_sec += number("FAULT_SECONDS");
    }
    return result;
}

time_t time(time_t *out)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}
