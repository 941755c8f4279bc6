// SPDX-License-Identifier: Apache-2.0
/* Streams: file → raw block → (codec) → window. The window of an uncompressed file is its raw
 * block. Mapping the file would be as fast, but its pages would count as the process's memory. */
#include "stream.h"
#include "codec.h"

#include "pb/file.h"
#include "pb/hash.h"
#include "pb/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK_BYTES = 1 << 20, SMALLEST_BYTES = 4096 };

typedef struct block {
    unsigned char *data;
    size_t capacity;   /* bytes */
    size_t start, end; /* what is not consumed yet */
} block;

struct dataset_stream {
    int fd;
    pb_hash *hash;
    char sha[PB_HASH_TEXT];
    int64_t bytes;
    bool at_end; /* of the file */
    block raw;
    const dataset_codec *codec; /* NULL: not compressed */
    void *state;                /* the codec's */
    block unpacked;
};

/* Refills an exhausted block from the file. */
static pb_status read_block(dataset_stream *s)
{
    block *raw = &s->raw;

    raw->start = 0;
    raw->end   = 0;
    while (raw->end < raw->capacity && !s->at_end) {
        ssize_t got = read(s->fd, raw->data + raw->end, raw->capacity - raw->end);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return PB_FAIL(PB_ERR_IO, "cannot be read further: %s%s", strerror(errno),
                           pb_file_remedy(errno));
        }
        s->at_end = got == 0;
        raw->end += (size_t)got;
    }
    s->bytes += (int64_t)raw->end;
    PB_TRY(pb_hash_update(s->hash, raw->data, raw->end));
    if (s->at_end && *s->sha == '\0') {
        PB_TRY(pb_hash_finish(s->hash, s->sha));
    }
    return PB_OK;
}

/* Refills the window of a compressed file. */
static pb_status unpack_block(dataset_stream *s)
{
    block *window = &s->unpacked;

    window->start = 0;
    window->end   = 0;
    while (window->end < window->capacity) {
        if (s->raw.start == s->raw.end && !s->at_end) {
            PB_TRY(read_block(s));
        }
        codec_room room = {.in       = s->raw.data + s->raw.start,
                           .in_size  = s->raw.end - s->raw.start,
                           .out      = window->data + window->end,
                           .out_size = window->capacity - window->end};
        size_t before   = room.in_size + room.out_size;
        PB_TRY(s->codec->step(s->state, &room));
        s->raw.start = s->raw.end - room.in_size;
        window->end  = window->capacity - room.out_size;
        bool is_over = s->at_end && s->raw.start == s->raw.end;
        if (is_over && s->codec->is_whole(s->state)) {
            break;
        }
        if (is_over && room.in_size + room.out_size == before) {
            return PB_FAIL(PB_ERR_IO,
                           "the file ends inside its %s data; it was cut off: download it again",
                           s->codec->name);
        }
    }
    return PB_OK;
}

/* Reads the first block, which shows the compression. */
static pb_status open_codec(dataset_stream *s)
{
    PB_TRY(read_block(s));
    PB_TRY(codec_find(s->raw.data, s->raw.end, &s->codec));
    if (s->codec == NULL) {
        return PB_OK;
    }
    s->unpacked.capacity = BLOCK_BYTES;
    PB_TRY(PB_ALLOC(s->unpacked.data, s->unpacked.capacity));
    return s->codec->open(&s->state);
}

/* No more than a small file needs; one more byte detects its end. */
static size_t block_capacity(int fd)
{
    struct stat about = {0};

    if (fstat(fd, &about) != 0 || about.st_size >= BLOCK_BYTES) {
        return BLOCK_BYTES;
    }
    return about.st_size < SMALLEST_BYTES ? SMALLEST_BYTES : (size_t)about.st_size + 1;
}

pb_status stream_open(const char *path, dataset_stream **out)
{
    pb_status status;
    dataset_stream *s = NULL;

    PB_TRY(PB_ALLOC(s, 1));
    s->fd = -1;
    PB_TRY_GOTO(status, pb_file_open(path, &s->fd), err_stream);
    s->raw.capacity = block_capacity(s->fd);
    PB_TRY_GOTO(status, PB_ALLOC(s->raw.data, s->raw.capacity), err_stream);
    PB_TRY_GOTO(status, pb_hash_create(&s->hash), err_stream);
    PB_TRY_GOTO(status, open_codec(s), err_path);
    *out = s;
    return PB_OK;

err_path:
    pb_error_prefix(status, "%s", path);
err_stream:
    stream_close(s);
    return status;
}

void stream_close(dataset_stream *s)
{
    if (s == NULL) {
        return;
    }
    if (s->codec != NULL) {
        s->codec->close(s->state);
    }
    pb_hash_destroy(s->hash);
    pb_memory_free(s->raw.data);
    pb_memory_free(s->unpacked.data);
    if (s->fd >= 0) {
        (void)close(s->fd);
    }
    pb_memory_free(s);
}

pb_status stream_peek(dataset_stream *s, const char **bytes, size_t *size)
{
    block *window = s->codec != NULL ? &s->unpacked : &s->raw;

    if (window->start == window->end && s->codec != NULL) {
        PB_TRY(unpack_block(s));
    } else if (window->start == window->end && !s->at_end) {
        PB_TRY(read_block(s));
    }
    *bytes = (const char *)window->data + window->start;
    *size  = window->end - window->start;
    return PB_OK;
}

void stream_take(dataset_stream *s, size_t size)
{
    block *window = s->codec != NULL ? &s->unpacked : &s->raw;

    PB_ASSERT(size <= window->end - window->start);
    window->start += size;
}

pb_status stream_finish(dataset_stream *s)
{
    while (!s->at_end) {
        PB_TRY(read_block(s));
    }
    s->raw.start = s->raw.end;
    return PB_OK;
}

const char *stream_compression(const dataset_stream *s)
{
    return s->codec != NULL ? s->codec->name : "";
}

int64_t stream_bytes(const dataset_stream *s)
{
    return s->bytes;
}

const char *stream_sha(const dataset_stream *s)
{
    return s->sha;
}
