// SPDX-License-Identifier: Apache-2.0
/* One decoder layer, forward and backward:
 *
 *     mid = x + Nₐ(O(attention(rope(Q h), rope(K h), V h))),   h  = rmsnorm(x)
 *     out = mid + Nₘ(Down(act(Gate h') · Up h')),              h' = rmsnorm(mid)
 *
 * Nₐ and Nₘ are norms in some families and absent in the others; so are norms on the heads of Q h
 * and K h. In the last layer only the wanted rows have queries and a feed-forward part. The
 * backward recomputes h, h' and the gated product from what was kept, and only where a trained site
 * reads them. */
#include "internal.h"

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
