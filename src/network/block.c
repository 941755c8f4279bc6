// SPDX-License-Identifier: Apache-2.0
/* What the two blocks of a layer share: norms, linear sites by their kind, the end of a block; and
 * which attention plan is a layer's. */
#include "internal.h"

pb_status layer_norm_forward(pb_network *net, pb_site_kind kind, int64_t layer, pb_tensor *y,
                             const pb_tensor *x)
{
    const pb_binding *bound = &net->bindings[network_site(net, kind, layer)->index];
    pb_rmsnorm_args args    = network_norm_args(net);
    return pb_rmsnorm_forward(net->backend, y, x, &bound->weight, &args);
}

pb_status layer_norm_backward(pb_network *net, pb_site_kind kind, int64_t layer, pb_tensor *dx,
                              const pb_tensor *dy, const pb_tensor *x, bool add)
{
    pb_binding *bound    = &net->bindings[network_site(net, kind, layer)->index];
    pb_tensor *dweight   = pb_tensor_is_none(&bound->dweight) ? NULL : &bound->dweight;
    pb_rmsnorm_args args = network_norm_args(net);
    args.add             = add;
    return pb_rmsnorm_backward(net->backend, dx, dweight, dy, x, &bound->weight, &args);
}

pb_status layer_linear_forward(pb_network *net, const pass *p, pb_site_kind kind, int64_t layer,
                               pb_tensor *y, const pb_tensor *x)
{
    return network_linear_forward(net, p, network_site(net, kind, layer), y, x,
                                  &net->layers[layer].kept[kind]);
}

pb_status layer_linear_backward(pb_network *net, const pass *p, pb_site_kind kind, int64_t layer,
                                pb_tensor *dy, const pb_tensor *x, pb_tensor *dx, bool accumulate)
{
    return network_linear_backward(net, p, network_site(net, kind, layer), dy, x, dx, accumulate,
                                   &net->layers[layer].kept[kind]);
}

pb_status layer_out_forward(pb_network *net, const pass *p, pb_site_kind linear, pb_site_kind norm,
                            int64_t layer, pb_tensor *y, pb_tensor *raw, const pb_tensor *x)
{
    if (!layer_has(net, norm)) {
        return layer_linear_forward(net, p, linear, layer, y, x);
    }
    PB_TRY(layer_linear_forward(net, p, linear, layer, raw, x));
    return layer_norm_forward(net, norm, layer, y, raw);
}

/* The gradient of W x is kept apart from that of the residual where a norm or the method changes
 * it, or its type differs. */
pb_status layer_out_backward(pb_network *net, const pass *p, pb_site_kind linear, pb_site_kind norm,
                             int64_t layer, const pb_tensor *dx, const pb_tensor *raw,
                             const pb_tensor *x, pb_tensor *dinput)
{
    pb_tensor dy = *dx;
    if (layer_has(net, norm)) {
        dy = pb_tensor_rows(&net->scratch.dy, 0, dx->shape[0]);
        PB_TRY(layer_norm_backward(net, norm, layer, &dy, dx, raw, false));
    } else if (network_linear_changes_dy(net, network_site(net, linear, layer)) ||
               dx->dtype != net->act) {
        dy = pb_tensor_rows(&net->scratch.dy, 0, dx->shape[0]);
        PB_TRY(pb_copy(net->backend, &dy, dx));
    }
    return layer_linear_backward(net, p, linear, layer, &dy, x, dinput, false);
}

int layer_plan_index(const pb_network *net, const pass *p, int64_t layer)
{
    if (layer_is_subset(net, p, layer)) {
        return PASS_OUTS;
    }
    return pb_model_window(net->config, layer) > 0 ? PASS_WINDOW : PASS_FULL;
}

const pb_attention_plan *layer_plan(const pb_network *net, const pass *p, int64_t layer)
{
    return &p->page.plans[layer_plan_index(net, p, layer)];
}
