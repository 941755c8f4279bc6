// SPDX-License-Identifier: Apache-2.0
/* Attention plans: how the queries and keys of a forest are cut into tiles, as arrays on the
 * page. */
#pragma once

#include "internal.h"
#include "kernels.h"

/* What attention reads of a plan. */
typedef struct cuda_plan {
    int64_t queries;
    int64_t keys;      /* of all segments: with fewer than the store has, some are in none */
    attention_cut cut; /* addresses are in device memory */
    int32_t piece_rooms, part_rooms;
    size_t scratch; /* bytes of memory that attention takes */
} cuda_plan;

typedef struct plan_cut plan_cut;

/* Cuts a forest in host memory, which *cut (NULL at first) keeps for the next plan; `bytes`: what
 * the arrays take on the page. */
pb_status plan_cut_make(plan_cut **cut, const pb_attention_plan *plan, size_t *bytes) PB_MUST_USE;
/* Writes the arrays of the last cut to `host`, for a copy that will lie at `device`, and fills *out
 * with their addresses there. Both are aligned to 256 bytes. */
void plan_cut_write(const plan_cut *cut, char *host, const char *device, cuda_plan *out);
void plan_cut_free(plan_cut *cut); /* accepts NULL */

/* Scratch memory that attention over a plan of this backend takes, forward and backward. */
size_t cuda_attention_bytes(const pb_attention_plan *plan);
