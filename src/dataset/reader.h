// SPDX-License-Identifier: Apache-2.0
/* JSON lines: one object per line, read one at a time. */
#pragma once

#include "pb/file.h"
#include "pb/hash.h"

#include <jansson.h>

typedef struct pb_reader pb_reader;

pb_status pb_reader_open(const char *path, pb_reader **out) PB_MUST_USE;
void pb_reader_close(pb_reader *reader); /* accepts NULL */
pb_status pb_reader_next(pb_reader *reader, pb_string *out, int64_t *line, bool *has) PB_MUST_USE;
pb_status pb_reader_parse(const pb_reader *reader, const char *text, size_t length,
                          json_t **row) PB_MUST_USE;
bool pb_reader_is_text(const pb_reader *reader);
int64_t pb_reader_bytes(const pb_reader *reader);
const char *pb_reader_sha(const pb_reader *reader);
