// SPDX-License-Identifier: Apache-2.0
/* Compressions of data files. codec.c knows them by their first bytes; a codec without its library
 * is absent from the build, and its files are refused with the remedy. */
#pragma once

#include "pb/status.h"

#include <stdbool.h>
#include <stddef.h>

/* Where a step reads and writes; it advances the pointers and reduces the sizes (bytes). */
typedef struct codec_room {
    const unsigned char *in;
    size_t in_size;
    unsigned char *out;
    size_t out_size;
} codec_room;

typedef struct dataset_codec {
    const char *name;
    pb_status (*open)(void **state);
    void (*close)(void *state); /* accepts NULL */
    /* Moves bytes until one of the sizes is used up. A file may hold several members in a row, but
     * nothing else. PB_ERR_IO with the reason, without the file's name. */
    pb_status (*step)(void *state, codec_room *room);
    bool (*is_whole)(const void *state); /* everything read so far is whole members */
} dataset_codec;

extern const dataset_codec codec_gzip; /* needs zlib */
extern const dataset_codec codec_zstd; /* needs libzstd */

/* The codec of a file that begins with these bytes, NULL for one that is not compressed.
 * PB_ERR_UNSUPPORTED with the remedy when this build cannot read it. */
pb_status codec_find(const void *bytes, size_t size, const dataset_codec **out) PB_MUST_USE;
