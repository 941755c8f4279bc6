// SPDX-License-Identifier: Apache-2.0
/* gzip by zlib: members in a row, each with its checksum. The only home of zlib.h. */
#include "codec.h"

#include "pb/memory.h"

#include <zlib.h>

#include <limits.h>
#include <stdint.h>

/* The largest window, and a gzip header instead of zlib's. */
enum { WINDOW_BITS = 15 + 16 };

typedef struct gzip {
    z_stream z;
    bool is_whole;
    bool had_member;
} gzip;

static voidpf allocate(voidpf unused, uInt count, uInt size)
{
    (void)unused;
    return pb_memory_new(count, size);
}

static void release(voidpf unused, voidpf block)
{
    (void)unused;
    pb_memory_free(block);
}

static pb_status gzip_open(void **state)
{
    gzip *g = NULL;

    PB_TRY(PB_ALLOC(g, 1));
    g->z.zalloc = allocate;
    g->z.zfree  = release;
    int code    = inflateInit2(&g->z, WINDOW_BITS);
    if (code != Z_OK) {
        pb_memory_free(g);
        return code == Z_MEM_ERROR
                   ? PB_ERR_MEMORY
                   : PB_FAIL(PB_ERR_LIBRARY, "inflateInit2 failed: %s", zError(code));
    }
    *state = g;
    return PB_OK;
}

static void gzip_close(void *state)
{
    gzip *g = state;

    if (g != NULL) {
        (void)inflateEnd(&g->z);
        pb_memory_free(g);
    }
}

static uInt as_uint(size_t size)
{
    return size < UINT_MAX ? (uInt)size : UINT_MAX;
}

static pb_status fail(const gzip *g, int code)
{
    /* Bytes after a member that do not begin another. */
    if (g->had_member && g->z.total_out == 0 && code == Z_DATA_ERROR) {
        return PB_FAIL(PB_ERR_IO, "bytes that are not gzip follow the gzip data");
    }
    return PB_FAIL(PB_ERR_IO, "its gzip data are damaged: %s",
                   g->z.msg != NULL ? g->z.msg : zError(code));
}

static pb_status gzip_step(void *state, codec_room *room)
{
    gzip *g = state;

    while (room->out_size > 0) {
        if (g->is_whole && room->in_size == 0) {
            return PB_OK;
        }
        if (g->is_whole) {
            (void)inflateReset(&g->z);
            g->is_whole = false;
        }
        uInt in_size    = as_uint(room->in_size);
        uInt out_size   = as_uint(room->out_size);
        g->z.next_in    = (z_const Bytef *)(uintptr_t)room->in;
        g->z.avail_in   = in_size;
        g->z.next_out   = room->out;
        g->z.avail_out  = out_size;
        int code        = inflate(&g->z, Z_NO_FLUSH);
        size_t consumed = in_size - g->z.avail_in;
        size_t produced = out_size - g->z.avail_out;
        room->in += consumed;
        room->in_size -= consumed;
        room->out += produced;
        room->out_size -= produced;
        if (code == Z_STREAM_END) {
            g->is_whole   = true;
            g->had_member = true;
        } else if (code == Z_MEM_ERROR) {
            return PB_FAIL(PB_ERR_MEMORY, "no memory for gzip's window");
        } else if (code != Z_OK && code != Z_BUF_ERROR) {
            return fail(g, code);
        } else if (consumed == 0 && produced == 0) {
            return PB_OK;
        }
    }
    return PB_OK;
}

static bool gzip_is_whole(const void *state)
{
    return ((const gzip *)state)->is_whole;
}

const dataset_codec codec_gzip = {
    .name     = "gzip",
    .open     = gzip_open,
    .close    = gzip_close,
    .step     = gzip_step,
    .is_whole = gzip_is_whole,
};
