// SPDX-License-Identifier: Apache-2.0
/* The bytes of a file, unpacked, through one window of fixed size; hashed as they are read. */
#pragma once

#include "pb/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct pb_stream pb_stream;

/* PB_ERR_NOT_FOUND, PB_ERR_IO for what is not a regular file, PB_ERR_UNSUPPORTED for a compression
 * that this build does not read. */
pb_status pb_stream_open(const char *path, pb_stream **out) PB_MUST_USE;
void pb_stream_close(pb_stream *s); /* accepts NULL */

/* The next bytes, as many as are available: none only at the end; the whole window or the whole
 * file the first time. They stay valid until the call after the last of them was consumed.
 * PB_ERR_IO when reading cannot continue; the message does not name the file. */
pb_status pb_stream_peek(pb_stream *s, const char **bytes, size_t *size) PB_MUST_USE;
void pb_stream_take(pb_stream *s, size_t size); /* of the available bytes */

/* Reads the rest of the file for its hash; nothing can be peeked at then. */
pb_status pb_stream_finish(pb_stream *s) PB_MUST_USE;

const char *pb_stream_compression(const pb_stream *s); /* a codec's name, "" without one */
int64_t pb_stream_bytes(const pb_stream *s);           /* of the file as stored, read so far */
const char *pb_stream_sha(const pb_stream *s); /* of the file as stored, "" before its end */
