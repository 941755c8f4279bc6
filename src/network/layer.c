// SPDX-License-Identifier: Apache-2.0
/* One decoder layer, forward and backward:
 *
 *     mid = x + Nₐ(O(attention(rope(Q h), rope(K h), V h))),   h  = rmsnorm(x)
 *     out = mid + Nₘ(Down(act(Gate h') · Up h')),              h' = rmsnorm(mid)
 *
 * Nₐ and Nₘ are norms in some families and absent in the others; so are norms on the heads of Q h
 * and K h. In the last layer only the wanted rows have queries and a feed-forward part. The
 * backward has h, h' and the gated product again from what was kept, and only where a trained site
 * reads them. The blocks are in attention_block.c and feed_forward.c; here is what they share. */
#include "internal.h"

bool layer_is_last(const pb_network *net, int64_t layer)
{
    return layer == net->config->layers - 1;
}

bool layer_is_subset(const pb_network *net, const pass *p, int64_t layer)
{
    return layer_is_last(net, layer) && p->out_rows != NULL;
}

bool layer_has(const pb_network *net, pb_site_kind kind)
{
    return network_site(net, kind, 0) != NULL;
}

bool layer_trains(const pb_network *net, pb_site_kind kind, int64_t layer)
{
    const pb_site *site = network_site(net, kind, layer);
    return site != NULL && net->acts[site->index] != 0;
}

pb_status layer_norm_forward(pb_network *net, pb_site_kind kind, int64_t layer, pb_tensor *y,
                             const pb_tensor *x)
{
    const pb_binding *bound = &net->bindings[network_site(net, kind, layer)->index];
    pb_rmsnorm_args args    = network_norm_args(net);
    return pb_rmsnorm_forward(net->backend, y, x, &bound->weight, &args);
}

pb_status layer_norm_backward(pb_network *net, pb_site_kind kind, int64_t layer, pb_tensor *dx,
                              const pb_tensor *dy, const pb_tensor *x)
{
    pb_binding *bound    = &net->bindings[network_site(net, kind, layer)->index];
    pb_tensor *dweight   = pb_tensor_is_none(&bound->dweight) ? NULL : &bound->dweight;
    pb_rmsnorm_args args = network_norm_args(net);
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

/* The gradient by W x lies apart from that of the residual where a norm or the method changes it.
 */
pb_status layer_out_backward(pb_network *net, const pass *p, pb_site_kind linear, pb_site_kind norm,
                             int64_t layer, const pb_tensor *dx, const pb_tensor *raw,
                             const pb_tensor *x, pb_tensor *dinput)
{
    pb_tensor dy = *dx;
    if (layer_has(net, norm)) {
        dy = pb_tensor_rows(&net->scratch.dy, 0, dx->shape[0]);
        PB_TRY(pb_zero(net->backend, &dy));
        PB_TRY(layer_norm_backward(net, norm, layer, &dy, dx, raw));
    } else if (network_linear_changes_dy(net, network_site(net, linear, layer))) {
        dy = pb_tensor_rows(&net->scratch.dy, 0, dx->shape[0]);
        PB_TRY(pb_copy(net->backend, &dy, dx));
    }
    return layer_linear_backward(net, p, linear, layer, &dy, x, dinput, false);
}

pb_status network_layer_forward(pb_network *net, const pass *p, int64_t layer)
{
    PB_TRY(layer_attention_forward(net, p, layer));
    return layer_feed_forward_forward(net, p, layer);
}

pb_status network_layer_backward(pb_network *net, const pass *p, int64_t layer)
{
    scratch *s = &net->scratch;
    PB_TRY(layer_feed_forward_backward(net, p, layer,
                                       layer_is_subset(net, p, layer) ? &s->dxq : &s->dx));
    return net->needs[layer].attn ? layer_attention_backward(net, p, layer) : PB_OK;
}
