// SPDX-License-Identifier: Apache-2.0
/* The product of small factors that the methods of the LoRA family add to a linear module:
 *
 *     y += scale · outer ⊙ (B (inner ⊙ (A drop(x)))),   A [r, in], B [out, r]
 *
 * lora has neither vector, adalora the inner one, vera both over frozen factors. */
#pragma once

#include "internal.h"

/* The mask of a site: the same in forward and backward of a pass. */
pb_mask low_rank_mask(const pb_method *m, const pb_site *site);
/* weight [out, in] += scale · diag(outer) B diag(inner) A. */
pb_status low_rank_merge(pb_method *m, const pb_low_rank *l, pb_tensor *weight) PB_MUST_USE;

/* weight [out, in] = diag(scale) weight. */
pb_status scale_rows(pb_method *m, pb_tensor *weight, const pb_tensor *scale) PB_MUST_USE;
