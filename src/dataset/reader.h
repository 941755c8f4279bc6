// SPDX-License-Identifier: Apache-2.0
/* Files of rows: JSON lines, a JSON array, CSV, TSV; plain or compressed. Records are read one at a
 * time, as texts, through a window of fixed size; any thread may parse a record.
 * configs/dataset/README.md says what is accepted and refused. */
#pragma once

#include "pb/config.h"
#include "pb/string.h"

#include <jansson.h>

typedef struct dataset_reader dataset_reader;

/* The key dataset.format, in the order of its choices. */
typedef enum dataset_format {
    FORMAT_AUTO,       /* by the file's name, then by its first character */
    FORMAT_JSONL,      /* an object per line */
    FORMAT_JSON,       /* by the first character: an array of objects, or an object per line */
    FORMAT_CSV,        /* RFC 4180 */
    FORMAT_TSV,        /* GLUE's: quotes are plain characters */
    FORMAT_TSV_QUOTED, /* RFC 4180 with tabs */
} dataset_format;

/* Opens by content and name: the compression by its first bytes; FORMAT_AUTO: the form by the
 * extension (.jsonl .json .csv .tsv, optionally followed by .gz or .zst), and JSON by the first
 * character, whatever the name ('[' an array, '{' lines). An empty file, UTF-16, and an unusable
 * header line are PB_ERR_FORMAT. `header` names the columns of a CSV or TSV file without a header
 * line (NULL or empty: the first line is the header); PB_ERR_CONFIG when it does not fit. */
pb_status reader_open(const char *path, dataset_format format, const pb_config_list *header,
                      dataset_reader **out) PB_MUST_USE;
void reader_close(dataset_reader *reader); /* accepts NULL */

/* Appends the raw text of the next record to *out; *line is where it begins, from 1; *has is false
 * at the end. Blank lines are not records. PB_ERR_FORMAT: this record is bad, *out is unchanged,
 * and reading can continue; PB_ERR_IO: the file cannot be read further (cut off, damaged). Messages
 * begin with "path:line: ". */
pb_status reader_next(dataset_reader *reader, pb_string *out, int64_t *line, bool *has) PB_MUST_USE;

/* Reads the rest of the file for its hash alone; reader_next then finds the end. */
pb_status reader_finish(dataset_reader *reader) PB_MUST_USE;

/* A record's text → an object, to be freed with json_decref; CSV and TSV give texts by the names of
 * the header. PB_ERR_FORMAT when it is not an object; the message has no place, which the caller
 * prefixes. Needs no lock: threads may call it at the same time on one reader, also during
 * reader_next. */
pb_status reader_parse(const dataset_reader *reader, const char *text, size_t length,
                       json_t **row) PB_MUST_USE;

bool reader_is_text(const dataset_reader *reader);            /* CSV, TSV: all values are texts */
const char *reader_form(const dataset_reader *reader);        /* in words */
const char *reader_compression(const dataset_reader *reader); /* a codec's name, "" without one */
int64_t reader_bytes(const dataset_reader *reader);   /* of the file as stored, read so far */
const char *reader_sha(const dataset_reader *reader); /* of the file as stored, "" before its end */
