// SPDX-License-Identifier: Apache-2.0
/* Token rows of the command bench: their lengths and what they have in common are those of a kind
 * of data set. */
#pragma once

#include "pb/batch.h"
#include "pb/cli.h"

typedef struct bench_profile {
    const char *name;
    int64_t instruction;         /* tokens that all rows begin with, */
    int64_t passage, questions;  /* tokens that so many rows share after them, */
    int64_t own_least, own_most; /* and tokens of a row alone, */
    int64_t ending;              /* of which the last ones are the same in all rows */
    int64_t answer_least, answer_most;
    bool labels; /* answers are few, and known */
} bench_profile;

typedef struct bench_rows {
    int32_t *ids;
    pb_sample *samples; /* [count] with labels */
    pb_sample *prompts; /* [count] without the answers */
    int64_t count;
} bench_rows;

/* The one of --profile, or rows of --prompt and --answer tokens. */
pb_status bench_profile_get(const pb_cli *cli, bench_profile *out) PB_MUST_USE;
pb_status bench_profile_make(const bench_profile *p, int64_t count, int64_t vocabulary,
                             uint64_t seed, bench_rows *out) PB_MUST_USE;
void bench_profile_clear(bench_rows *rows); /* accepts zeroed ones */
