// SPDX-License-Identifier: Apache-2.0
/* What methods compute from their own values in every step: norms of rows (dora), the penalty and
 * the budget of rows (adalora). */
#include "cuda.h"

pb_status cuda_inverse_norms(pb_backend *be, pb_tensor *y, const pb_tensor *squares,
                             const pb_tensor *a, const pb_tensor *b)
{
    CUDA_LAUNCH(be, "inverse_norms", b->shape[0], b->shape[1],
                launch_inverse_norms(y->data, squares->data, view_of(a), view_of(b), b->shape[0],
                                     b->shape[1], cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_identity_distance(pb_backend *be, pb_tensor *norm, pb_tensor *gram, double weight)
{
    CUDA_LAUNCH(be, "identity_distance", gram->shape[0], gram->shape[1],
                launch_identity_distance(norm->data, view_of(gram), gram->shape[0], weight,
                                         cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_sensitivity(pb_backend *be, pb_tensor *mean, pb_tensor *deviation,
                           const pb_tensor *value, const pb_tensor *grad, double beta1,
                           double beta2)
{
    int64_t n        = pb_tensor_count(mean);
    averages factors = {(float)beta1, (float)(1.0 - beta1), (float)beta2, (float)(1.0 - beta2)};
    CUDA_LAUNCH(be, "sensitivity", 1, n,
                launch_sensitivity(mean->data, deviation->data, value->data, grad->data, n, factors,
                                   cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_product_means(pb_backend *be, pb_tensor *y, const pb_tensor *a, const pb_tensor *b,
                             bool by_columns)
{
    CUDA_LAUNCH(be, "product_means", a->shape[0], a->shape[1],
                launch_product_means(y->data, view_of(a), view_of(b), a->shape[0], a->shape[1],
                                     by_columns, cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_drop_smallest(pb_backend *be, pb_tensor *kept, const pb_tensor *scores,
                             int64_t count)
{
    int64_t n = pb_tensor_count(scores);
    CUDA_LAUNCH(be, "drop_smallest", 1, n,
                launch_drop_smallest(kept->data, scores->data, n, count, cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_keep(pb_backend *be, pb_tensor *x, const pb_tensor *kept)
{
    int64_t n = pb_tensor_count(x);
    CUDA_LAUNCH(be, "keep", 1, n, launch_keep(x->data, kept->data, n, cuda_of(be)->stream));
    return PB_OK;
}
