// SPDX-License-Identifier: Apache-2.0
/* One decoder layer, forward and backward:
 *
 *     mid = x + O(attention(rope(Q h), rope(K h), V h)),   h  = rmsnorm(x)
 *     out = mid + Down(act(Gate h') · Up h'),              h' = rmsnorm(mid)
 *
 * In the last layer only the wanted rows have queries and a feed-forward part. The backward has h,
 * h' and the gated product again from what was kept, and only where a trained site reads them. */
#include "internal.h"

#include <math.h>

static bool is_last(const pb_network *net, int64_t layer)
{
    return layer == net->config->layers - 1;
}

/* Only some rows of this layer are wanted. */
static bool is_subset(const pb_network *net, const pass *p, int64_t layer)
{
    return is_last(net, layer) && p->out_rows != NULL;
}

static bool trains(const pb_network *net, pb_site_kind kind, int64_t layer)
{
    return net->acts[network_site(net, kind, layer)->index] != 0;
}

static pb_status norm_forward(pb_network *net, pb_site_kind kind, int64_t layer, pb_tensor *y,
                              const pb_tensor *x)
{
    const pb_binding *bound = &net->bindings[network_site(net, kind, layer)->index];
    return pb_rmsnorm_forward(net->backend, y, x, &bound->weight, (float)net->config->rms_eps);
}

static pb_status norm_backward(pb_network *net, pb_site_kind kind, int64_t layer, pb_tensor *dx,
                               const pb_tensor *dy, const pb_tensor *x)
{
    pb_binding *bound  = &net->bindings[network_site(net, kind, layer)->index];
    pb_tensor *dweight = pb_tensor_is_none(&bound->dweight) ? NULL : &bound->dweight;
    return pb_rmsnorm_backward(net->backend, dx, dweight, dy, x, &bound->weight,
                               (float)net->config->rms_eps);
}

static pb_status linear_forward(pb_network *net, const pass *p, pb_site_kind kind, int64_t layer,
                                pb_tensor *y, const pb_tensor *x)
{
    return network_linear_forward(net, p, network_site(net, kind, layer), y, x,
                                  &net->layers[layer].kept[kind]);
}

static pb_status linear_backward(pb_network *net, const pass *p, pb_site_kind kind, int64_t layer,
                                 pb_tensor *dy, const pb_tensor *x, pb_tensor *dx, bool accumulate)
{
    return network_linear_backward(net, p, network_site(net, kind, layer), dy, x, dx, accumulate,
                                   &net->layers[layer].kept[kind]);
}

static pb_attention_args attention_args(const pb_network *net, const pass *p, int64_t layer)
{
    const pb_model_config *c = net->config;
    bool subset              = is_subset(net, p, layer);
    return (pb_attention_args){
        .forest     = p->forest,
        .heads      = c->heads,
        .kv_heads   = c->kv_heads,
        .head_dim   = c->head_dim,
        .scale      = (float)(1.0 / sqrt((double)c->head_dim)),
        .only_rows  = subset ? p->out_rows : NULL,
        .only_count = subset ? p->shape.outs : 0,
    };
}

/* Columns of layer `layer` in the virtual keys [n, L·2·K·E]: its keys (half 0) or values (half 1).
 */
static pb_tensor virtual_part(const pb_network *net, const pb_tensor *all, int64_t layer, int half)
{
    int64_t width = net->config->kv_heads * net->config->head_dim;
    return pb_tensor_columns(all, (2 * layer + half) * width, width);
}

/* Puts new keys or values behind those that a segment has in the cache. */
static pb_status to_cache(pb_network *net, const pass *p, pb_tensor *store, const pb_tensor *fresh)
{
    for (int64_t i = 0; i < p->forest->count; i++) {
        const pb_segment *s = &p->forest->segments[i];
        if (s->rows > 0) {
            pb_tensor to   = pb_tensor_rows(store, s->key + s->length - s->rows, s->rows);
            pb_tensor from = pb_tensor_rows(fresh, s->row, s->rows);
            PB_TRY(pb_copy(net->backend, &to, &from));
        }
    }
    return PB_OK;
}

/* The key store of the layer: the pass's own, or the caller's cache. */
static void key_store(pb_network *net, const pass *p, int64_t layer, pb_tensor *keys,
                      pb_tensor *values)
{
    *keys   = p->cache != NULL ? p->cache->keys[layer] : net->layers[layer].keys;
    *values = p->cache != NULL ? p->cache->values[layer] : net->layers[layer].values;
}

