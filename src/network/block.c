// SPDX-License-Identifier: Apache-2.0
/* What the two blocks of a layer share: norms, linear sites by their kind, the end of a block; and
 * which attention plan is a layer's. */
#include "internal.h"

/* Rows of a norm's input for every row of the pass. */
static int64_t norm_heads(const pb_network *net, pb_site_kind kind)
{
    return kind == PB_SITE_Q_NORM   ? net->config->heads
           : kind == PB_SITE_K_NORM ? net->config->kv_heads
                                    : 1;
}

pb_status layer_norm_forward(pb_network *net, const pass *p, pb_site_kind kind, int64_t layer,
                             pb_tensor *y, const pb_tensor *x)
{
    return network_norm_forward(net, p, network_site(net, kind, layer), norm_heads(net, kind), y,
                                x);
}

pb_status layer_norm_backward(pb_network *net, const pass *p, pb_site_kind kind, int64_t layer,
                              pb_tensor *dx, const pb_tensor *dy, const pb_tensor *x, bool add)
{
    return network_norm_backward(net, p, network_site(net, kind, layer), norm_heads(net, kind), dx,
                                 dy, x, add);
}

pb_status layer_linear_forward(pb_network *net, const pass *p, pb_site_kind kind, int64_t layer,
                               pb_tensor *y, const pb_tensor *x)
{
    const pb_tensor none = {0};
    return network_linear_forward(net, p, network_site(net, kind, layer), y, x,
                                  &net->layers[layer].kept[kind], &none);
}

pb_status layer_linear_backward(pb_network *net, const pass *p, pb_site_kind kind, int64_t layer,
                                pb_tensor *dy, const pb_tensor *x, pb_tensor *dx, bool accumulate)
{
    return network_linear_backward(net, p, network_site(net, kind, layer), dy, x, dx, accumulate,
                                   &net->layers[layer].kept[kind]);
}

pb_status layer_out_forward(pb_network *net, const pass *p, pb_site_kind linear, pb_site_kind norm,
                            int64_t layer, pb_tensor *y, pb_tensor *raw, const pb_tensor *x,
                            const pb_tensor *residual)
{
    if (!layer_has(net, norm)) {
        return network_linear_forward(net, p, network_site(net, linear, layer), y, x,
                                      &net->layers[layer].kept[linear], residual);
    }
    PB_TRY(layer_linear_forward(net, p, linear, layer, raw, x));
    PB_TRY(layer_norm_forward(net, p, norm, layer, y, raw));
    return pb_axpy(net->backend, y, 1.0f, residual);
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
        PB_TRY(layer_norm_backward(net, p, norm, layer, &dy, dx, raw, false));
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
