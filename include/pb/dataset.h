// SPDX-License-Identifier: Apache-2.0
/* Data sets: files → checked rows → samples of a user message and an answer; pb/encoded.h turns
 * them into tokens.
 *
 * A data set is a config group `dataset = {…}`; its builder (the extension point) makes texts from
 * rows. The `template` builder works from the group alone, so most data sets are one file in
 * configs/dataset/. Rows are streamed: at most a few hundred are in memory at a time.
 *
 *     PB_TRY(pb_dataset_open(config, "dataset", protocol, &data, &ds));
 *     PB_TRY_GOTO(status, pb_rows_open(ds, PB_SPLIT_TRAIN, threads, &rows), …);
 *     do { PB_TRY_GOTO(status, pb_rows_next(rows, &examples, &count), …); … } while (count > 0); */
#pragma once

#include "pb/config.h"
#include "pb/hash.h"
#include "pb/protocol.h"
#include "pb/string.h"

typedef struct pb_dataset pb_dataset;

typedef enum pb_split { PB_SPLIT_TRAIN, PB_SPLIT_TEST, PB_SPLIT_COUNT } pb_split;

/* The group `dataset`. Texts in `paper_*` replace theirs under the paper protocol when not empty.
 */
typedef struct pb_dataset_options {
    char *name;
    char *builder; /* a name of the registry */
    char *task;    /* kind of answer: "label", "number", "text", "code" */
    char *metric;  /* a name of the metric registry */
    char *train_file;
    char *test_file;
    int format;             /* of both files, an index into its choices; 0: by name and content */
    pb_config_list header;  /* columns of CSV and TSV files that have no header line */
    pb_config_list id;      /* columns that identify a row, as far as a file has them */
    pb_config_list columns; /* "name:type" or "name=source:type", type string, int, float32, label,
                               strings, strings_text; a final "?" allows null */
    pb_config_list labels;  /* class names in index order */
    pb_config_list paper_labels;
    pb_config_list label_values; /* texts of the label column in class order, empty: 0, 1, 2, … */
    int unlabelled;              /* pb_unlabelled: the answer of a row with label -1 */
    char *instruction;           /* our wording */
    pb_config_list lines;        /* parts of the user message with {column}, empty ones skipped */
    pb_config_list paper_lines;
    bool inputs;                /* the original builds the preceding lines as a column `inputs` */
    char *answer;               /* with {column} */
    char *answers;              /* column with all right answers, in place of `answer`; "": none */
    char *no_answers;           /* the answer of a row with an empty list of answers */
    char *instruction_sha;      /* SHA-256 of the original's training text, at least 10 digits */
    char *instruction_test_sha; /* of the test text; "": the same */
    char *paper_key;            /* entry of the original's dataset_info.json; "": name */
    char *paper_test_key;       /* "": paper_key and "_eval" */
    int64_t max_new_tokens;     /* corrected; see pb_dataset_max_new_tokens */
    int64_t synthetic_rows;     /* builder "synthetic": rows of train; a quarter for test */
    int64_t synthetic_seed;
    pb_config_list differences; /* between the protocols, for readers */
    /* The source of the options, for messages; borrowed while a set is opened, else NULL. */
    const pb_config *config;
    const char *group;
} pb_dataset_options;

typedef enum pb_unlabelled { PB_UNLABELLED_LAST, PB_UNLABELLED_EMPTY } pb_unlabelled;

extern const pb_config_field pb_dataset_fields[];
/* Groups within it, which others read: "typical", see pb/cell_env.h. */
extern const char *const pb_dataset_groups[];

/* The form of a split's file as far as dataset.format and the file's name determine it: "csv",
 * "json" … */
const char *pb_dataset_form(const pb_dataset_options *options, pb_split split);

/* The class names in force under a protocol. */
const pb_config_list *pb_dataset_options_labels(const pb_dataset_options *options,
                                                pb_protocol protocol);

