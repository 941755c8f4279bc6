// SPDX-License-Identifier: Apache-2.0
/* The weights of a model in a backend's memory: placed once per model and process, and borrowed by
 * every network over it.
 *
 * A backend that uses host memory borrows the model's own, without a copy. Any other holds one
 * block: the linear sites of a layer that read the same input (q, k, v; o; gate, up; down) are
 * stacked row upon row, with a border of zeros on the right and below that a low-rank product may
 * fill:
 *
 *     [ W_q  0 ]  out_q rows
 *     [ W_k  0 ]  out_k
 *     [ W_v  0 ]  out_v
 *     [ 0    0 ]  border
 *       in  border  columns */
#pragma once

#include "pb/model.h"

typedef struct pb_weights pb_weights;

/* The tensors of a site, in backend memory; none where the site has none. */
typedef struct pb_placed {
    pb_tensor weight; /* [out, in], rows in + border apart in a stack; of the model's dtype, F32
                         where those of a stack differ, or as pb_backend_weight_type has it */
    pb_tensor bias;   /* [out] F32 */
} pb_placed;

/* Model and backend are borrowed for the life of the weights. `border`: rows and columns, ≥ 0. */
pb_status pb_weights_open(const pb_model *model, pb_backend *backend, int64_t border,
                          pb_weights **out) PB_MUST_USE;
/* Weights for a model without any (pb_model_open_shape), made where they lie, also on a backend
 * that uses host memory: linear weights and tables of `dtype` from N(0, 0.02²), norms so that they
 * scale by one, biases 0. For benchmarks: values repeat after some millions of them. */
pb_status pb_weights_random(const pb_model *model, pb_backend *backend, int64_t border,
                            pb_dtype dtype, uint64_t seed, pb_weights **out) PB_MUST_USE;
void pb_weights_close(pb_weights *weights); /* accepts NULL */

const pb_model *pb_weights_model(const pb_weights *weights);
pb_backend *pb_weights_backend(const pb_weights *weights);
size_t pb_weights_bytes(const pb_weights *weights); /* of the block; 0 where nothing was copied */

/* By the site's index in the model. A tied head has the tensor of the embedding. */
const pb_placed *pb_weights_at(const pb_weights *weights, int64_t index);

/* The whole stack that a linear site is part of, [sum of out + border, in + border]; none where the
 * model's own memory is used. */
pb_tensor pb_weights_stack(const pb_weights *weights, const pb_site *site);
