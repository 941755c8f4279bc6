// SPDX-License-Identifier: Apache-2.0
/* The bytes of a file, unpacked, through one window of fixed size; hashed as they are read. */
#pragma once

#include "pb/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct dataset_stream dataset_stream;

/* PB_ERR_NOT_FOUND, PB_ERR_IO for what is not a regular file, PB_ERR_UNSUPPORTED for a compression
 * that this build does not read. */
pb_status stream_open(const char *path, dataset_stream **out) PB_MUST_USE;
void stream_close(dataset_stream *s); /* accepts NULL */

/* The next bytes, as many as are available: none only at the end; the whole window or the whole
 * file the first time. They stay valid until the call after the last of them was consumed.
 * PB_ERR_IO when reading cannot continue; the message does not name the file. */
pb_status stream_peek(dataset_stream *s, const char **bytes, size_t *size) PB_MUST_USE;
void stream_take(dataset_stream *s, size_t size); /* of the available bytes */

/* Reads the rest of the file for its hash; nothing can be peeked at then. */
pb_status stream_finish(dataset_stream *s) PB_MUST_USE;

const char *stream_compression(const dataset_stream *s); /* a codec's name, "" without one */
int64_t stream_bytes(const dataset_stream *s);           /* of the file as stored, read so far */
const char *stream_sha(const dataset_stream *s); /* of the file as stored, "" before its end */
