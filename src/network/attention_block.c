// SPDX-License-Identifier: Apache-2.0
/* The attention block: mid = x + N(O(attention(rope(Q h), rope(K h), V h))), h = rmsnorm(x). Q, K
 * and V are three products, or parts of one; some families apply a norm to every head of Q h
 * and K h before rope. Keys and values live in the pass, or in a cache of the caller. */
#include "internal.h"

/* Positions of the rows that have queries. */
static const pb_list *query_positions(const pb_network *net, const pass *p, int64_t layer)
{
    return layer_is_subset(net, p, layer) ? &p->page.out_positions : &p->page.positions;
}

static pb_status rope(pb_network *net, int64_t layer, pb_tensor *x, const pb_list *positions,
                      int64_t heads, bool inverse)
{
    const pb_model_config *c = net->config;
    float *data              = net->memory->rope[c->two_ropes && c->sliding[layer] ? 1 : 0];
    pb_tensor table = pb_tensor_2d(data, PB_DTYPE_F32, net->memory->rope_positions, c->head_dim);
    return pb_rope(net->backend, x, &table, positions, heads, inverse);
}

/* x [T, heads·E] as [T·heads, E]; it is contiguous. */
static pb_tensor by_head(const pb_network *net, const pb_tensor *x)
{
    int64_t width = net->config->head_dim;
    return pb_tensor_2d(x->data, x->dtype, pb_tensor_count(x) / width, width);
}

static pb_status head_norm_forward(pb_network *net, const pass *p, pb_site_kind kind, int64_t layer,
                                   pb_tensor *y, const pb_tensor *raw)
{
    pb_tensor y_heads   = by_head(net, y);
    pb_tensor raw_heads = by_head(net, raw);
    return layer_norm_forward(net, p, kind, layer, &y_heads, &raw_heads);
}

/* draw = */
static pb_status head_norm_backward(pb_network *net, const pass *p, pb_site_kind kind,
                                    int64_t layer, pb_tensor *draw, const pb_tensor *dy,
                                    const pb_tensor *raw)
{
    pb_tensor draw_heads = by_head(net, draw);
    pb_tensor dy_heads   = by_head(net, dy);
    pb_tensor raw_heads  = by_head(net, raw);
    return layer_norm_backward(net, p, kind, layer, &draw_heads, &dy_heads, &raw_heads, false);
}

/* Columns of layer `layer` in the virtual keys [n, L·2·K·E]: its keys (half 0) or values (half 1).
 */
static pb_tensor virtual_part(const pb_network *net, const pb_tensor *all, int64_t layer, int half)
{
    int64_t width = net->config->kv_heads * net->config->head_dim;
    return pb_tensor_columns(all, (2 * layer + half) * width, width);
}

/* The parts of the product that makes queries, keys and values at once. */
static void fused_parts(const pb_network *net, const pb_tensor *qkv, pb_tensor *q, pb_tensor *k,
                        pb_tensor *v)
{
    const pb_model_config *c = net->config;
    int64_t q_width          = c->heads * c->head_dim;
    int64_t kv_width         = c->kv_heads * c->head_dim;
    *q                       = pb_tensor_columns(qkv, 0, q_width);
    *k                       = pb_tensor_columns(qkv, q_width, kv_width);
    *v                       = pb_tensor_columns(qkv, q_width + kv_width, kv_width);
}

/* The key store of the layer: the pass's own, or the caller's cache. */
static void key_store(pb_network *net, const pass *p, int64_t layer, pb_tensor *keys,
                      pb_tensor *values)
{
    *keys   = p->cache != NULL ? p->cache->keys[layer] : net->layers[layer].keys;
    *values = p->cache != NULL ? p->cache->values[layer] : net->layers[layer].values;
}

