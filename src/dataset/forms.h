// SPDX-License-Identifier: Apache-2.0
/* The forms of a file of rows: how its bytes are cut into records, and how a record is parsed. One
 * file per form; reader.c chooses. */
#pragma once

#include "reader.h"
#include "stream.h"

#include "pb/status.h"

/* More than any row of a text task, and a bound on memory for files of another kind. */
enum { RECORD_BYTES = 64 << 20 };

typedef struct row_form {
    const char *name; /* in words */
    bool is_text;     /* values are texts, there is a header */
    bool is_quoted;   /* fields may be quoted */
    char separator;   /* of fields */
    /* As reader_next; messages have no place. PB_ERR_FORMAT leaves the reader after the bad
     * record. */
    pb_status (*next)(dataset_reader *r, pb_string *out, int64_t *line, bool *has);
    pb_status (*parse)(const dataset_reader *r, const char *text, size_t length, json_t **row);
} row_form;

extern const row_form form_json_lines;
extern const row_form form_json_array;
extern const row_form form_csv;
extern const row_form form_tsv;
extern const row_form form_tsv_quoted;

typedef enum array_state {
    ARRAY_FIRST,  /* after the opening bracket */
    ARRAY_COMMA,  /* after a comma */
    ARRAY_VALUE,  /* after a record */
    ARRAY_CLOSED, /* after the closing bracket */
} array_state;

struct dataset_reader {
    char *path;
    dataset_stream *stream;
    const row_form *form;
    int64_t line;      /* of the next byte, from 1 */
    bool is_over;      /* there is nothing more to read */
    bool is_broken;    /* a failure ended the reading */
    array_state array; /* JSON array */
    char **names;      /* CSV, TSV: [name_count], owned */
    int64_t name_count;
};

/* A record under construction: appended to `out` until it is too long, then only counted. */
typedef struct dataset_record_text {
    pb_string *out;
    size_t start;  /* of the record in *out */
    size_t length; /* bytes */
} dataset_record_text;

dataset_record_text record_begin(pb_string *out);
pb_status record_add(dataset_record_text *record, const char *bytes, size_t size) PB_MUST_USE;
/* PB_ERR_FORMAT when it is too long. */
pb_status record_end(const dataset_record_text *record) PB_MUST_USE;

int64_t count_lines(const char *bytes, size_t size); /* line feeds */

/* Records that are lines, without their line ends. Empty ones, and those of white space alone where
 * that counts as empty, are skipped. */
pb_status lines_next(dataset_reader *r, bool skip_white, pb_string *out, int64_t *line, bool *has);

/* PB_ERR_FORMAT unless the text is UTF-8 without a NUL; `what` names it in messages. */
pb_status text_check(const char *what, const char *text, size_t length) PB_MUST_USE;
pb_status json_row(const char *what, const char *text, size_t length, json_t **row) PB_MUST_USE;

/* Takes the names of the columns from the first record, or from `header`. */
pb_status delimited_open(dataset_reader *r, const pb_config_list *header) PB_MUST_USE;
