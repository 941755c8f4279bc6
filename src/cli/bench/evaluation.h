// SPDX-License-Identifier: Apache-2.0
/* How fast rows are evaluated. */
#pragma once

#include "profiles.h"

#include "pb/network.h"

typedef struct bench_evaluation {
    double seconds; /* of a test of all rows */
    double tokens;  /* generated per row */
} bench_evaluation;

/* Answers are generated as in the test of a cell, `batch` as eval.batch, `without` as
 * eval.without. */
pb_status bench_evaluate(pb_network *net, const bench_rows *rows, const bench_profile *profile,
                         int64_t batch, unsigned without, bench_evaluation *out) PB_MUST_USE;
