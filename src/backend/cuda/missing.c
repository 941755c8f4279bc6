// SPDX-License-Identifier: Apache-2.0
/* The operations that have no kernels yet: each is refused by name. */
#include "cuda.h"

static pb_status missing(const char *name)
{
    return PB_FAIL(PB_ERR_UNSUPPORTED, "cuda: %s is not there yet", name);
}

pb_status cuda_attention_forward(pb_backend *be, pb_tensor *out, pb_tensor *lse, const pb_tensor *q,
                                 const pb_tensor *keys, const pb_tensor *values,
                                 const pb_attention_plan *plan)
{
    (void)be;
    (void)out;
    (void)lse;
    (void)q;
    (void)keys;
    (void)values;
    (void)plan;
    return missing("attention_forward");
}

pb_status cuda_attention_backward(pb_backend *be, pb_tensor *dq, pb_tensor *dkeys,
                                  pb_tensor *dvalues, const pb_tensor *dout, const pb_tensor *out,
                                  const pb_tensor *lse, const pb_tensor *q, const pb_tensor *keys,
                                  const pb_tensor *values, const pb_attention_plan *plan)
{
    (void)be;
    (void)dq;
    (void)dkeys;
    (void)dvalues;
    (void)dout;
    (void)out;
    (void)lse;
    (void)q;
    (void)keys;
    (void)values;
    (void)plan;
    return missing("attention_backward");
}

pb_status plan_cut_make(plan_cut **cut, const pb_attention_plan *plan, size_t *bytes)
{
    (void)cut;
    (void)plan;
    *bytes = 0;
    return PB_OK;
}

void plan_cut_write(const plan_cut *cut, char *host, const char *device, cuda_plan *out)
{
    (void)cut;
    (void)host;
    (void)device;
    *out = (cuda_plan){0};
}

void plan_cut_free(plan_cut *cut)
{
    (void)cut;
}
