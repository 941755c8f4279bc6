// SPDX-License-Identifier: Apache-2.0
/* Steps of training over made rows. */
#pragma once

#include "setup.h"

typedef struct workload {
    const char *shape;
    int64_t rows, length, answer_start; /* of a batch */
    int64_t warm, steps;                /* untimed and timed */
} workload;

/* "llama-3.2-1b, 4 x 110 tokens" and `more`. */
void describe_workload(const workload *w, const char *more, char text[BENCH_TEXT]);
/* The rows of a few batches. */
pb_status workload_rows(const workload *w, made_rows *rows) PB_MUST_USE;
/* Those of the parts "short rows" and "peer"; NULL after the last. LoRA has its defaults there. */
const workload *short_workload(const bench *b, int index);
/* Steps that all members make together; the loss is that of the first member's last step. */
pb_status measure_gang(const bench *b, const workload *w, const made_rows *rows, int members,
                       bool graphs, load *l, double *last_loss) PB_MUST_USE;
