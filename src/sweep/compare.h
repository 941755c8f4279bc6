// SPDX-License-Identifier: Apache-2.0
/* Compares the texts of all processes with those of rank 0 by their hashes; the texts themselves
 * are sent only when two differ. */
#pragma once

#include "pb/comm.h"
#include "pb/hash.h"
#include "pb/string.h"

#include <stdbool.h>
#include <stdint.h>

/* Texts that must be the same everywhere. */
typedef struct comparison {
    pb_comm *comm;
    void *context;
    char (*hashes)[PB_HASH_TEXT]; /* [count] */
    int64_t count;
    bool takes_part; /* this process has hashes of its own */
    pb_status (*text)(void *context, int64_t index, pb_string *out);
    /* The failure: what differs between this process's text and rank 0's. */
    pb_status (*fail)(const char *own, const char *first, const char *hosts);
} comparison;

/* Fails on every process with the first difference of the lowest rank that differs. Collective. */
pb_status compare_with_first(const comparison *c) PB_MUST_USE;
