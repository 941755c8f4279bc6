// SPDX-License-Identifier: Apache-2.0
/* The parts of the command data: what is counted over the samples of a split, the two forms it is
 * shown in, and the benchmark. */
#pragma once

#include "pb/cli.h"
#include "pb/dataset.h"
#include "pb/digests.h"
#include "pb/encoded.h"

/* Lengths of texts. Exact at any number of rows: those below DATA_SHORT are counted by length, the
 * few longer ones are kept, 4 bytes each. Zero-initialised is empty. */
enum { DATA_SHORT = 1 << 16 };

typedef struct data_lengths {
    int64_t *counts; /* [DATA_SHORT] texts of this length */
    int32_t *longer;
    int64_t longer_count, count;
    int64_t minimum, maximum;
    double sum;
    bool sorted; /* `longer` is */
} data_lengths;

enum { DATA_QUANTILES = 6 };
extern const double data_shares[DATA_QUANTILES]; /* in percent */

pb_status data_lengths_add(data_lengths *l, int64_t length) PB_MUST_USE;
/* The smallest length that `percent` of the texts do not exceed. */
int64_t data_lengths_quantile(data_lengths *l, double percent);
void data_lengths_clear(data_lengths *l);

/* Different answers and how often each occurs, by digest. The text is kept from the second
 * occurrence on, at most DATA_ANSWER_BYTES of it: 64 to 128 bytes for an answer that occurs once.
 */
enum { DATA_ANSWER_BYTES = 1024, DATA_TOP = 5 };

typedef struct data_answer {
    pb_digest digest;
    int64_t count; /* 0: a free slot */
    char *text;    /* NULL: met once */
} data_answer;

typedef struct data_answers {
    data_answer *slots; /* [capacity], a power of two */
    size_t capacity, count;
} data_answers;

pb_status data_answers_add(data_answers *a, const pb_digest *digest, const char *text) PB_MUST_USE;
int64_t data_answers_count(const data_answers *a, const char *text); /* occurrences */
/* The most frequent ones that occur more than once, the first by their bytes where there is a tie.
 */
int64_t data_answers_top(const data_answers *a, const data_answer *top[DATA_TOP]);
void data_answers_clear(data_answers *a);

typedef struct data_example {
    int64_t row, line;
    pb_string user, answer;       /* of the data set */
    pb_string prompt, completion; /* of the template, empty without a model */
} data_example;

/* Which tokens are counted; both NULL: none. */
typedef struct data_model {
    pb_tokenizer *tokenizer;
    const pb_template *tpl;
} data_model;

/* What a split holds. */
typedef struct data_split {
    pb_split split;
    pb_rows_file file; /* its texts live as long as the data set */
    char sha[PB_HASH_TEXT];
    pb_row_counts counts;
    bool compared;    /* training with test: counts.overlap is known */
    int64_t samples;  /* that a run would take, but for overlap and too long ones */
    int64_t repeated; /* whose own text an earlier sample has */
    data_lengths prompt_characters, answer_characters;
    data_lengths prompt_tokens, answer_tokens, row_tokens; /* before anything is cut */
    int64_t over_cutoff; /* rows with more tokens than data.cutoff_tokens */
    int64_t too_long;    /* of these: corrected, even without the user's text */
    data_answers answers;
    pb_digests texts;
    data_example *examples;
    int64_t example_count;
    pb_string problem; /* why a run would refuse the split; empty: it would not */
    bool prepared;     /* tokens were found in the cache, or put there: */
    bool was_cached;
    int64_t kept, tokens;
} data_split;

typedef struct data_job {
    const pb_dataset *ds;
    pb_data_options data;
    data_model model;
    int threads;
    int64_t examples;
    int64_t width; /* columns of the text */
    bool json;
    data_split splits[PB_SPLIT_COUNT];
    bool wanted[PB_SPLIT_COUNT];
} data_job;

/* Reads the split; training is compared with the test split when that was read before. A file that
 * a run would refuse for its rows is not a failure: its message is in `problem`. */
pb_status data_measure(data_job *job, pb_split split) PB_MUST_USE;
void data_split_clear(data_split *s);

/* The tokenizer of the folder and the template, "auto": that of the model's family. */
pb_status data_model_open(const char *directory, const char *tpl, data_model *out) PB_MUST_USE;

extern const char *const data_fault_keys[PB_ROW_FAULT_COUNT];
const char *data_split_name(pb_split split);                    /* "train", "test" */
pb_status data_text(data_job *job, pb_string *out) PB_MUST_USE; /* for people */
pb_status data_json(data_job *job, pb_string *out) PB_MUST_USE; /* one object */

/* data --bench */
pb_status data_bench(const pb_cli *cli, int threads) PB_MUST_USE;
