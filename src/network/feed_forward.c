// SPDX-License-Identifier: Apache-2.0
/* The feed-forward block: out = mid + N(Down(act(Gate h) · Up h)), h = rmsnorm(mid). Gate and up
 * are two products, or the halves of one. */
#include "internal.h"

pb_status layer_feed_forward_forward(pb_network *net, const pass *p, int64_t layer)
{
    layer_acts *a  = &net->layers[layer];
    scratch *s     = &net->scratch;
    int64_t wanted = a->mid.shape[0];
    pb_tensor h    = pb_tensor_rows(&s->h, 0, wanted);
    pb_tensor act  = pb_tensor_rows(&s->act, 0, wanted);
    pb_tensor *out = layer_is_last(net, layer) ? &s->out : &net->layers[layer + 1].x;
    PB_TRY(layer_norm_forward(net, p, PB_SITE_MLP_NORM, layer, &h, &a->mid));
    if (layer_has(net, PB_SITE_GATE_UP)) {
        PB_TRY(layer_linear_forward(net, p, PB_SITE_GATE_UP, layer, &a->gate_up, &h));
    } else {
        PB_TRY(layer_linear_forward(net, p, PB_SITE_GATE, layer, &a->gate, &h));
        PB_TRY(layer_linear_forward(net, p, PB_SITE_UP, layer, &a->up, &h));
    }
    PB_TRY(pb_gated_forward(net->backend, &act, &a->gate, &a->up, net->config->activation));
    return layer_out_forward(net, p, PB_SITE_DOWN, PB_SITE_MLP_OUT_NORM, layer, out, &a->mlp_out,
                             &act, &a->mid);
}

/* Gradients of gate and up on entry; dh =, where it is wanted. */
static pb_status products_backward(pb_network *net, const pass *p, int64_t layer,
                                   const pb_tensor *h, pb_tensor *dh)
{
    scratch *s     = &net->scratch;
    int64_t wanted = h->shape[0];
    if (layer_has(net, PB_SITE_GATE_UP)) {
        pb_tensor both = pb_tensor_rows(&s->dgate_up, 0, wanted);
        return layer_linear_backward(net, p, PB_SITE_GATE_UP, layer, &both, h, dh, false);
    }
    pb_tensor dgate = pb_tensor_rows(&s->dgate, 0, wanted);
    pb_tensor dup   = pb_tensor_rows(&s->dup, 0, wanted);
    PB_TRY(layer_linear_backward(net, p, PB_SITE_GATE, layer, &dgate, h, dh, false));
    return layer_linear_backward(net, p, PB_SITE_UP, layer, &dup, h, dh, true);
}

pb_status layer_feed_forward_backward(pb_network *net, const pass *p, int64_t layer, pb_tensor *dx)
{
    layer_acts *a     = &net->layers[layer];
    scratch *s        = &net->scratch;
    int64_t wanted    = dx->shape[0];
    bool trains_input = layer_trains(net, PB_SITE_GATE, layer) ||
                        layer_trains(net, PB_SITE_UP, layer) ||
                        layer_trains(net, PB_SITE_GATE_UP, layer);
    bool dh_wanted  = net->needs[layer].attn || layer_trains(net, PB_SITE_MLP_NORM, layer);
    bool further    = dh_wanted || trains_input;
    pb_tensor none  = {0};
    pb_tensor act   = pb_tensor_rows(&s->act, 0, wanted);
    pb_tensor dgate = pb_tensor_rows(&s->dgate, 0, wanted);
    pb_tensor dup   = pb_tensor_rows(&s->dup, 0, wanted);
    pb_tensor h     = pb_tensor_rows(&s->h, 0, wanted);
    pb_tensor dh    = pb_tensor_rows(&s->dh, 0, wanted);
    if (layer_trains(net, PB_SITE_DOWN, layer)) {
        PB_TRY(pb_gated_forward(net->backend, &act, &a->gate, &a->up, net->config->activation));
    }
    PB_TRY(layer_out_backward(net, p, PB_SITE_DOWN, PB_SITE_MLP_OUT_NORM, layer, dx, &a->mlp_out,
                              &act, further ? &dup : &none));
    if (!further) {
        return PB_OK;
    }
    PB_TRY(pb_gated_backward(net->backend, &dgate, &dup, &dup, &a->gate, &a->up,
                             net->config->activation));
    if (trains_input) {
        PB_TRY(layer_norm_forward(net, p, PB_SITE_MLP_NORM, layer, &h, &a->mid));
    }
    PB_TRY(products_backward(net, p, layer, &h, dh_wanted ? &dh : &none));
    return dh_wanted ? layer_norm_backward(net, p, PB_SITE_MLP_NORM, layer, dx, &dh, &a->mid, true)
                     : PB_OK;
}
