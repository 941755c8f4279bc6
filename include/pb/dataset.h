// SPDX-License-Identifier: Apache-2.0
/* Data sets: files of rows → checked rows → user message and answer → splits and token rows.
 *
 * A data set is a config group `dataset = {…}`; its builder (the extension point) makes texts from
 * rows. The `template` builder works from the group alone, so most data sets are one file in
 * configs/dataset/. A dataset owns its texts; an encoded set owns its tokens.
 *
 *     PB_TRY(pb_dataset_open(config, "dataset", protocol, &data, &ds));
 *     PB_TRY(pb_dataset_encode(ds, PB_SPLIT_TRAIN, template, tokenizer, data.cutoff_tokens, &set));
 */
#pragma once

#include "pb/batch.h"
#include "pb/config.h"
#include "pb/hash.h"
#include "pb/protocol.h"
#include "pb/template.h"

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
    pb_config_list columns; /* "name:type" or "name=source:type", type string, int, float32, label,
                               strings; "?" behind it allows null */
    pb_config_list labels;  /* class names in index order */
    pb_config_list paper_labels;
    pb_config_list label_values; /* texts of the label column in class order, empty: 0, 1, 2, … */
    int unlabelled;              /* pb_unlabelled: the answer of a row with label -1 */
    char *instruction;           /* our wording */
    pb_config_list lines;        /* parts of the user message with {column}, empty ones skipped */
    pb_config_list paper_lines;
    char *answer;               /* with {column} */
    char *instruction_sha;      /* SHA-256 of the original's training text, at least 10 digits */
    char *instruction_test_sha; /* of the test text; "": the same */
    char *paper_key;            /* entry of the original's dataset_info.json; "": name */
    char *paper_test_key;       /* "": paper_key and "_eval" */
    int64_t max_new_tokens;     /* corrected; see pb_dataset_max_new_tokens */
    int64_t synthetic_rows;     /* builder "synthetic": rows of train; a quarter for test */
    int64_t synthetic_seed;
    /* What the options were read from, for messages; borrowed while a set is opened, else NULL. */
    const pb_config *config;
    const char *group;
} pb_dataset_options;

typedef enum pb_unlabelled { PB_UNLABELLED_LAST, PB_UNLABELLED_EMPTY } pb_unlabelled;

extern const pb_config_field pb_dataset_fields[];

/* The group `data`: what a run takes of a data set. */
typedef struct pb_data_options {
    int64_t train_rows, test_rows; /* the first so many rows in file order, 0: all */
    double validation_share;       /* of the training rows */
    int64_t validation_seed;       /* corrected; the paper takes the run's seed */
    int64_t cutoff_tokens;         /* per row, prompt and answer together */
    double max_bad_share; /* rows that may be bad before the file is refused; they are left out */
    char *peftbench_info; /* the original's dataset_info.json; "": $PB_PEFTBENCH_INFO */
} pb_data_options;

extern const pb_config_field pb_data_fields[];

/* One sample; texts are borrowed from the dataset. */
typedef struct pb_example {
    const char *user;   /* the user message */
    const char *answer; /* what is trained and, in testing, the reference */
    int64_t row;        /* record in the file, from 0 */
    int64_t line;       /* line in the file, from 1 */
} pb_example;

/* Why rows of a file are not examples. */
typedef struct pb_row_counts {
    int64_t rows; /* read, good or bad */
    int64_t
        bad_json; /* no row: broken JSON or quotes, a number of fields, NUL, not UTF-8, too long */
    int64_t bad_column; /* a column is missing or has another type */
    int64_t bad_label;  /* a label outside of the set */
    int64_t unlabelled; /* label -1: kept, with the answer that `unlabelled` says */
    int64_t no_answer;  /* null answer: left out of training, an empty answer in testing */
} pb_row_counts;

/* One row on its way to an example; what a builder fills. */
typedef struct pb_row_text {
    pb_string user, answer;
    bool has_answer;
    bool unlabelled;
} pb_row_text;

typedef struct pb_row_builder pb_row_builder; /* a builder's own prepared state */
struct json_t;

typedef struct pb_dataset_builder {
    const char *name;
    /* required: checks the options and prepares. `instruction` is borrowed for the object's life.
     */
    pb_status (*open)(const pb_dataset_options *options, pb_protocol protocol,
                      const char *instruction, pb_row_builder **out);
    void (*close)(pb_row_builder *builder); /* accepts NULL */
    /* one of the two: a row of a file; PB_ERR_FORMAT (a column) or PB_ERR_NOT_FOUND (a label) when
     * it is bad */
    pb_status (*build)(pb_row_builder *builder, const struct json_t *row, pb_row_text *out);
    /* or: made-up row `index` of a split with no file; *done when there is none */
    pb_status (*generate)(pb_row_builder *builder, pb_split split, int64_t index, pb_row_text *out,
                          bool *done);
} pb_dataset_builder;

