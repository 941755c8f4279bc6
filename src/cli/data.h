// SPDX-License-Identifier: Apache-2.0
/* The parts of the command data: profiles of the splits and the two forms in which they are
 * shown. */
#pragma once

#include "pb/cli.h"
#include "pb/profile.h"

enum { DATA_QUANTILES = 6 };
extern const double data_shares[DATA_QUANTILES]; /* in percent */

/* What happened to a split's tokens. */
typedef struct data_tokens {
    bool prepared; /* tokens were found in the cache, or put there: */
    bool was_cached;
    int64_t rows, tokens;
} data_tokens;

typedef struct data_job {
    const pb_dataset *ds;
    pb_data_options data;
    pb_tokenizer *tokenizer; /* NULL: no tokens are counted */
    const pb_template *tpl;
    int threads;
    int64_t examples;
    int64_t width; /* columns of the text */
    bool json;
    pb_profile splits[PB_SPLIT_COUNT];
    data_tokens tokens[PB_SPLIT_COUNT];
    bool wanted[PB_SPLIT_COUNT];
} data_job;

extern const char *const data_fault_keys[PB_ROW_FAULT_COUNT];
const char *data_split_name(pb_split split);                    /* "train", "test" */
pb_status data_text(data_job *job, pb_string *out) PB_MUST_USE; /* for people */
pb_status data_json(data_job *job, pb_string *out) PB_MUST_USE; /* one object */