/* Keys before rope and values of all rows, into k and v. */
static pb_status key_products(pb_network *net, const pass *p, int64_t layer, const pb_tensor *h,
                              pb_tensor *k, pb_tensor *v)
{
    layer_acts *a      = &net->layers[layer];
    bool normed        = layer_has(net, PB_SITE_K_NORM);
    pb_tensor *product = normed ? &a->raw_k : k;
    if (layer_has(net, PB_SITE_QKV)) {
        pb_tensor q_part;
        pb_tensor k_part;
        pb_tensor v_part;
        PB_TRY(layer_linear_forward(net, p, PB_SITE_QKV, layer, &net->scratch.qkv, h));
        fused_parts(net, &net->scratch.qkv, &q_part, &k_part, &v_part);
        PB_TRY(pb_copy(net->backend, product, &k_part));
        PB_TRY(pb_copy(net->backend, v, &v_part));
    } else {
        PB_TRY(layer_linear_forward(net, p, PB_SITE_K, layer, product, h));
        PB_TRY(layer_linear_forward(net, p, PB_SITE_V, layer, v, h));
    }
    return normed ? head_norm_forward(net, p, PB_SITE_K_NORM, layer, k, &a->raw_k) : PB_OK;
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
    PB_TRY(key_products(net, p, layer, h, &k, &v));
    PB_TRY(rope(net, layer, &k, &p->page.positions, net->config->kv_heads, false));
    if (cached) {
        PB_TRY(pb_put_rows(net->backend, &keys, &k, &p->page.key_rows));
        PB_TRY(pb_put_rows(net->backend, &values, &v, &p->page.key_rows));
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

/* Queries of the wanted rows. Where one product makes all three, keys_forward has run it. */
static pb_status queries_forward(pb_network *net, const pass *p, int64_t layer)
{
    layer_acts *a      = &net->layers[layer];
    scratch *s         = &net->scratch;
    bool subset        = layer_is_subset(net, p, layer);
    bool normed        = layer_has(net, PB_SITE_Q_NORM);
    pb_tensor *product = normed ? &a->raw_q : &a->q;
    if (layer_has(net, PB_SITE_QKV)) {
        pb_tensor q_part;
        pb_tensor k_part;
        pb_tensor v_part;
        fused_parts(net, &s->qkv, &q_part, &k_part, &v_part);
        PB_TRY(subset ? pb_gather(net->backend, product, &q_part, &p->page.out_rows)
                      : pb_copy(net->backend, product, &q_part));
    } else if (subset) {
        PB_TRY(pb_gather(net->backend, &s->hq, &s->h, &p->page.out_rows));
        PB_TRY(layer_linear_forward(net, p, PB_SITE_Q, layer, product, &s->hq));
    } else {
        PB_TRY(layer_linear_forward(net, p, PB_SITE_Q, layer, product, &s->h));
    }
    if (normed) {
        PB_TRY(head_norm_forward(net, p, PB_SITE_Q_NORM, layer, &a->q, &a->raw_q));
    }
    return rope(net, layer, &a->q, query_positions(net, p, layer), net->config->heads, false);
}

pb_status layer_attention_forward(pb_network *net, const pass *p, int64_t layer)
{
    layer_acts *a = &net->layers[layer];
    scratch *s    = &net->scratch;
    PB_TRY(layer_norm_forward(net, p, PB_SITE_ATTN_NORM, layer, &s->h, &a->x));
    PB_TRY(keys_forward(net, p, layer, &s->h));
    PB_TRY(queries_forward(net, p, layer));
    pb_tensor keys;
    pb_tensor values;
    key_store(net, p, layer, &keys, &values);
    PB_TRY(pb_attention_forward(net->backend, &a->attn, &a->lse, &a->q, &keys, &values,
                                layer_plan(net, p, layer)));
    const pb_tensor *residual = &a->x;
    if (layer_is_subset(net, p, layer)) {
        residual = &s->out; /* free until later */
        PB_TRY(pb_gather(net->backend, &s->out, &a->x, &p->page.out_rows));
    }
    return layer_out_forward(net, p, PB_SITE_O, PB_SITE_ATTN_OUT_NORM, layer, &a->mid, &a->attn_out,
                             &a->attn, residual);
}

/* Gradients of q and k as their products gave them, and by v. They move between scratch tensors on
 * their way through the norms of the heads. */
typedef struct core_gradients {
    pb_tensor q, k, v;
} core_gradients;

/* Through attention, rope and the norms of the heads; the gradients of the virtual keys go to the
 * method's buffer. */
static pb_status core_backward(pb_network *net, const pass *p, int64_t layer, pb_tensor *dattn,
                               core_gradients *d)
{
    layer_acts *a = &net->layers[layer];
    scratch *s    = &net->scratch;
    int64_t first = p->shape.virtual_keys;
    d->q          = pb_tensor_rows(&s->dq, 0, a->q.shape[0]);
    d->k          = pb_tensor_rows(&s->dkeys, first, p->shape.rows);
    d->v          = pb_tensor_rows(&s->dvalues, first, p->shape.rows);
    PB_TRY(pb_attention_backward(net->backend, &d->q, &s->dkeys, &s->dvalues, dattn, &a->attn,
                                 &a->lse, &a->q, &a->keys, &a->values, layer_plan(net, p, layer)));
    PB_TRY(rope(net, layer, &d->k, &p->page.positions, net->config->kv_heads, true));
    PB_TRY(rope(net, layer, &d->q, query_positions(net, p, layer), net->config->heads, true));
    if (first > 0) {
        pb_tensor dk_part = virtual_part(net, &s->dvirtual_keys, layer, 0);
        pb_tensor dv_part = virtual_part(net, &s->dvirtual_keys, layer, 1);
        pb_tensor dk_root = pb_tensor_rows(&s->dkeys, 0, first);
        pb_tensor dv_root = pb_tensor_rows(&s->dvalues, 0, first);
        PB_TRY(pb_copy(net->backend, &dk_part, &dk_root));
        PB_TRY(pb_copy(net->backend, &dv_part, &dv_root));
    }
    if (!layer_has(net, PB_SITE_Q_NORM)) {
        return PB_OK;
    }
    /* dattn has been used, then dq: both are wide enough for what comes next. */
    pb_tensor raw_q = pb_tensor_2d(s->dattn.data, net->act, d->q.shape[0], d->q.shape[1]);
    pb_tensor raw_k = pb_tensor_2d(s->dq.data, net->act, d->k.shape[0], d->k.shape[1]);
    PB_TRY(head_norm_backward(net, p, PB_SITE_Q_NORM, layer, &raw_q, &d->q, &a->raw_q));
    PB_TRY(head_norm_backward(net, p, PB_SITE_K_NORM, layer, &raw_k, &d->k, &a->raw_k));
    d->q = raw_q;
    d->k = raw_k;
    return PB_OK;
}

/* dh = , through the one product of all three. */
static pb_status fused_backward(pb_network *net, const pass *p, int64_t layer,
                                const core_gradients *d, pb_tensor *dh)
{
    scratch *s = &net->scratch;
    pb_tensor q_part;
    pb_tensor k_part;
    pb_tensor v_part;
    fused_parts(net, &s->dqkv, &q_part, &k_part, &v_part);
    if (layer_is_subset(net, p, layer)) {
        PB_TRY(pb_zero(net->backend, &q_part));
        PB_TRY(pb_scatter_add(net->backend, &q_part, &d->q, &p->page.out_rows));
    } else {
        PB_TRY(pb_copy(net->backend, &q_part, &d->q));
    }
    PB_TRY(pb_copy(net->backend, &k_part, &d->k));
    PB_TRY(pb_copy(net->backend, &v_part, &d->v));
    return layer_linear_backward(net, p, PB_SITE_QKV, layer, &s->dqkv, &s->h, dh, false);
}

/* dh = , through three products; it is none where it is not wanted. */
static pb_status separate_backward(pb_network *net, const pass *p, int64_t layer, core_gradients *d,
                                   pb_tensor *dh)
{
    scratch *s     = &net->scratch;
    bool wanted    = !pb_tensor_is_none(dh);
    pb_tensor none = {0};
    PB_TRY(layer_linear_backward(net, p, PB_SITE_K, layer, &d->k, &s->h, dh, false));
    PB_TRY(layer_linear_backward(net, p, PB_SITE_V, layer, &d->v, &s->h, dh, true));
    if (!layer_is_subset(net, p, layer)) {
        return layer_linear_backward(net, p, PB_SITE_Q, layer, &d->q, &s->h, dh, true);
    }
    PB_TRY(layer_linear_backward(net, p, PB_SITE_Q, layer, &d->q, &s->hq, wanted ? &s->dhq : &none,
                                 false));
    return wanted ? pb_scatter_add(net->backend, dh, &s->dhq, &p->page.out_rows) : PB_OK;
}

/* scratch.dx [T, D]: holds the residual's part on entry. */
static pb_status projections_backward(pb_network *net, const pass *p, int64_t layer,
                                      core_gradients *d)
{
    layer_acts *a  = &net->layers[layer];
    scratch *s     = &net->scratch;
    bool dh_wanted = net->needs[layer].dx || layer_trains(net, PB_SITE_ATTN_NORM, layer);
    bool reads_h   = layer_trains(net, PB_SITE_Q, layer) || layer_trains(net, PB_SITE_K, layer) ||
                   layer_trains(net, PB_SITE_V, layer) || layer_trains(net, PB_SITE_QKV, layer);
    pb_tensor none  = {0};
    pb_tensor *into = dh_wanted ? &s->dh : &none;
    if (!dh_wanted && !reads_h) {
        return PB_OK;
    }
    if (reads_h) {
        PB_TRY(layer_norm_forward(net, p, PB_SITE_ATTN_NORM, layer, &s->h, &a->x));
        if (layer_is_subset(net, p, layer)) {
            PB_TRY(pb_gather(net->backend, &s->hq, &s->h, &p->page.out_rows));
        }
    }
    PB_TRY(layer_has(net, PB_SITE_QKV) ? fused_backward(net, p, layer, d, into)
                                       : separate_backward(net, p, layer, d, into));
    return dh_wanted
               ? layer_norm_backward(net, p, PB_SITE_ATTN_NORM, layer, &s->dx, &s->dh, &a->x, true)
               : PB_OK;
}

pb_status layer_attention_backward(pb_network *net, const pass *p, int64_t layer)
{
    layer_acts *a   = &net->layers[layer];
    scratch *s      = &net->scratch;
    bool subset     = layer_is_subset(net, p, layer);
    pb_tensor *dx   = subset ? &s->dxq : &s->dx;
    pb_tensor dattn = pb_tensor_rows(&s->dattn, 0, a->attn.shape[0]);
    core_gradients d;
    PB_TRY(layer_out_backward(net, p, PB_SITE_O, PB_SITE_ATTN_OUT_NORM, layer, dx, &a->attn_out,
                              &a->attn, &dattn));
    PB_TRY(core_backward(net, p, layer, &dattn, &d));
    if (subset) {
        PB_TRY(pb_zero(net->backend, &s->dx));
        PB_TRY(pb_scatter_add(net->backend, &s->dx, &s->dxq, &p->page.out_rows));
    }
    return projections_backward(net, p, layer, &d);
}
