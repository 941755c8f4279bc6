// SPDX-License-Identifier: Apache-2.0
/* Merging: weights with the method folded in, in place of its hooks. */
#include "internal.h"

#include "pb/memory.h"

/* Copies of weight and bias are laid end to end in one block. */
static pb_status merge_site(pb_network *net, const pb_site *site)
{
    pb_binding *bound = &net->bindings[site->index];
    bool has_bias     = !pb_tensor_is_none(&bound->bias);
    size_t bytes      = (size_t)(site->out * site->in) * sizeof(float);
    void *data        = NULL;
    PB_TRY(pb_backend_alloc(net->backend, bytes + (size_t)site->out * sizeof(float), &data));
    pb_backend_free(net->backend, net->merged[site->index]); /* of an attempt that failed */
    net->merged[site->index] = data;
    pb_tensor weight         = pb_tensor_2d(data, PB_DTYPE_F32, site->out, site->in);
    pb_tensor bias           = {0};
    PB_TRY(pb_copy(net->backend, &weight, &bound->weight));
    if (has_bias) {
        bias = pb_tensor_1d((char *)data + bytes, PB_DTYPE_F32, site->out);
        PB_TRY(pb_copy(net->backend, &bias, &bound->bias));
    }
    PB_TRY(pb_method_merge(net->method, site, &weight, has_bias ? &bias : NULL));
    bound->weight          = weight;
    bound->bias            = bias;
    net->acts[site->index] = 0;
    return PB_OK;
}

pb_status pb_network_merge(pb_network *net)
{
    int64_t sites = pb_model_site_count(net->model);
    if (network_virtual_rows(net) > 0 || network_virtual_keys(net) > 0) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "method %s acts before the tokens: it cannot be merged into the weights",
                       net->method->ops->name);
    }
    if (net->merged == NULL) {
        PB_TRY(PB_ALLOC(net->merged, sites));
    }
    for (int64_t i = 0; i < sites; i++) {
        if ((net->acts[i] & PB_ACTS_AT_PRODUCT) != 0) {
            PB_TRY(merge_site(net, pb_model_site_at(net->model, i)));
        }
    }
    return PB_OK;
}
