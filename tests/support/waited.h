// SPDX-License-Identifier: Apache-2.0
/* Calls whose results are numbers in backend memory, including the wait for them. */
#pragma once

#include "pb/network.h"

/* pb_network_loss: the sum over all labels, and by label (losses [N], may be NULL). */
pb_status waited_loss(pb_network *net, const pb_batch *batch, double *sum,
                      double *losses) PB_MUST_USE;
pb_status waited_step(pb_network *net, const pb_batch *batch, double grad_scale, uint64_t pass,
                      double *sum) PB_MUST_USE;
pb_status waited_penalty(pb_method *m, double *value);
pb_status waited_squares(pb_backend *be, const pb_tensor *x, double *sum) PB_MUST_USE;
