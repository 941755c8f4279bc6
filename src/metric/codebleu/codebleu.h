// SPDX-License-Identifier: Apache-2.0
/* CodeBLEU of pairs of Python texts from counts that add up: those of a corpus are the sums of its
 * pairs', so that any sample of pairs is scored without reading a text again. */
#pragma once

#include "pb/protocol.h"
#include "pb/status.h"

#include <stdint.h>

enum { CODE_ORDERS = 4 }; /* n-grams of 1 … 4 tokens */

/* What is summed, all whole numbers but the weighted ones. */
enum {
    CODE_MATCHES    = 0,                             /* [orders] common n-grams */
    CODE_CANDIDATES = CODE_MATCHES + CODE_ORDERS,    /* [orders] n-grams, at least 1 */
    CODE_REFERENCES = CODE_CANDIDATES + CODE_ORDERS, /* [orders] the same; the first is
                                                                 weighted */
    CODE_WEIGHTED_MATCHES = CODE_REFERENCES + CODE_ORDERS,
    CODE_CANDIDATE_TOKENS,
    CODE_REFERENCE_TOKENS,
    CODE_PAIRS,
    CODE_SUBTREE_MATCHES,
    CODE_SUBTREES, /* of references */
    CODE_EDGE_MATCHES,
    CODE_EDGES, /* of references */
    CODE_SUMS,
};

typedef struct code_scores {
    double codebleu, ngram, weighted_ngram, syntax;
    double dataflow; /* NaN in the corrected protocol when the references have no edges */
} code_scores;

/* The counts of one pair; the texts are UTF-8. */
pb_status code_count(const char *candidate, const char *reference,
                     double sums[CODE_SUMS]) PB_MUST_USE;
code_scores code_scores_of(pb_protocol protocol, const double sums[CODE_SUMS]);
/* `codebleu` alone; `width` is CODE_SUMS. */
double code_main(pb_protocol protocol, const double *sums, int64_t width);
