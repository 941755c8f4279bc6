// SPDX-License-Identifier: Apache-2.0
/* The lines of packs, and reading them one after the other. The shards between them are not read.
 */
#include "pack.h"

#include "pb/file.h"
#include "pb/hash.h"
#include "pb/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "peftbench cell "

enum { CHECK = 16, WINDOW = 1 << 16 };

static pb_status check_of(const char *name, int64_t round, int64_t size, char check[PB_HASH_TEXT])
{
    char text[PACK_LINE + 64];
    int length = snprintf(text, sizeof text, "%" PRId64 " %" PRId64 " %s", round, size, name);
    PB_TRY(pb_hash_bytes(text, (size_t)length, check));
    check[CHECK] = '\0';
    return PB_OK;
}

pb_status pack_line(const char *name, int64_t round, int64_t size, pb_string *out)
{
    char check[PB_HASH_TEXT];
    PB_TRY(check_of(name, round, size, check));
    return pb_string_printf(out, MARK "%08" PRId64 " %012" PRId64 " %s %s\n", round, size, check,
                            name);
}

/* The length of the line at the beginning of the text, 0: there is none. `text` ends in a NUL. */
static pb_status parse_line(const char *text, pack_record *record, int64_t *length)
{
    char given[CHECK + 1] = "";
    char check[PB_HASH_TEXT];
    int end = 0;

    *length = 0;
    if (sscanf(text, MARK "%8" SCNd64 " %12" SCNd64 " %16[0-9a-f] %250[!-~]%n", &record->round,
               &record->size, given, record->name, &end) != 4 ||
        text[end] != '\n') {
        return PB_OK;
    }
    PB_TRY(check_of(record->name, record->round, record->size, check));
    *length = strcmp(check, given) == 0 ? end + 1 : 0;
    return PB_OK;
}

static pb_status read_at(int fd, const char *path, int64_t at, size_t most, char *out, size_t *got)
{
    size_t done = 0;
    while (done < most) {
        ssize_t n = pread(fd, out + done, most - done, (off_t)(at + (int64_t)done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return PB_FAIL(PB_ERR_IO, "cannot read %s: %s%s", path, strerror(errno),
                           pb_file_remedy(errno));
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
    }
    *got = done;
    return PB_OK;
}

/* Reads the line at an offset; its length is 0 where there is none. */
static pb_status line_at(int fd, const char *path, int64_t at, pack_record *record, int64_t *length)
{
    char text[PACK_LINE + 1];
    size_t got = 0;
    PB_TRY(read_at(fd, path, at, PACK_LINE, text, &got));
    text[got]    = '\0';
    record->line = at;
    PB_TRY(parse_line(text, record, length));
    record->at = at + *length;
    return PB_OK;
}

/* The next line after damage, `size` where there is none. */
static pb_status find_line(int fd, const char *path, int64_t from, int64_t size, int64_t *out)
{
    const size_t mark = sizeof MARK - 1;
    char *window      = NULL;
    pb_status status  = PB_ALLOC(window, WINDOW);

    *out = size;
    for (int64_t at = from; status == PB_OK && *out == size && at < size;) {
        size_t got = 0;
        PB_TRY_GOTO(status, read_at(fd, path, at, WINDOW, window, &got), done);
        const char *found = memmem(window, got, MARK, mark);
        if (found == NULL) {
            if (got < WINDOW) {
                break;
            }
            at += (int64_t)(got - mark);
            continue;
        }
        pack_record record;
        int64_t length = 0;
        at += found - window;
        PB_TRY_GOTO(status, line_at(fd, path, at, &record, &length), done);
        *out = length > 0 ? at : size;
        at++;
    }
done:
    pb_memory_free(window);
    return status;
}

/* Whether the rest of a file can be the beginning of a line. */
static pb_status begins_line(int fd, const char *path, int64_t at, int64_t size, bool *out)
{
    char text[PACK_LINE];
    size_t got = 0;
    *out       = false;
    if (size - at < PACK_LINE) {
        PB_TRY(read_at(fd, path, at, sizeof text, text, &got));
        *out = memcmp(text, MARK, got < sizeof MARK - 1 ? got : sizeof MARK - 1) == 0 &&
               memchr(text, '\n', got) == NULL;
    }
    return PB_OK;
}

pb_status pack_walk(int fd, const char *path, int64_t from, int64_t after,
                    const pack_visitor *visitor, pack_gap *tail)
{
    struct stat about;
    pack_record record = {.number = after};
    int64_t at         = from;

    if (fstat(fd, &about) != 0) {
        return PB_FAIL(PB_ERR_IO, "cannot examine %s: %s", path, strerror(errno));
    }
    const int64_t size = (int64_t)about.st_size;
    *tail              = (pack_gap){.from = size, .to = size};
    while (at < size) {
        int64_t length = 0;
        bool torn      = false;
        PB_TRY(line_at(fd, path, at, &record, &length));
        if (length > 0 && record.size <= size - record.at) {
            record.number++;
            PB_TRY(visitor->record(visitor->context, &record));
            at = record.at + record.size;
            continue;
        }
        if (length == 0) {
            PB_TRY(begins_line(fd, path, at, size, &torn));
        }
        if (length > 0 || torn) {
            *tail = (pack_gap){.from = at, .to = size, .after = record.number};
            return PB_OK;
        }
        pack_gap gap = {.from = at, .after = record.number};
        PB_TRY(find_line(fd, path, at + 1, size, &gap.to));
        if (visitor->damage != NULL) {
            PB_TRY(visitor->damage(visitor->context, &gap));
        }
        at = gap.to;
    }
    tail->after = record.number;
    return PB_OK;
}
