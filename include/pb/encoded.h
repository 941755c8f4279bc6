// SPDX-License-Identifier: Apache-2.0
/* Samples as token rows, and the cache that keeps them.
 *
 *     pb_encode_options options = {.tpl = …, .tokenizer = …, .cutoff_tokens = …, .threads = n};
 *     PB_TRY(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &test));
 *     PB_TRY_GOTO(status, pb_encoded_open(ds, PB_SPLIT_TRAIN, &options, &test, &train), …);
 */
#pragma once

#include "pb/batch.h"
#include "pb/dataset.h"
#include "pb/hash.h"
#include "pb/template.h"

/* Token rows, flat: row i is ids[offsets[i] … offsets[i+1]); its first prompt_lengths[i] ids are
 * the prompt, which is not trained. Read only: in memory, or in a mapped file of the cache. */
typedef struct pb_encoded_set {
    const int32_t *ids;            /* [total] */
    const int64_t *offsets;        /* [count + 1] */
    const int32_t *prompt_lengths; /* [count] */
    const int64_t *rows;           /* [count] record in the file, from 0 */
    int64_t count, total;
    int64_t truncated; /* rows cut at the cutoff */
    int64_t too_long;  /* corrected: rows longer than the cutoff even without the user's text; left
                          out of training, tested with the rest */
    pb_row_counts counts;
    char sha[PB_HASH_TEXT]; /* of the file that was read, 64 hex digits */
    bool from_cache;
    struct pb_encoded_storage *storage; /* the memory of all of the above, and the texts */
} pb_encoded_set;

typedef struct pb_encode_options {
    const pb_template *tpl;
    const pb_tokenizer *tokenizer;
    int64_t cutoff_tokens; /* per row; longer ones are cut as the protocol prescribes */
    int threads;
    const char
        *cache; /* folder of token files, created when missing; NULL or "": nothing is kept */
    /* SHA-256 of the rows' files where already known; NULL: they are read for it. */
    const char *file_sha[PB_SPLIT_COUNT];
    /* May be NULL; asked every few hundred rows, and while another process makes the same set; true
     * ends the call with PB_STOPPED. */
    bool (*stop)(void *context);
    void *stop_context;
} pb_encode_options;

/* Reads a split and makes its tokens, or finds them in the cache. Testing keeps one row per sample;
 * training drops samples that do not fit and, under the corrected protocol, every sample whose own
 * text occurs in `test` (NULL: not compared), which must be a set with the same options.
 *
 * A file of the cache is named by a hash over everything that determines its contents: the rows'
 * file, the data set's configuration and instruction, protocol, template, tokenizer, cutoff. One of
 * the processes that need it makes it, by rename; the others wait. A damaged one is made again. */
pb_status pb_encoded_open(const pb_dataset *ds, pb_split split, const pb_encode_options *options,
                          const pb_encoded_set *test, pb_encoded_set *out) PB_MUST_USE;
void pb_encoded_close(pb_encoded_set *set); /* accepts a zeroed one */

pb_sample pb_encoded_sample(const pb_encoded_set *set, int64_t index); /* whole row, with labels */
pb_sample pb_encoded_prompt(const pb_encoded_set *set, int64_t index); /* the prompt alone */

/* The correct answers of a row as texts, from 0; borrowed from the set. */
int64_t pb_encoded_answer_count(const pb_encoded_set *set, int64_t index);
const char *pb_encoded_answer(const pb_encoded_set *set, int64_t index, int64_t which);
/* The id of a test row's question. */
const char *pb_encoded_id(const pb_encoded_set *set, int64_t index);
/* Appends the reference of a test row: the first answer; paper: the text of its ids after
 * truncation. */
pb_status pb_encoded_reference(const pb_dataset *ds, const pb_encoded_set *set,
                               const pb_tokenizer *tokenizer, int64_t index,
                               pb_string *out) PB_MUST_USE;