/* Keys and values of the rows of this pass, and of the virtual keys before them. */
static pb_status keys_forward(pb_network *net, const pass *p, int64_t layer, const pb_tensor *h)
{
    pb_tensor keys;
    pb_tensor values;
    key_store(net, p, layer, &keys, &values);
    bool cached   = p->cache != NULL;
    int64_t first = p->shape.virtual_keys;
    pb_tensor k   = cached ? net->scratch.new_keys : pb_tensor_rows(&keys, first, p->shape.rows);
    pb_tensor v = cached ? net->scratch.new_values : pb_tensor_rows(&values, first, p->shape.rows);
    PB_TRY(linear_forward(net, p, PB_SITE_K, layer, &k, h));
    PB_TRY(linear_forward(net, p, PB_SITE_V, layer, &v, h));
    pb_tensor table =
        pb_tensor_2d(net->rope, PB_DTYPE_F32, net->rope_positions, net->config->head_dim);
    PB_TRY(pb_rope(net->backend, &k, &table, p->positions, net->config->kv_heads, false));
    if (cached) {
        PB_TRY(to_cache(net, p, &keys, &k));
        PB_TRY(to_cache(net, p, &values, &v));
    }
    if (first > 0) {
        pb_tensor k_part = virtual_part(net, &net->scratch.virtual_keys, layer, 0);
        pb_tensor v_part = virtual_part(net, &net->scratch.virtual_keys, layer, 1);
        pb_tensor k_root = pb_tensor_rows(&keys, 0, first);
        pb_tensor v_root = pb_tensor_rows(&values, 0, first);
        PB_TRY(pb_copy(net->backend, &k_root, &k_part));
        PB_TRY(pb_copy(net->backend, &v_root, &v_part));
    }
    return PB_OK;
}

static pb_status attention_block_forward(pb_network *net, const pass *p, int64_t layer)
{
    layer_acts *a = &net->layers[layer];
    scratch *s    = &net->scratch;
    bool subset   = is_subset(net, p, layer);
    PB_TRY(norm_forward(net, PB_SITE_ATTN_NORM, layer, &s->h, &a->x));
    PB_TRY(keys_forward(net, p, layer, &s->h));
    pb_tensor *hq = &s->h;
    if (subset) {
        hq = &s->hq;
        PB_TRY(pb_gather(net->backend, hq, &s->h, p->out_rows));
    }
    PB_TRY(linear_forward(net, p, PB_SITE_Q, layer, &a->q, hq));
    pb_tensor table =
        pb_tensor_2d(net->rope, PB_DTYPE_F32, net->rope_positions, net->config->head_dim);
    PB_TRY(pb_rope(net->backend, &a->q, &table, subset ? p->out_positions : p->positions,
                   net->config->heads, false));
    pb_tensor keys;
    pb_tensor values;
    key_store(net, p, layer, &keys, &values);
    pb_attention_args args = attention_args(net, p, layer);
    PB_TRY(pb_attention_forward(net->backend, &a->attn, &a->lse, &a->q, &keys, &values, &args));
    PB_TRY(linear_forward(net, p, PB_SITE_O, layer, &a->mid, &a->attn));
    if (subset) {
        PB_TRY(pb_gather(net->backend, &s->hq, &a->x, p->out_rows));
        return pb_axpy(net->backend, &a->mid, 1.0f, &s->hq);
    }
    return pb_axpy(net->backend, &a->mid, 1.0f, &a->x);
}

pb_status network_layer_forward(pb_network *net, const pass *p, int64_t layer)
{
    layer_acts *a = &net->layers[layer];
    scratch *s    = &net->scratch;
    PB_TRY(attention_block_forward(net, p, layer));
    int64_t wanted = a->mid.shape[0];
    pb_tensor h    = pb_tensor_rows(&s->h, 0, wanted);
    pb_tensor act  = pb_tensor_rows(&s->act, 0, wanted);
    PB_TRY(norm_forward(net, PB_SITE_MLP_NORM, layer, &h, &a->mid));
    PB_TRY(linear_forward(net, p, PB_SITE_GATE, layer, &a->gate, &h));
    PB_TRY(linear_forward(net, p, PB_SITE_UP, layer, &a->up, &h));
    PB_TRY(pb_gated_forward(net->backend, &act, &a->gate, &a->up, net->config->activation));
    pb_tensor *out = is_last(net, layer) ? &s->out : &net->layers[layer + 1].x;
    PB_TRY(linear_forward(net, p, PB_SITE_DOWN, layer, out, &act));
    return pb_axpy(net->backend, out, 1.0f, &a->mid);
}

