// SPDX-License-Identifier: Apache-2.0
/* The weights of a model in a backend's memory: placed once per model and process, and borrowed by
 * every network over it.
 *
 * A backend that uses host memory borrows the model's own, without a copy. Any other holds one
 * block, in which the weight of a linear site has a border of zeros on the right and below, for a
 * low-rank part that then rides in the products of the weight (see pb/linear.h):
 *
 *     [ W  0 ]  out rows
 *     [ 0  0 ]  border
 *       in  border  columns */
#pragma once

#include "pb/model.h"

typedef struct pb_weights pb_weights;

/* The tensors of a site, in backend memory; none where the site has none. */
typedef struct pb_placed {
    pb_tensor weight; /* [out, in]; of the model's dtype, or as pb_backend_weight_type has it */
    pb_tensor bias;   /* [out] F32 */
} pb_placed;

/* Model and backend are borrowed for the life of the weights. `border`: rows and columns, as
 * pb_backend_border has them, or 0: no part rides. */
pb_status pb_weights_open(const pb_model *model, pb_backend *backend, int64_t border,
                          pb_weights **out) PB_MUST_USE;
/* Weights for a model without any (pb_model_open_shape), made in place, also on a backend that uses
 * host memory: linear weights and tables of `dtype` from N(0, 0.02²), norms so that they scale by
 * one, biases 0. For benchmarks: values repeat after a few million. */
pb_status pb_weights_random(const pb_model *model, pb_backend *backend, int64_t border,
                            pb_dtype dtype, uint64_t seed, pb_weights **out) PB_MUST_USE;
void pb_weights_close(pb_weights *weights); /* accepts NULL */

const pb_model *pb_weights_model(const pb_weights *weights);
pb_backend *pb_weights_backend(const pb_weights *weights);
size_t pb_weights_bytes(const pb_weights *weights); /* of the block; 0 where nothing was copied */

/* By the site's index in the model. A tied head has the tensor of the embedding. */
const pb_placed *pb_weights_at(const pb_weights *weights, int64_t index);

/* All networks over the weights write into the same borders. A network takes them before it writes
 * and is given a number; what it wrote is there as long as the owner has that number. */
uint64_t pb_weights_border_take(pb_weights *weights);
uint64_t pb_weights_border_owner(const pb_weights *weights); /* 0: none yet */
