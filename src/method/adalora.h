// SPDX-License-Identifier: Apache-2.0
/* The two rooms of adalora: the method at its sites, and the budget of rows. */
#pragma once

#include "internal.h"

typedef struct adalora_options {
    method_targets where;
    int64_t init_r, target_r;
    double alpha, dropout;
    int64_t tinit, tfinal, delta_t, total_step;
    double beta1, beta2, orth_reg_weight;
    pb_config_list rank_pattern;
} adalora_options;

enum { A, B, E, TENSORS };

typedef struct adalora_state {
    char **left;     /* [sites] '1' or '0' for each of init_r rows; NULL where there is no module */
    int64_t modules; /* also those without a row */
    int64_t total;   /* steps of the schedule, once they are known */
    bool cut;        /* rows were left out */
    void *block;     /* backend memory of the next two */
    pb_tensor norms; /* F64 [2 · modules] of A Aᵀ - I and Bᵀ B - I */
    float *gram;     /* [init_r²] one of these */
    float *host;     /* [init_r] E of a site */
    void *averages;  /* backend memory of the rest, in training: */
    pb_tensor sensitivity, uncertainty; /* [parameters] moving averages */
    pb_tensor scores, kept;             /* [rows of all modules] by the last allocation */
} adalora_state;

/* Rows of the site's tensors; 0 where it has none. */
int64_t adalora_rank(const pb_method *m, const pb_site *site);
/* The slot: the schedule leaves a step to lower the budget in. */
pb_status adalora_check_steps(pb_method *m, int64_t steps) PB_MUST_USE;
/* The slot: the memory of the schedule. */
pb_status adalora_begin_steps(pb_method *m) PB_MUST_USE;
/* The slot: updates the importance, and allocates where the schedule says so. */
pb_status adalora_after_step(pb_method *m, int64_t step, int64_t steps) PB_MUST_USE;
/* The slot: the averages, and the rows left out. */
pb_status adalora_archive(pb_method *m, pb_archive *archive) PB_MUST_USE;