/* A gradient that the method may change in place, apart from the residual's. */
static pb_status own_dy(pb_network *net, pb_site_kind kind, int64_t layer, pb_tensor *dx,
                        pb_tensor *dy)
{
    *dy = *dx;
    if (!network_linear_changes_dy(net, network_site(net, kind, layer))) {
        return PB_OK;
    }
    *dy = pb_tensor_rows(&net->scratch.dy, 0, dx->shape[0]);
    return pb_copy(net->backend, dy, dx);
}

/* dx: gradient by `out` on entry, by `mid` on return (where the attention block needs it). */
static pb_status feed_forward_backward(pb_network *net, const pass *p, int64_t layer, pb_tensor *dx)
{
    layer_acts *a     = &net->layers[layer];
    scratch *s        = &net->scratch;
    int64_t wanted    = dx->shape[0];
    bool attn         = net->needs[layer].attn;
    bool trains_input = trains(net, PB_SITE_GATE, layer) || trains(net, PB_SITE_UP, layer);
    bool dh_wanted    = attn || trains(net, PB_SITE_MLP_NORM, layer);
    pb_tensor none    = {0};
    pb_tensor act     = pb_tensor_rows(&s->act, 0, wanted);
    pb_tensor dgate   = pb_tensor_rows(&s->dgate, 0, wanted);
    pb_tensor dup     = pb_tensor_rows(&s->dup, 0, wanted);
    pb_tensor h       = pb_tensor_rows(&s->h, 0, wanted);
    pb_tensor dh      = pb_tensor_rows(&s->dh, 0, wanted);
    pb_tensor dy;
    if (trains(net, PB_SITE_DOWN, layer)) {
        PB_TRY(pb_gated_forward(net->backend, &act, &a->gate, &a->up, net->config->activation));
    }
    PB_TRY(own_dy(net, PB_SITE_DOWN, layer, dx, &dy));
    bool further = dh_wanted || trains_input;
    PB_TRY(linear_backward(net, p, PB_SITE_DOWN, layer, &dy, &act, further ? &dup : &none, false));
    if (!further) {
        return PB_OK;
    }
    PB_TRY(pb_gated_backward(net->backend, &dgate, &dup, &dup, &a->gate, &a->up,
                             net->config->activation));
    if (trains_input) {
        PB_TRY(norm_forward(net, PB_SITE_MLP_NORM, layer, &h, &a->mid));
    }
    pb_tensor *into = dh_wanted ? &dh : &none;
    PB_TRY(linear_backward(net, p, PB_SITE_GATE, layer, &dgate, &h, into, false));
    PB_TRY(linear_backward(net, p, PB_SITE_UP, layer, &dup, &h, into, true));
    return dh_wanted ? norm_backward(net, PB_SITE_MLP_NORM, layer, dx, &dh, &a->mid) : PB_OK;
}

/* Gradients by q, k, v before rope; those of the virtual keys go to the method's buffer. */
static pb_status attention_core_backward(pb_network *net, const pass *p, int64_t layer,
                                         pb_tensor *dattn, pb_tensor *dq)
{
    layer_acts *a          = &net->layers[layer];
    scratch *s             = &net->scratch;
    int64_t first          = p->shape.virtual_keys;
    pb_attention_args args = attention_args(net, p, layer);
    PB_TRY(pb_zero(net->backend, &s->dkeys));
    PB_TRY(pb_zero(net->backend, &s->dvalues));
    PB_TRY(pb_attention_backward(net->backend, dq, &s->dkeys, &s->dvalues, dattn, &a->attn, &a->lse,
                                 &a->q, &a->keys, &a->values, &args));
    pb_tensor table =
        pb_tensor_2d(net->rope, PB_DTYPE_F32, net->rope_positions, net->config->head_dim);
    pb_tensor dk = pb_tensor_rows(&s->dkeys, first, p->shape.rows);
    PB_TRY(pb_rope(net->backend, &dk, &table, p->positions, net->config->kv_heads, true));
    PB_TRY(pb_rope(net->backend, dq, &table,
                   is_subset(net, p, layer) ? p->out_positions : p->positions, net->config->heads,
                   true));
    if (first > 0) {
        pb_tensor dk_part = virtual_part(net, &s->dvirtual_keys, layer, 0);
        pb_tensor dv_part = virtual_part(net, &s->dvirtual_keys, layer, 1);
        pb_tensor dk_root = pb_tensor_rows(&s->dkeys, 0, first);
        pb_tensor dv_root = pb_tensor_rows(&s->dvalues, 0, first);
        PB_TRY(pb_copy(net->backend, &dk_part, &dk_root));
        PB_TRY(pb_copy(net->backend, &dv_part, &dv_root));
    }
    return PB_OK;
}

