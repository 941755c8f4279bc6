// SPDX-License-Identifier: Apache-2.0
/* JSON lines: one object per line, read one at a time. */
#pragma once

#include "pb/file.h"
#include "pb/hash.h"

#include <jansson.h>

typedef struct pb_reader {
    const char *path; /* borrowed */
    pb_mapping mapping;
    size_t offset;
    int64_t line; /* of the row last read, from 1 */
    char sha[PB_HASH_TEXT];
} pb_reader;

/* Maps and hashes the file. A directory, an unreadable and an empty file are errors. */
pb_status pb_reader_open(const char *path, pb_reader *out) PB_MUST_USE;
void pb_reader_close(pb_reader *reader); /* accepts a zeroed one */

/* The next row, NULL at the end of the file; free with json_decref. Lines of white space are no
 * rows. PB_ERR_FORMAT for a line that is no JSON object, after which reading can go on. */
pb_status pb_reader_next(pb_reader *reader, json_t **row) PB_MUST_USE;
