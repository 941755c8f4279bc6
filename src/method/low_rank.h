// SPDX-License-Identifier: Apache-2.0
/* The product of small factors that the methods of the LoRA family add to a linear module:
 *
 *     y += scale · outer ⊙ (B (inner ⊙ (A drop(x)))),   A [r, in], B [out, r]
 *
 * lora has neither vector, adalora the inner one, vera both over frozen factors. */
#pragma once

#include "internal.h"

typedef pb_low_rank low_rank;

/* The mask of a site: the same in forward and backward of a pass. */
pb_mask low_rank_mask(const pb_method *m, const pb_site *site);

/* kept [T, r] = A drop(x). The scratch of the context holds both halves of width
 * low_rank_scratch. */
pb_status low_rank_forward(pb_method *m, const low_rank *l, const pb_site *site,
                           const pb_site_context *ctx, pb_tensor *y, const pb_tensor *x,
                           pb_tensor *kept) PB_MUST_USE;
/* Adds to the gradients and to dx (none: not wanted); dy stays. */
pb_status low_rank_backward(pb_method *m, low_rank *l, const pb_site *site,
                            const pb_site_context *ctx, const pb_tensor *dy, pb_tensor *dx,
                            const pb_tensor *x, const pb_tensor *kept) PB_MUST_USE;
int64_t low_rank_scratch(const low_rank *l, const pb_site *site);
/* weight [out, in] += scale · diag(outer) B diag(inner) A. */
pb_status low_rank_merge(pb_method *m, const low_rank *l, pb_tensor *weight) PB_MUST_USE;

/* *out = x, or in training with dropout its part that stays, in half `which` of the scratch. */
pb_status low_rank_dropped(pb_method *m, double dropout, const pb_site *site,
                           const pb_site_context *ctx, int which, const pb_tensor *x,
                           pb_tensor *out) PB_MUST_USE;
/* One of the halves of the scratch, `width` wide. */
pb_tensor low_rank_half(const pb_site_context *ctx, int which, int64_t width);

/* weight [out, in] = diag(scale) weight. */
pb_status scale_rows(pb_method *m, pb_tensor *weight, const pb_tensor *scale) PB_MUST_USE;