const pb_dataset_builder *const *pb_dataset_registry(void); /* NULL-terminated */

/* The compressions of files that this build reads, NULL-terminated. */
const char *const *pb_dataset_compressions(void);

/* Reads `group` of the configuration, both files, and builds all examples. Any bad row is an error
 * with file:line, column and remedy, unless `data` allows a share of them. */
pb_status pb_dataset_open(const pb_config *config, const char *group, pb_protocol protocol,
                          const pb_data_options *data, pb_dataset **out) PB_MUST_USE;
/* The same from a group that was read before; it is taken over and *options is zeroed, also on
 * failure. */
pb_status pb_dataset_open_take(pb_dataset_options *options, pb_protocol protocol,
                               const pb_data_options *data, pb_dataset **out) PB_MUST_USE;
void pb_dataset_close(pb_dataset *ds); /* accepts NULL */

const pb_dataset_options *pb_dataset_get_options(const pb_dataset *ds);
pb_protocol pb_dataset_protocol(const pb_dataset *ds);
/* The class names in force, count 0 for a task without labels. */
const pb_config_list *pb_dataset_labels(const pb_dataset *ds);
int64_t pb_dataset_max_new_tokens(const pb_dataset *ds); /* paper: 1024 */
int64_t pb_dataset_count(const pb_dataset *ds, pb_split split);
pb_example pb_dataset_example(const pb_dataset *ds, pb_split split, int64_t index);
pb_row_counts pb_dataset_row_counts(const pb_dataset *ds, pb_split split);
const char *pb_dataset_sha(const pb_dataset *ds, pb_split split); /* of the file, 64 hex digits */
/* Frees the training texts once they are encoded; their count becomes 0. */
void pb_dataset_drop_train(pb_dataset *ds);

/* Order [n]: the validation part first, *n_validation = ceil(share · n) rows, then the training
 * part. The permutation is numpy's default_rng(seed).permutation(n). */
pb_status pb_split_validation(int64_t n, double share, uint64_t seed, int64_t *order,
                              int64_t *n_validation) PB_MUST_USE;
/* Order [n] of the training rows in an epoch: torch's randperm seeded with run seed + epoch. */
pb_status pb_epoch_order(int64_t n, uint64_t seed, int64_t *order) PB_MUST_USE;

/* Token rows, flat: row i is ids[offsets[i] … offsets[i+1]); its first prompt_lengths[i] are the
 * prompt, whose labels are PB_LABEL_NONE. */
typedef struct pb_encoded_set {
    int32_t *ids, *labels;   /* [total] */
    int64_t *offsets;        /* [count + 1] */
    int64_t *prompt_lengths; /* [count] */
    int64_t *examples;       /* [count] the index of the example */
    int64_t count, total;
    int64_t truncated; /* rows cut at the cutoff */
    int64_t too_long;  /* corrected: rows longer than the cutoff even without the user's text; left
                          out of training, tested with what is left */
} pb_encoded_set;

/* Truncation as the protocol says. Testing keeps one row per example, training may lose some. */
pb_status pb_dataset_encode(const pb_dataset *ds, pb_split split, const pb_template *tpl,
                            const pb_tokenizer *tokenizer, int64_t cutoff_tokens,
                            pb_encoded_set *out) PB_MUST_USE;
/* Made-up rows: prompt and answer lengths as given, ids in 0 … vocabulary - 1. */
pb_status pb_encoded_synthetic(int64_t count, int64_t prompt_length, int64_t answer_length,
                               int64_t vocabulary, uint64_t seed, pb_encoded_set *out) PB_MUST_USE;
pb_sample pb_encoded_sample(const pb_encoded_set *set, int64_t index); /* whole row, with labels */
pb_sample pb_encoded_prompt(const pb_encoded_set *set, int64_t index); /* the prompt alone */
/* Appends the reference of a test row: the answer; paper: the text of its ids, as they were cut. */
pb_status pb_encoded_reference(const pb_dataset *ds, const pb_encoded_set *set,
                               const pb_tokenizer *tokenizer, int64_t index,
                               pb_string *out) PB_MUST_USE;
void pb_encoded_clear(pb_encoded_set *set); /* accepts a zeroed one */
