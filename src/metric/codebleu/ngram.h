// SPDX-License-Identifier: Apache-2.0
/* The n-grams of a pair of texts, plain and weighted. */
#pragma once

#include "codebleu.h"

/* Fills what is counted of n-grams and tokens, and that it is one pair; `sums` is zeroed before. */
pb_status code_count_ngrams(const char *candidate, const char *reference,
                            double sums[CODE_SUMS]) PB_MUST_USE;
