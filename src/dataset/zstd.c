// SPDX-License-Identifier: Apache-2.0
/* Zstandard by libzstd: frames in a row. A frame's window may take 128 MiB, the library's own
 * limit; larger ones (zstd --long=28 and more) are refused. The only home of zstd.h. */
#include "codec.h"

#include "pb/memory.h"

#include <zstd.h>
#include <zstd_errors.h>

#include <stdint.h>

typedef struct zstd {
    ZSTD_DStream *stream;
    size_t accounted; /* bytes of the library's that are accounted */
    bool is_whole;
    bool had_frame;
    bool at_start; /* of a frame that has produced nothing yet */
} zstd;

static void account(zstd *z)
{
    size_t now = ZSTD_sizeof_DStream(z->stream);

    pb_memory_account((int64_t)now - (int64_t)z->accounted);
    z->accounted = now;
}

static pb_status zstd_open(void **state)
{
    zstd *z = NULL;

    PB_TRY(PB_ALLOC(z, 1));
    z->stream = ZSTD_createDStream();
    if (z->stream == NULL) {
        pb_memory_free(z);
        return PB_FAIL(PB_ERR_MEMORY, "no memory for a zstd stream");
    }
    account(z);
    *state = z;
    return PB_OK;
}

static void zstd_close(void *state)
{
    zstd *z = state;

    if (z != NULL) {
        pb_memory_account(-(int64_t)z->accounted);
        (void)ZSTD_freeDStream(z->stream);
        pb_memory_free(z);
    }
}

static pb_status fail(const zstd *z, size_t code)
{
    if (z->had_frame && z->at_start && ZSTD_getErrorCode(code) == ZSTD_error_prefix_unknown) {
        return PB_FAIL(PB_ERR_IO, "bytes that are not zstd follow the zstd data");
    }
    if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation) {
        return PB_FAIL(PB_ERR_MEMORY, "no memory for zstd's window");
    }
    return PB_FAIL(PB_ERR_IO, "its zstd data cannot be unpacked: %s", ZSTD_getErrorName(code));
}

static pb_status zstd_step(void *state, codec_room *room)
{
    zstd *z = state;

    while (room->out_size > 0 && (room->in_size > 0 || !z->is_whole)) {
        ZSTD_inBuffer in   = {.src = room->in, .size = room->in_size};
        ZSTD_outBuffer out = {.dst = room->out, .size = room->out_size};
        z->at_start        = z->at_start || z->is_whole;
        size_t hint        = ZSTD_decompressStream(z->stream, &out, &in);
        if (ZSTD_isError(hint)) {
            return fail(z, hint);
        }
        room->in += in.pos;
        room->in_size -= in.pos;
        room->out += out.pos;
        room->out_size -= out.pos;
        z->is_whole = hint == 0;
        z->had_frame |= z->is_whole;
        z->at_start = z->at_start && out.pos == 0;
        if (in.pos == 0 && out.pos == 0) {
            break;
        }
    }
    account(z);
    return PB_OK;
}

static bool zstd_is_whole(const void *state)
{
    return ((const zstd *)state)->is_whole;
}

const dataset_codec codec_zstd = {
    .name     = "zstd",
    .open     = zstd_open,
    .close    = zstd_close,
    .step     = zstd_step,
    .is_whole = zstd_is_whole,
};