/* dx [T, D]: holds the residual's part on entry. */
static pb_status projections_backward(pb_network *net, const pass *p, int64_t layer, pb_tensor *dq)
{
    layer_acts *a  = &net->layers[layer];
    scratch *s     = &net->scratch;
    bool subset    = is_subset(net, p, layer);
    bool dh_wanted = net->needs[layer].dx || trains(net, PB_SITE_ATTN_NORM, layer);
    bool reads_h   = trains(net, PB_SITE_Q, layer) || trains(net, PB_SITE_K, layer) ||
                   trains(net, PB_SITE_V, layer);
    pb_tensor none  = {0};
    pb_tensor *into = dh_wanted ? &s->dh : &none;
    if (reads_h) {
        PB_TRY(norm_forward(net, PB_SITE_ATTN_NORM, layer, &s->h, &a->x));
        if (subset) {
            PB_TRY(pb_gather(net->backend, &s->hq, &s->h, p->out_rows));
        }
    }
    pb_tensor dk = pb_tensor_rows(&s->dkeys, p->shape.virtual_keys, p->shape.rows);
    pb_tensor dv = pb_tensor_rows(&s->dvalues, p->shape.virtual_keys, p->shape.rows);
    PB_TRY(linear_backward(net, p, PB_SITE_K, layer, &dk, &s->h, into, false));
    PB_TRY(linear_backward(net, p, PB_SITE_V, layer, &dv, &s->h, into, true));
    if (!subset) {
        PB_TRY(linear_backward(net, p, PB_SITE_Q, layer, dq, &s->h, into, true));
    } else {
        PB_TRY(linear_backward(net, p, PB_SITE_Q, layer, dq, &s->hq, dh_wanted ? &s->dhq : &none,
                               false));
        if (dh_wanted) {
            PB_TRY(pb_scatter_add(net->backend, &s->dh, &s->dhq, p->out_rows));
        }
    }
    return dh_wanted ? norm_backward(net, PB_SITE_ATTN_NORM, layer, &s->dx, &s->dh, &a->x) : PB_OK;
}

/* The gradient by the layer's output is in scratch.dxq (last layer) or scratch.dx; that by its
 * input goes to dx. */
pb_status network_layer_backward(pb_network *net, const pass *p, int64_t layer)
{
    layer_acts *a = &net->layers[layer];
    scratch *s    = &net->scratch;
    bool subset   = is_subset(net, p, layer);
    pb_tensor *dx = subset ? &s->dxq : &s->dx;
    PB_TRY(feed_forward_backward(net, p, layer, dx));
    if (!net->needs[layer].attn) {
        return PB_OK;
    }
    pb_tensor dattn = pb_tensor_rows(&s->dattn, 0, a->attn.shape[0]);
    pb_tensor dq    = pb_tensor_rows(&s->dq, 0, a->q.shape[0]);
    pb_tensor dy;
    PB_TRY(own_dy(net, PB_SITE_O, layer, dx, &dy));
    PB_TRY(linear_backward(net, p, PB_SITE_O, layer, &dy, &a->attn, &dattn, false));
    PB_TRY(attention_core_backward(net, p, layer, &dattn, &dq));
    if (subset) {
        PB_TRY(pb_zero(net->backend, &s->dx));
        PB_TRY(pb_scatter_add(net->backend, &s->dx, &s->dxq, p->out_rows));
    }
    return projections_backward(net, p, layer, &dq);
}
