// SPDX-License-Identifier: Apache-2.0
/* The contents of a record as data: one table of single numbers, one of texts, and one per list of
 * rows. Writing, reading, freeing, the merged arrays and the digest all walk these tables. */
#pragma once

#include "pb/record.h"

typedef enum record_kind {
    RECORD_I64,
    RECORD_F64,
    RECORD_I8,
    RECORD_TEXT /* char *, owned */
} record_kind;

/* A member of pb_record, or of a row of one of its lists. */
typedef struct record_field {
    const char *name;
    record_kind kind;
    size_t offset;
    const char *units;     /* "1" for pure numbers */
    const char *long_name; /* one sentence for people */
    bool digest;           /* the same for every run of the same cell */
} record_field;

/* The single numbers: RECORD_I64 (-1: unknown) and RECORD_F64 (NaN: unknown). */
extern const record_field record_numbers[];
extern const int record_numbers_count;

/* The single texts. */
extern const record_field record_texts[];
extern const int record_texts_count;

/* A list of rows: `name` is its HDF5 group, the first column is the dimension scale of the others.
 */
typedef struct record_list {
    const char *name;
    const char *long_name;
    const char *signal; /* the column that viewers plot over the first one; NULL: none */
    const record_field *columns;
    int columns_count;
    size_t rows;  /* offset of the pointer to the rows in pb_record */
    size_t count; /* offset of their number */
    size_t row_size;
    bool always; /* read with the single numbers, not only on demand */
    int added;   /* number of last columns, RECORD_F64, that older files may lack: NaN there */
} record_list;

extern const record_list record_lists[];
extern const int record_lists_count;

/* Rows and their number, by the offsets of a list. */
void **record_list_rows(pb_record *record, const record_list *list);
int64_t *record_list_count(pb_record *record, const record_list *list);
const void *record_list_rows_of(const pb_record *record, const record_list *list);
int64_t record_list_count_of(const pb_record *record, const record_list *list);

/* A member by its field; text is never NULL. */
double record_f64(const void *object, const record_field *field);
int64_t record_i64(const void *object, const record_field *field); /* RECORD_I64 and RECORD_I8 */
const char *record_text(const void *object, const record_field *field);
char **record_text_slot(void *object, const record_field *field);
