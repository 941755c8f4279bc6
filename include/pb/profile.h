// SPDX-License-Identifier: Apache-2.0
/* Profiles of data sets: what is counted over the samples of a split, in memory that grows with the
 * rows only by some bytes per distinct text.
 *
 *     PB_TRY(pb_profile_split(ds, PB_SPLIT_TEST, &options, NULL, &test));
 *     PB_TRY(pb_profile_split(ds, PB_SPLIT_TRAIN, &options, &test, &train));
 */
#pragma once

#include "pb/dataset.h"
#include "pb/interned.h"
#include "pb/template.h"

/* Lengths of texts, exact for any number of rows: those below PB_PROFILE_SHORT are counted by
 * length, the few longer ones are kept, 4 bytes each. Zero-initialised is empty. */
enum { PB_PROFILE_SHORT = 1 << 16 };

typedef struct pb_profile_lengths {
    int64_t *counts; /* [PB_PROFILE_SHORT] texts of this length */
    int32_t *longer;
    int64_t longer_count, count;
    int64_t minimum, maximum;
    double sum;
    bool sorted; /* `longer` is sorted */
} pb_profile_lengths;

pb_status pb_profile_lengths_add(pb_profile_lengths *l, int64_t length) PB_MUST_USE;
/* The smallest length that `percent` of the texts do not exceed. */
int64_t pb_profile_lengths_quantile(pb_profile_lengths *l, double percent);
void pb_profile_lengths_clear(pb_profile_lengths *l);

/* Distinct answers and how often each occurs, by digest. The text is kept from the second
 * occurrence on, at most PB_PROFILE_ANSWER_BYTES of it: about 50 bytes for an answer that occurs
 * once. */
enum { PB_PROFILE_ANSWER_BYTES = 1024, PB_PROFILE_TOP = 5 };

typedef struct pb_profile_answer {
    int64_t count;
    char *text; /* NULL: occurred once */
} pb_profile_answer;

typedef struct pb_profile_answers {
    pb_interned digests;
    pb_profile_answer *items; /* by number in `digests` */
} pb_profile_answers;

pb_status pb_profile_answers_add(pb_profile_answers *a, const pb_digest *digest,
                                 const char *text) PB_MUST_USE;
int64_t pb_profile_answers_count(const pb_profile_answers *a, const char *text); /* occurrences */
/* The most frequent answers that occur more than once; ties in the order of their bytes. Returns
 * their number. */
int64_t pb_profile_answers_top(const pb_profile_answers *a,
                               const pb_profile_answer *top[PB_PROFILE_TOP]);
void pb_profile_answers_clear(pb_profile_answers *a);

typedef struct pb_profile_example {
    int64_t row, line;
    pb_string user, answer;       /* of the data set */
    pb_string prompt, completion; /* of the template, empty without a tokenizer */
} pb_profile_example;

/* A split. Zero-initialised is empty. */
typedef struct pb_profile {
    pb_split split;
    pb_rows_file file; /* its texts live as long as the data set */
    char sha[PB_HASH_TEXT];
    pb_row_counts counts;
    bool compared;    /* training with test: counts.overlap is known */
    int64_t samples;  /* that a run would use, but for overlap and too long ones */
    int64_t repeated; /* whose own text repeats an earlier sample's */
    pb_profile_lengths prompt_characters, answer_characters;
    pb_profile_lengths prompt_tokens, answer_tokens, row_tokens; /* before truncation */
    int64_t over_cutoff; /* rows with more tokens than data.cutoff_tokens */
    int64_t too_long;    /* of these: corrected, even without the user's text */
    pb_profile_answers answers;
    pb_interned texts; /* digests */
    pb_profile_example *examples;
    int64_t example_count;
    pb_string problem; /* why a run would refuse the split; empty: it would not */
} pb_profile;

typedef struct pb_profile_options {
    const pb_data_options *data;
    const pb_tokenizer *tokenizer; /* both NULL: no tokens are counted */
    const pb_template *tpl;
    int threads;
    int64_t examples; /* kept, from the start of the file */
} pb_profile_options;

/* Reads the split; `test` is a profile to compare with, or NULL. A file whose rows a run would
 * refuse is not an error: the reason is in `problem`. The caller clears the profile also on
 * failure. */
pb_status pb_profile_split(const pb_dataset *ds, pb_split split, const pb_profile_options *options,
                           const pb_profile *test, pb_profile *out) PB_MUST_USE;
void pb_profile_clear(pb_profile *p); /* accepts a zeroed one */
