// SPDX-License-Identifier: Apache-2.0
/* Deciding, row by row in the order of the file, which rows of a split are left out. */
#pragma once

#include "internal.h"

#include "pb/interned.h"

/* A row in flight. */
typedef struct row_slot {
    size_t begin, length; /* of its record in the chunk's bytes */
    int64_t row, line;
    bool cut;      /* false: no record could be cut; status and message give the reason */
    bool unscored; /* the answer is at fault */
    pb_status status;
    pb_string message;
    pb_string id;
    pb_row_texts texts;
} row_slot;

enum { JUDGE_MESSAGE_BYTES = 600 };

typedef struct row_judge {
    const pb_dataset *ds;
    pb_split split;
    const char *name; /* of the file or of the data set, for messages */
    pb_interned ids;  /* digests, to be cleared by the owner */
    pb_row_counts counts;
    char first[JUDGE_MESSAGE_BYTES]; /* what was wrong with the first bad row */
} row_judge;

/* The status of a row that is left out; any other failure ends the reading. */
bool judge_is_bad_row(pb_status status);

/* Counts the row's faults; *keep is false when it is left out. Under the paper protocol, rows that
 * the original accepts are counted and kept. */
pb_status judge_row(row_judge *j, const row_slot *s, bool *keep) PB_MUST_USE;

/* PB_ERR_FORMAT when too many rows were left out, or no samples are left. */
pb_status judge_end(const row_judge *j, int64_t samples) PB_MUST_USE;