/* The group `data`: which part of a data set a run uses. */
typedef struct pb_data_options {
    int64_t train_rows, test_rows; /* number of rows, from the start of the file; 0: all */
    double validation_share;       /* of the training rows */
    int64_t validation_seed;       /* corrected; the paper takes the run's seed */
    int64_t cutoff_tokens;         /* per row, prompt and answer together */
    double max_bad_share; /* rows that may be bad before the file is refused; they are left out */
    double max_truncated_share; /* rows of a file that may be cut before a run is refused */
    char *peftbench_info;       /* the original's dataset_info.json; "": $PB_PEFTBENCH_INFO */
} pb_data_options;

extern const pb_config_field pb_data_fields[];

/* One sample. Its texts are borrowed until the next call of the function that returned it. */
typedef struct pb_example {
    const char *user;   /* the user message */
    const char *body;   /* the row's own text at its end, after the instruction */
    const char *answer; /* the training target and, in testing, the reference */
    const char *inputs; /* the original's columns of these names; NULL where a set has none */
    const char *targets;
    const char *id;                /* of the row's question; rows without one have their number */
    const char *const *references; /* [reference_count] all right answers, `answer` first */
    int64_t reference_count;
    int64_t row;  /* record in the file, from 0 */
    int64_t line; /* line in the file, from 1 */
} pb_example;

/* Why a row is bad. */
typedef enum pb_row_fault {
    PB_ROW_UNREADABLE, /* no object: not JSON, a key twice, NUL, not UTF-8, too deep, too long */
    PB_ROW_COLUMN,     /* a column is missing or has another type */
    PB_ROW_LABEL,      /* a label outside the set */
    PB_ROW_ANSWER,     /* an answer that the metric cannot read; under corrected only */
    PB_ROW_EMPTY,      /* a text required by the message is empty; bad under corrected only */
    PB_ROW_DUPLICATE,  /* the id of an earlier row; bad under corrected only */
    PB_ROW_FAULT_COUNT
} pb_row_fault;

typedef struct pb_row_counts {
    int64_t rows;  /* read, good or bad */
    int64_t bytes; /* of the file as it is stored; 0 where there is none */
    int64_t
        faults[PB_ROW_FAULT_COUNT];    /* rows of each kind, including those that the paper keeps */
    int64_t first[PB_ROW_FAULT_COUNT]; /* line of the first one, 0: none */
    int64_t bad;                       /* rows left out for a fault */
    int64_t ids;                       /* rows with one of the columns of dataset.id */
    int64_t unlabelled; /* label -1 or an empty list of answers: kept, with another answer */
    int64_t no_answer;  /* null answer: left out of training, an empty answer in testing */
    int64_t overlap;    /* training samples whose text also occurs in the test file */
} pb_row_counts;

/* Appends the faults: "3 with a wrong column, first in line 7; 1 with an empty text, …". */
pb_status pb_row_counts_describe(const pb_row_counts *counts, pb_string *out) PB_MUST_USE;

/* A sample as a builder makes it. */
typedef struct pb_row_text {
    pb_string user, answer;
    size_t body;     /* where the row's own text begins in `user`, after the instruction */
    bool has_inputs; /* that text is what the original calls inputs, the answer its targets */
    bool has_answer;
    bool unlabelled;
    const char *empty;       /* name of a column that must not be empty but is, or NULL */
    pb_string references;    /* right answers beside `answer`, each with its NUL */
    int64_t reference_count; /* of them */
} pb_row_text;

/* The samples of a row; emptied and used again, row after row. */
typedef struct pb_row_texts {
    pb_row_text *items;
    int64_t count, capacity;
} pb_row_texts;

/* The next sample, empty. */
pb_status pb_row_texts_add(pb_row_texts *texts, pb_row_text **out) PB_MUST_USE;
void pb_row_texts_empty(pb_row_texts *texts);
void pb_row_texts_clear(pb_row_texts *texts); /* frees; accepts a zeroed one */

typedef struct pb_row_builder pb_row_builder; /* a builder's own prepared state */
struct json_t;

