// SPDX-License-Identifier: Apache-2.0
/* Cross-entropy of label rows with its gradient in place, and the greedy choice. */
#include "cuda.h"

pb_status cuda_cross_entropy(pb_backend *be, pb_tensor *losses, pb_tensor *logits,
                             const pb_list *targets, const pb_tensor *grad_scale)
{
    CUDA_LAUNCH(be, "cross_entropy", logits->shape[0], logits->shape[1],
                launch_cross_entropy(losses->data, logits->data, logits->stride, targets->data,
                                     logits->shape[0], logits->shape[1],
                                     grad_scale != NULL ? grad_scale->data : NULL,
                                     cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_loss_sum(pb_backend *be, pb_tensor *sum, const pb_tensor *losses, double divisor,
                        double factor)
{
    CUDA_LAUNCH(be, "loss_sum", losses->shape[0], 1,
                launch_loss_sum(sum->data, losses->data, losses->shape[0], divisor, factor,
                                cuda_of(be)->stream));
    return PB_OK;
}

pb_status cuda_argmax(pb_backend *be, pb_tensor *indices, pb_tensor *largest,
                      const pb_tensor *logits)
{
    CUDA_LAUNCH(be, "argmax", logits->shape[0], logits->shape[1],
                launch_argmax(indices->data, largest->data, logits->data, logits->stride,
                              logits->shape[0], logits->shape[1], cuda_of(be)->stream));
    return PB_OK;
}
