// SPDX-License-Identifier: Apache-2.0
/* Sealing and checking. Shards of earlier versions have no user block: their checksum is a line
 * behind what HDF5 reads. */
#include "seal.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HDF5_SIGNATURE "\x89HDF\r\n\x1a\n"
#define SIGNATURE_SIZE (sizeof HDF5_SIGNATURE - 1)

#define EARLIER_MARK  "\nSHA-256 "
#define EARLIER_BYTES (sizeof EARLIER_MARK - 1 + PB_HASH_TEXT) /* mark, digits, line end */

static const char *const kinds[] = {"shard", "results", NULL};

/* The whole user block, so that a change of any of its bytes shows. */
static void compose(const char *kind, const char *hash, char block[SEAL_BYTES])
{
    memset(block, ' ', SEAL_BYTES);
    int length =
        snprintf(block, SEAL_BYTES, "peftbench %s, SHA-256 of all bytes after the first %zu: %s\n",
                 kind, SEAL_BYTES, hash);
    block[length]         = ' ';
    block[SEAL_BYTES - 1] = '\n';
}

pb_status seal_bytes(const char *kind, char *bytes, size_t size)
{
    char hash[PB_HASH_TEXT];

    PB_TRY(pb_hash_bytes(bytes + SEAL_BYTES, size - SEAL_BYTES, hash));
    compose(kind, hash, bytes);
    return PB_OK;
}

static pb_status hash_rest(int fd, const char *path, char hash[PB_HASH_TEXT])
{
    const size_t step = (size_t)1 << 20;
    off_t at          = (off_t)SEAL_BYTES;
    char *chunk       = NULL;
    pb_hash *h        = NULL;
    ssize_t got       = 1;
    pb_status status;

    PB_TRY(PB_ALLOC(chunk, step));
    PB_TRY_GOTO(status, pb_hash_create(&h), out);
    while (got != 0) {
        PB_TRY_GOTO(status, pb_stop_check(), out);
        got = pread(fd, chunk, step, at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            status = PB_FAIL(PB_ERR_IO, "cannot read %s: %s%s", path, strerror(errno),
                             pb_file_remedy(errno));
            goto out;
        }
        PB_TRY_GOTO(status, pb_hash_update(h, chunk, (size_t)got), out);
        at += got;
    }
    PB_TRY_GOTO(status, pb_hash_finish(h, hash), out);
out:
    pb_hash_destroy(h);
    pb_memory_free(chunk);
    return status;
}

pb_status seal_file(const char *kind, const char *path)
{
    char block[SEAL_BYTES];
    char hash[PB_HASH_TEXT];
    ssize_t written;
    pb_status status;

    int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return PB_FAIL(PB_ERR_IO, "cannot open %s: %s%s", path, strerror(errno),
                       pb_file_remedy(errno));
    }
    PB_TRY_GOTO(status, hash_rest(fd, path, hash), out);
    compose(kind, hash, block);
    do {
        written = pwrite(fd, block, SEAL_BYTES, 0);
    } while (written < 0 && errno == EINTR);
    if (written != (ssize_t)SEAL_BYTES) {
        status = PB_FAIL(PB_ERR_IO, "cannot write %s: %s%s", path, strerror(errno),
                         pb_file_remedy(errno));
    }
out:
    (void)close(fd);
    return status;
}

static bool begins_with(const char *bytes, size_t size, const char *text, size_t length)
{
    return size >= length && memcmp(bytes, text, length) == 0;
}

/* In the superblock of the versions 0 and 1, at these offsets. */
void seal_clear_open_mark(char *bytes, size_t size)
{
    enum { VERSION = 8, MARK = 20, MARK_BYTES = 4 };
    bool unsealed = begins_with(bytes, size, HDF5_SIGNATURE, SIGNATURE_SIZE);
    size_t at     = unsealed ? 0 : SEAL_BYTES;

    if (size > at + MARK + MARK_BYTES &&
        begins_with(bytes + at, size - at, HDF5_SIGNATURE, SIGNATURE_SIZE) &&
        (bytes[at + VERSION] == 0 || bytes[at + VERSION] == 1)) {
        memset(bytes + at + MARK, 0, MARK_BYTES);
    }
}

/* Whether the user block is one of the two that belong to the bytes behind it. */
static pb_status check_block(const char *bytes, size_t size, seal *out)
{
    char hash[PB_HASH_TEXT];
    char expected[SEAL_BYTES];

    PB_TRY(pb_hash_bytes(bytes + SEAL_BYTES, size - SEAL_BYTES, hash));
    for (int k = 0; kinds[k] != NULL; k++) {
        compose(kinds[k], hash, expected);
        if (memcmp(bytes, expected, SEAL_BYTES) == 0) {
            out->state = SEAL_WHOLE;
            memcpy(out->hash, hash, sizeof hash);
        }
    }
    return PB_OK;
}

static pb_status check_earlier(const char *bytes, size_t size, seal *out)
{
    const char *digits = bytes + size - EARLIER_BYTES + strlen(EARLIER_MARK);
    char hash[PB_HASH_TEXT];

    out->is_shard = true;
    PB_TRY(pb_hash_bytes(bytes, size - EARLIER_BYTES, hash));
    if (memcmp(digits, hash, PB_HASH_TEXT - 1) == 0) {
        out->state = SEAL_WHOLE;
        memcpy(out->hash, hash, sizeof hash);
    }
    return PB_OK;
}

pb_status seal_check(const char *bytes, size_t size, seal *out)
{
    static const char shard[] = "peftbench shard,";

    *out =
        (seal){.state = SEAL_BROKEN, .is_shard = begins_with(bytes, size, shard, sizeof shard - 1)};
    if (!begins_with(bytes, size, HDF5_SIGNATURE, SIGNATURE_SIZE)) {
        return size > SEAL_BYTES ? check_block(bytes, size, out) : PB_OK;
    }
    if (size > EARLIER_BYTES &&
        memcmp(bytes + size - EARLIER_BYTES, EARLIER_MARK, sizeof EARLIER_MARK - 1) == 0) {
        return check_earlier(bytes, size, out);
    }
    out->state = SEAL_NONE;
    return PB_OK;
}
