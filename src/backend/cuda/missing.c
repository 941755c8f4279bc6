// SPDX-License-Identifier: Apache-2.0
/* The operations that have no kernels yet: each is refused by name. */
#include "cuda.h"

static pb_status missing(const char *name)
{
    return PB_FAIL(PB_ERR_UNSUPPORTED, "cuda: %s is not there yet", name);
}

pb_status cuda_zero(pb_backend *be, pb_tensor *x)
{
    (void)be;
    (void)x;
    return missing("zero");
}

pb_status cuda_axpy(pb_backend *be, pb_tensor *y, float alpha, const pb_tensor *x)
{
    (void)be;
    (void)y;
    (void)alpha;
    (void)x;
    return missing("axpy");
}

pb_status cuda_gather(pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_list *rows)
{
    (void)be;
    (void)y;
    (void)x;
    (void)rows;
    return missing("gather");
}

pb_status cuda_put_rows(pb_backend *be, pb_tensor *y, const pb_tensor *x, const pb_list *rows)
{
    (void)be;
    (void)y;
    (void)x;
    (void)rows;
    return missing("put_rows");
}

pb_status cuda_rmsnorm_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                               const pb_tensor *weight, const pb_rmsnorm_args *args)
{
    (void)be;
    (void)y;
    (void)x;
    (void)weight;
    (void)args;
    return missing("rmsnorm_forward");
}

pb_status cuda_rmsnorm_backward(pb_backend *be, pb_tensor *dx, pb_tensor *dweight,
                                const pb_tensor *dy, const pb_tensor *x, const pb_tensor *weight,
                                const pb_rmsnorm_args *args)
{
    (void)be;
    (void)dx;
    (void)dweight;
    (void)dy;
    (void)x;
    (void)weight;
    (void)args;
    return missing("rmsnorm_backward");
}

pb_status cuda_rope(pb_backend *be, pb_tensor *x, const pb_tensor *table, const pb_list *positions,
                    int64_t heads, bool inverse)
{
    (void)be;
    (void)x;
    (void)table;
    (void)positions;
    (void)heads;
    (void)inverse;
    return missing("rope");
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

pb_status cuda_gated_forward(pb_backend *be, pb_tensor *y, const pb_tensor *gate,
                             const pb_tensor *up, pb_activation act)
{
    (void)be;
    (void)y;
    (void)gate;
    (void)up;
    (void)act;
    return missing("gated_forward");
}

pb_status cuda_gated_backward(pb_backend *be, pb_tensor *dgate, pb_tensor *dup, const pb_tensor *dy,
                              const pb_tensor *gate, const pb_tensor *up, pb_activation act)
{
    (void)be;
    (void)dgate;
    (void)dup;
    (void)dy;
    (void)gate;
    (void)up;
    (void)act;
    return missing("gated_backward");
}

pb_status cuda_activation_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                  pb_activation act)
{
    (void)be;
    (void)y;
    (void)x;
    (void)act;
    return missing("activation_forward");
}

pb_status cuda_activation_backward(pb_backend *be, pb_tensor *dx, const pb_tensor *dy,
                                   const pb_tensor *x, pb_activation act)
{
    (void)be;
    (void)dx;
    (void)dy;
    (void)x;
    (void)act;
    return missing("activation_backward");
}

pb_status cuda_column_scale_forward(pb_backend *be, pb_tensor *y, const pb_tensor *x,
                                    const pb_tensor *scale)
{
    (void)be;
    (void)y;
    (void)x;
    (void)scale;
    return missing("column_scale_forward");
}

pb_status cuda_bias_forward(pb_backend *be, pb_tensor *y, const pb_tensor *bias)
{
    (void)be;
    (void)y;
    (void)bias;
    return missing("bias_forward");
}

pb_status cuda_dropout(pb_backend *be, pb_tensor *y, const pb_tensor *x, double p,
                       const pb_mask *mask)
{
    (void)be;
    (void)y;
    (void)x;
    (void)p;
    (void)mask;
    return missing("dropout");
}

pb_status cuda_copy_device(pb_backend *be, pb_tensor *dst, const pb_tensor *src)
{
    (void)be;
    (void)dst;
    (void)src;
    return missing("copy_device");
}

pb_status cuda_product(pb_backend *be, pb_tensor *c, const pb_tensor *a, const pb_tensor *b,
                       const pb_matmul_args *args)
{
    (void)be;
    (void)c;
    (void)a;
    (void)b;
    (void)args;
    return missing("product");
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