typedef struct pb_dataset_builder {
    const char *name;
    /* required: checks the options and prepares for a split. `instruction` is borrowed for the
     * object's life. */
    pb_status (*open)(const pb_dataset_options *options, pb_protocol protocol, pb_split split,
                      const char *instruction, pb_row_builder **out);
    void (*close)(pb_row_builder *builder); /* accepts NULL */
    /* one of the two: the samples of a row of a file, by any thread; PB_ERR_FORMAT (a column) or
     * PB_ERR_NOT_FOUND (a label) when it is bad */
    pb_status (*build)(const pb_row_builder *builder, const struct json_t *row, pb_row_texts *out);
    /* or: synthetic row `index` without a file; *done when there is none */
    pb_status (*generate)(const pb_row_builder *builder, int64_t index, pb_row_texts *out,
                          bool *done);
    /* optional: the columns that dataset.columns must declare, "name:type", NULL-terminated */
    const char *const *columns;
} pb_dataset_builder;

const pb_dataset_builder *const *pb_dataset_registry(void); /* NULL-terminated */
/* Unknown: an error that names the nearest. */
pb_status pb_dataset_find(const char *name, const pb_dataset_builder **out) PB_MUST_USE;

/* The compressions that this build reads, NULL-terminated. */
const char *const *pb_dataset_compressions(void);

/* Reads `group` of the configuration and prepares the builder for both splits. No file of rows is
 * opened. */
pb_status pb_dataset_open(const pb_config *config, const char *group, pb_protocol protocol,
                          const pb_data_options *data, pb_dataset **out) PB_MUST_USE;
/* The same from a group that was read before; it is taken over and *options is zeroed, also on
 * failure. */
pb_status pb_dataset_open_take(pb_dataset_options *options, pb_protocol protocol,
                               const pb_data_options *data, pb_dataset **out) PB_MUST_USE;
void pb_dataset_close(pb_dataset *ds); /* accepts NULL */

/* PB_ERR_FORMAT when no prediction could be right against this answer (NULL: the row has none).
 * Called by any thread. */
typedef pb_status pb_answer_check(const pb_dataset *ds, const char *answer);

/* Makes a row whose answer fails the check a bad one, under the corrected protocol. */
void pb_dataset_check_answers(pb_dataset *ds, pb_answer_check *check);

const pb_dataset_options *pb_dataset_get_options(const pb_dataset *ds);
pb_protocol pb_dataset_protocol(const pb_dataset *ds);
/* The class names in force, count 0 for a task without labels. */
const pb_config_list *pb_dataset_labels(const pb_dataset *ds);
int64_t pb_dataset_max_new_tokens(const pb_dataset *ds); /* paper: 1024 */

/* The samples of one row of hub columns, unchanged, with all faults that can be kept; PB_ERR_FORMAT
 * (a column) or PB_ERR_NOT_FOUND (a label) when there are none. */
pb_status pb_dataset_build(const pb_dataset *ds, pb_split split, const struct json_t *row,
                           pb_row_texts *out) PB_MUST_USE;

/* The samples of a split in file order, a few hundred rows at a time, built by several threads. */
typedef struct pb_rows pb_rows;

pb_status pb_rows_open(const pb_dataset *ds, pb_split split, int threads,
                       pb_rows **out) PB_MUST_USE;
/* The next samples; *count 0 at the end. Bad rows are left out and counted; if at the end they
 * exceed data.max_bad_share, the error gives the counts of each kind, the first rows, and the first
 * message with file:line, column and remedy. */
pb_status pb_rows_next(pb_rows *rows, const pb_example **examples, int64_t *count) PB_MUST_USE;
pb_row_counts pb_rows_counts(const pb_rows *rows); /* complete at the end */
/* Warns of rows that were left out, kept with a fault, unlabelled, or in both files. */
void pb_row_counts_warn(const pb_dataset *ds, pb_split split, const pb_row_counts *counts);

/* The source of the rows; texts are borrowed, "" where rows are synthetic. */
typedef struct pb_rows_file {
    const char *path, *form, *compression; /* "JSON lines"; "gzip" or "" */
    int64_t bytes;                         /* as stored, read so far */
} pb_rows_file;

pb_rows_file pb_rows_get_file(const pb_rows *rows);
/* SHA-256 of the file as it was read (of the texts where there is none), 64 hex digits; at the end.
 */
const char *pb_rows_sha(const pb_rows *rows);
void pb_rows_close(pb_rows *rows); /* accepts NULL */
