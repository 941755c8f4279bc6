// SPDX-License-Identifier: Apache-2.0
/* Read-only mappings of files. Reading a page that the system cannot supply, because the file was
 * cut short meanwhile, raises SIGBUS: the handler's message is composed here, using only
 * async-signal-safe calls. */
#include "pb/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

pb_status pb_mapping_open(const char *path, pb_mapping *out)
{
    pb_status status   = PB_OK;
    int fd             = -1;
    struct stat about  = {0};
    pb_mapping mapping = {0};

    PB_TRY(pb_file_open(path, &fd));
    if (fstat(fd, &about) != 0) {
        status = PB_FAIL(PB_ERR_IO, "cannot examine %s: %s", path, strerror(errno));
        goto out_fd;
    }
    if (about.st_size > 0) {
        void *data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED) {
            status = PB_FAIL(PB_ERR_IO, "cannot map %s: %s", path, strerror(errno));
            goto out_fd;
        }
        mapping = (pb_mapping){.data = data, .size = (size_t)about.st_size};
    }
    *out = mapping;
out_fd:
    (void)close(fd);
    return status;
}

void pb_mapping_close(pb_mapping *mapping)
{
    if (mapping->data != NULL) {
        (void)munmap((void *)(uintptr_t)mapping->data, mapping->size);
    }
    *mapping = (pb_mapping){0};
}

void pb_mapping_release(const pb_mapping *mapping)
{
    if (mapping->data != NULL) {
        (void)madvise((void *)(uintptr_t)mapping->data, mapping->size, MADV_DONTNEED);
    }
}

/* The system's list of mappings, a block at a time. */
typedef struct map_reader {
    int fd;
    size_t used, at;
    char block[4096];
} map_reader;

/* The next character, '\0' at the end. */
static char next_char(map_reader *r)
{
    if (r->at == r->used) {
        ssize_t got = read(r->fd, r->block, sizeof r->block);
        r->used     = got > 0 ? (size_t)got : 0;
        r->at       = 0;
    }
    return r->at < r->used ? r->block[r->at++] : '\0';
}

/* A hexadecimal number, and the character after it. */
static uintptr_t next_number(map_reader *r, char *behind)
{
    static const char digits[] = "0123456789abcdef";
    uintptr_t value            = 0;

    for (;;) {
        char c            = next_char(r);
        const char *digit = c != '\0' ? strchr(digits, c) : NULL;
        if (digit == NULL) {
            *behind = c;
            return value;
        }
        value = value << 4 | (uintptr_t)(digit - digits);
    }
}

/* The line "begin-end rights offset device inode   /path" whose range holds `address`: its path, ""
 * where there is none. */
static void find_path(map_reader *r, uintptr_t address, char *path, size_t size)
{
    for (char c = '\n'; c != '\0';) {
        uintptr_t begin = next_number(r, &c);
        uintptr_t end   = next_number(r, &c);
        bool wanted     = begin <= address && address < end;
        size_t length   = 0;
        while (c != '\n' && c != '\0') {
            if (wanted && (length > 0 || c == '/') && length + 1 < size) {
                path[length++] = (unsigned char)c < ' ' || c == '\x7f' ? '?' : c;
            }
            c = next_char(r);
        }
        path[length] = '\0';
        if (wanted) {
            return;
        }
    }
}

static void append(char *text, size_t size, size_t *length, const char *more)
{
    while (*more != '\0' && *length + 1 < size) {
        text[(*length)++] = *more++;
    }
    text[*length] = '\0';
}

size_t pb_mapping_describe_loss(const void *address, char *text, size_t size)
{
    char path[1024] = "";
    map_reader r    = {.fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
    size_t length   = 0;

    if (r.fd < 0) {
        return 0;
    }
    find_path(&r, (uintptr_t)address, path, sizeof path);
    (void)close(r.fd);
    if (path[0] == '\0') {
        return 0;
    }
    append(text, size, &length, "cannot read ");
    append(text, size, &length, path);
    append(text, size, &length,
           " any more: it was truncated while in use, or its disk is failing; restore the file and "
           "run the same command again: finished work is kept");
    return length;
}
