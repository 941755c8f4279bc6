// SPDX-License-Identifier: Apache-2.0
/* A gang: networks of one model, each with its own method, that train in one pass.
 *
 * The rows of the networks are laid end to end in one forest. Each network's method acts on its own
 * rows, and its loss and gradients have the bits that they have when it steps alone: sums over rows
 * never cross from one network to another, and networks share a product with a frozen weight only
 * where its bits do not depend on the number of rows (see pb/rows.h).
 *
 *     PB_TRY(pb_gang_create(networks, count, &gang));
 *     PB_TRY_GOTO(status, pb_gang_step(gang, parts, count, pass), …); */
#pragma once

#include "pb/network.h"

typedef struct pb_gang pb_gang;

/* What one network does in a pass. */
typedef struct pb_gang_part {
    pb_network *net; /* a member */
    const pb_batch *batch;
    double grad_scale;
    pb_tensor *sum;
} pb_gang_part;

/* False where the rows of a pass have more in common than the weights: with a dynamic rope the
 * longest row sets the frequencies of all. */
bool pb_gang_possible(const pb_model_config *config);

/* The members share their weights; none is merged. They are borrowed for the gang's life and share
 * the memory of its passes: pb_network_losses of one is valid until the next pass of any. */
pb_status pb_gang_create(pb_network *const *members, int64_t count, pb_gang **out) PB_MUST_USE;
void pb_gang_destroy(pb_gang *gang); /* accepts NULL */

/* pb_network_reserve for all parts together, and pb_network_step: at most one part a member. */
pb_status pb_gang_reserve(pb_gang *gang, const pb_gang_part *parts, int64_t count) PB_MUST_USE;
pb_status pb_gang_step(pb_gang *gang, const pb_gang_part *parts, int64_t count,
                       uint64_t pass) PB_MUST_USE;
