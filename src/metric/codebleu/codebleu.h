// SPDX-License-Identifier: Apache-2.0
/* CodeBLEU of pairs of Python texts from counts that add up: those of a corpus are the sums of its
 * pairs', so that any sample of pairs is scored without reading a text again. */
#pragma once

#include "pb/protocol.h"
#include "pb/status.h"

#include <stdint.h>

enum { PB_CODE_ORDERS = 4 }; /* n-grams of 1 … 4 tokens */

/* What is summed, all whole numbers but the weighted ones. */
enum {
    PB_CODE_MATCHES    = 0,                                   /* [orders] common n-grams */
    PB_CODE_CANDIDATES = PB_CODE_MATCHES + PB_CODE_ORDERS,    /* [orders] n-grams, at least 1 */
    PB_CODE_REFERENCES = PB_CODE_CANDIDATES + PB_CODE_ORDERS, /* [orders] the same; the first is
                                                                 weighted */
    PB_CODE_WEIGHTED_MATCHES = PB_CODE_REFERENCES + PB_CODE_ORDERS,
    PB_CODE_CANDIDATE_TOKENS,
    PB_CODE_REFERENCE_TOKENS,
    PB_CODE_PAIRS,
    PB_CODE_SUBTREE_MATCHES,
    PB_CODE_SUBTREES, /* of references */
    PB_CODE_EDGE_MATCHES,
    PB_CODE_EDGES, /* of references */
    PB_CODE_SUMS,
};

typedef struct pb_code_scores {
    double codebleu, ngram, weighted_ngram, syntax;
    double dataflow; /* NaN in the corrected protocol when the references have no edges */
} pb_code_scores;

/* The counts of one pair; the texts are UTF-8. */
pb_status pb_code_count(const char *candidate, const char *reference,
                        double sums[PB_CODE_SUMS]) PB_MUST_USE;
pb_code_scores pb_code_scores_of(pb_protocol protocol, const double sums[PB_CODE_SUMS]);
/* `codebleu` alone; `width` is PB_CODE_SUMS. */
double pb_code_main(pb_protocol protocol, const double *sums, int64_t width);
