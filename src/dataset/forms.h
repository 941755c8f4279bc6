// SPDX-License-Identifier: Apache-2.0
/* The forms of a file of rows: how its bytes are cut into records, and how a record is parsed. One
 * file per form; reader.c chooses. */
#pragma once

#include "reader.h"
#include "stream.h"

#include "pb/status.h"

/* More than any row of a text task, and a bound on memory for files of another kind. */
enum { PB_RECORD_BYTES = 64 << 20 };

typedef struct pb_row_form {
    const char *name; /* in words */
    bool is_text;     /* values are texts, there is a header */
    bool is_quoted;   /* fields may be quoted */
    char separator;   /* of fields */
    /* As pb_reader_next; messages have no place. PB_ERR_FORMAT leaves the reader after the bad
     * record. */
    pb_status (*next)(pb_reader *r, pb_string *out, int64_t *line, bool *has);
    pb_status (*parse)(const pb_reader *r, const char *text, size_t length, json_t **row);
} pb_row_form;

extern const pb_row_form pb_form_json_lines;
extern const pb_row_form pb_form_json_array;
extern const pb_row_form pb_form_csv;
extern const pb_row_form pb_form_tsv;
extern const pb_row_form pb_form_tsv_quoted;

typedef enum pb_array_state {
    PB_ARRAY_FIRST,  /* after the opening bracket */
    PB_ARRAY_COMMA,  /* after a comma */
    PB_ARRAY_VALUE,  /* after a record */
    PB_ARRAY_CLOSED, /* after the closing bracket */
} pb_array_state;

struct pb_reader {
    char *path;
    pb_stream *stream;
    const pb_row_form *form;
    int64_t line;         /* of the next byte, from 1 */
    bool is_over;         /* there is nothing more to read */
    bool is_broken;       /* a failure ended the reading */
    pb_array_state array; /* JSON array */
    char **names;         /* CSV, TSV: [name_count], owned */
    int64_t name_count;
};

/* A record under construction: appended to `out` until it is too long, then only counted. */
typedef struct pb_record_text {
    pb_string *out;
    size_t start;  /* of the record in *out */
    size_t length; /* bytes */
} pb_record_text;

pb_record_text pb_record_begin(pb_string *out);
pb_status pb_record_add(pb_record_text *record, const char *bytes, size_t size) PB_MUST_USE;
/* PB_ERR_FORMAT when it is too long. */
pb_status pb_record_end(const pb_record_text *record) PB_MUST_USE;

int64_t pb_count_lines(const char *bytes, size_t size); /* line feeds */

/* Records that are lines, without their line ends. Empty ones, and those of white space alone where
 * that counts as empty, are skipped. */
pb_status pb_lines_next(pb_reader *r, bool skip_white, pb_string *out, int64_t *line, bool *has);

/* PB_ERR_FORMAT unless the text is UTF-8 without a NUL; `what` names it in messages. */
pb_status pb_text_check(const char *what, const char *text, size_t length) PB_MUST_USE;
pb_status pb_json_row(const char *what, const char *text, size_t length, json_t **row) PB_MUST_USE;

/* Takes the names of the columns from the first record, or from `header`. */
pb_status pb_delimited_open(pb_reader *r, const pb_config_list *header) PB_MUST_USE;
