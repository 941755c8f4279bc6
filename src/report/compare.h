// SPDX-License-Identifier: Apache-2.0
/* Two sweeps, A and B: the sections of what they ran with. */
#pragma once

#include "document.h"

/* The cells that both have. */
typedef struct record_pair {
    const pb_record *a, *b;
} record_pair;

typedef struct record_pairs {
    record_pair *items;
    int64_t count;
} record_pairs;

/* Where the values of a name of the provenance differ. */
pb_status compare_machines(const pb_results *a, const pb_results *b, document *doc) PB_MUST_USE;
/* The keys of the configurations that differ, and inputs with other contents. */
pb_status compare_settings(const record_pairs *pairs, document *doc) PB_MUST_USE;
