// SPDX-License-Identifier: Apache-2.0
/* The layout of a pass: every view is given a place in one block of backend memory. The plan runs
 * twice over the same code, first to count bytes and then to hand out addresses. Layers whose
 * backward is not needed share one set of views; gradients exist only in a pass with a backward. */
#include "internal.h"

#include "pb/memory.h"

#include <inttypes.h>

#define ALIGNMENT 64

enum { DEVICE_CHUNK = 1024 }; /* rows of logits */

typedef struct plan {
    char *base; /* NULL while counting */
    size_t used;
    pb_dtype act;   /* of what passes between operations */
    int64_t border; /* of what products read */
} plan;

static void *place_bytes(plan *p, size_t bytes)
{
    void *data = p->base != NULL ? p->base + p->used : NULL;
    p->used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return data;
}

static pb_tensor place_matrix(plan *p, pb_dtype dtype, int64_t rows, int64_t columns)
{
    if (rows <= 0 || columns <= 0) {
        return (pb_tensor){0};
    }
    void *data = place_bytes(p, (size_t)rows * (size_t)columns * pb_dtype_size(dtype));
    return pb_tensor_2d(data, dtype, rows, columns);
}

/* What passes between operations. */
static pb_tensor place(plan *p, int64_t rows, int64_t columns)
{
    return place_matrix(p, p->act, rows, columns);
}

/* The same with a border. */
static pb_tensor place_factor(plan *p, int64_t rows, int64_t columns, int64_t border)
{
    pb_tensor all = place(p, rows, columns + border);
    return pb_tensor_is_none(&all) ? all : pb_tensor_narrow(&all, border);
}

/* The gradient of the residual stream, which products read where their factors are F32, too. */
static pb_tensor place_gradient(plan *p, int64_t rows, int64_t columns)
{
    return p->act == PB_DTYPE_F32 ? place_factor(p, rows, columns, p->border)
                                  : place_matrix(p, PB_DTYPE_F32, rows, columns);
}

/* The residual stream, statistics, logits, and what a method trains. */
static pb_tensor place_f32(plan *p, int64_t rows, int64_t columns)
{
    return place_matrix(p, PB_DTYPE_F32, rows, columns);
}

static pb_tensor place_vector(plan *p, pb_dtype dtype, int64_t n)
{
    return pb_tensor_1d(place_bytes(p, (size_t)n * pb_dtype_size(dtype)), dtype, n);
}

/* On the CPU 32 MiB of logits, and at least 16 rows. On a device, which pads, as many rows as keep
 * it busy. At most the outputs, or the labels there: a padded batch has the same chunks. */
int64_t network_chunk(const pb_network *net, int64_t outs, int64_t labels)
{
    bool device   = pb_backend_pads(net->backend);
    int64_t most  = device && labels > 0 ? labels : outs;
    int64_t chunk = (INT64_C(32) << 20) / (net->config->vocab * (int64_t)sizeof(float));
    chunk         = device ? DEVICE_CHUNK : chunk < 16 ? 16 : chunk;
    return chunk < most ? chunk : most;
}

/* Elements per row that the method keeps at each site of a layer: widths [PB_SITE_LAYER_KINDS]. */
static void kept_widths(const pb_network *net, int64_t layer, int64_t *widths)
{
    for (int kind = 0; kind < PB_SITE_LAYER_KINDS; kind++) {
        const pb_site *site = network_site(net, (pb_site_kind)kind, layer);
        widths[kind]        = site != NULL ? network_kept_width(net, site) : 0;
    }
}

/* Gate and up [rows, F], or their gradients: halves of one tensor where one product makes both. */
static void place_pair(const pb_network *net, plan *p, int64_t rows, int64_t border,
                       pb_tensor *both, pb_tensor *gate, pb_tensor *up)
{
    int64_t width = net->config->ff;
    if (network_site(net, PB_SITE_GATE_UP, 0) == NULL) {
        *gate = place_factor(p, rows, width, border);
        *up   = place_factor(p, rows, width, border);
        return;
    }
    *both = place_factor(p, rows, 2 * width, border);
    *gate = pb_tensor_columns(both, 0, width);
    *up   = pb_tensor_columns(both, width, width);
}

/* One set of views; `widths` [PB_SITE_LAYER_KINDS] are those of `kept`. */
static void place_layer(const pb_network *net, plan *p, const pass_shape *shape, int64_t wanted,
                        const int64_t *widths, layer_acts *acts)
{
    const pb_model_config *c = net->config;
    bool head_norms          = network_site(net, PB_SITE_Q_NORM, 0) != NULL;
    bool attn_out            = network_site(net, PB_SITE_ATTN_OUT_NORM, 0) != NULL;
    bool mlp_out             = network_site(net, PB_SITE_MLP_OUT_NORM, 0) != NULL;
    acts->x                  = place_f32(p, shape->rows, c->width);
    acts->q                  = place(p, wanted, c->heads * c->head_dim);
    acts->raw_q              = place(p, head_norms ? wanted : 0, c->heads * c->head_dim);
    acts->raw_k              = place(p, head_norms ? shape->rows : 0, c->kv_heads * c->head_dim);
    if (!shape->cached) {
        acts->keys   = place(p, shape->keys, c->kv_heads * c->head_dim);
        acts->values = place(p, shape->keys, c->kv_heads * c->head_dim);
    }
    acts->attn     = place_factor(p, wanted, c->heads * c->head_dim, p->border);
    acts->lse      = place_f32(p, wanted, c->heads);
    acts->attn_out = place(p, attn_out ? wanted : 0, c->width);
    acts->mid      = place_f32(p, wanted, c->width);
    place_pair(net, p, wanted, 0, &acts->gate_up, &acts->gate, &acts->up);
    acts->mlp_out = place(p, mlp_out ? wanted : 0, c->width);
    for (int kind = 0; kind < PB_SITE_LAYER_KINDS; kind++) {
        bool every_row   = kind == PB_SITE_K || kind == PB_SITE_V || kind == PB_SITE_QKV;
        acts->kept[kind] = place(p, every_row ? shape->rows : wanted, widths[kind]);
    }
}

static void place_gradients(const pb_network *net, plan *p, const pass_shape *shape, scratch *s)
{
    const pb_model_config *c = net->config;
    int64_t qkv              = (c->heads + 2 * c->kv_heads) * c->head_dim;
    bool fused               = network_site(net, PB_SITE_QKV, 0) != NULL;
    /* Norms of heads take rows apart. */
    int64_t heads = network_site(net, PB_SITE_Q_NORM, 0) != NULL ? 0 : p->border;
    s->dx         = place_gradient(p, shape->rows, c->width);
    s->dh         = place(p, shape->rows, c->width);
    s->dy         = place_factor(p, shape->rows, c->width, p->border);
    s->dxq        = place_gradient(p, shape->outs, c->width);
    s->dhq        = place(p, shape->outs, c->width);
    s->dq         = place_factor(p, shape->rows, c->heads * c->head_dim, heads);
    s->dattn      = place(p, shape->rows, c->heads * c->head_dim);
    s->dkeys      = place_factor(p, shape->keys, c->kv_heads * c->head_dim, heads);
    s->dvalues    = place_factor(p, shape->keys, c->kv_heads * c->head_dim, p->border);
    s->dqkv       = place_factor(p, fused ? shape->rows : 0, qkv, p->border);
    place_pair(net, p, shape->rows, p->border, &s->dgate_up, &s->dgate, &s->dup);
    s->dvirtual_keys = place_f32(p, shape->virtual_keys, c->layers * 2 * c->kv_heads * c->head_dim);
}

static void place_scratch(const pb_network *net, plan *p, const pass_shape *shape, scratch *s)
{
    const pb_model_config *c = net->config;
    int64_t widest           = c->ff > c->heads * c->head_dim ? c->ff : c->heads * c->head_dim;
    widest                   = widest > c->width ? widest : c->width;
    int64_t chunk            = network_chunk(net, shape->outs, shape->labels);
    bool fused               = network_site(net, PB_SITE_QKV, 0) != NULL;
    bool inputs              = false;
    for (int64_t i = 0; i < pb_model_site_count(net->model); i++) {
        inputs = inputs || (net->acts[i] & PB_ACTS_ON_INPUT) != 0;
    }
    *s              = (scratch){0};
    s->h            = place_factor(p, shape->rows, c->width, p->border);
    s->hq           = place_factor(p, shape->outs, c->width, p->border);
    s->qkv          = place(p, fused ? shape->rows : 0, (c->heads + 2 * c->kv_heads) * c->head_dim);
    s->act          = place_factor(p, shape->rows, c->ff, p->border);
    s->site         = place(p, inputs ? shape->rows : 0, widest);
    s->dsite        = place(p, inputs && shape->backward ? shape->rows : 0, widest);
    s->method       = place(p, shape->rows, 2 * net->scratch_width);
    s->out          = place_f32(p, shape->outs, c->width);
    s->normed       = place(p, shape->outs, c->width);
    s->head_in      = place(p, chunk, c->width);
    s->logits       = place_f32(p, chunk, c->vocab);
    s->losses       = place_vector(p, PB_DTYPE_F64, shape->labels);
    s->virtual_keys = place_f32(p, shape->virtual_keys, c->layers * 2 * c->kv_heads * c->head_dim);
    if (shape->cached) {
        s->choices    = place_vector(p, PB_DTYPE_I32, 2 * shape->outs);
        s->new_keys   = place(p, shape->rows, c->kv_heads * c->head_dim);
        s->new_values = place(p, shape->rows, c->kv_heads * c->head_dim);
    }
    if (shape->backward) {
        place_gradients(net, p, shape, s);
    }
}

/* The last layer has other rows than the rest, and a backward reads what its layer kept. */
static bool has_own_set(const pb_network *net, const pass_shape *shape, int64_t layer)
{
    return (shape->backward && net->needs[layer].backward) || layer == net->config->layers - 1;
}

/* The set of all layers without one of their own. A method may act in some of them only, so its
 * part is as wide as the widest of them needs, and each layer has a view of its own width. */
static void place_shared(pb_network *net, plan *p, const pass_shape *shape)
{
    int64_t layers                      = net->config->layers;
    int64_t widest[PB_SITE_LAYER_KINDS] = {0};
    int64_t widths[PB_SITE_LAYER_KINDS];
    layer_acts shared = {0};
    bool any          = false;
    for (int64_t l = 0; l < layers; l++) {
        if (has_own_set(net, shape, l)) {
            continue;
        }
        any = true;
        kept_widths(net, l, widths);
        for (int kind = 0; kind < PB_SITE_LAYER_KINDS; kind++) {
            widest[kind] = widths[kind] > widest[kind] ? widths[kind] : widest[kind];
        }
    }
    if (any) {
        place_layer(net, p, shape, shape->rows, widest, &shared);
    }
    for (int64_t l = 0; l < layers; l++) {
        if (has_own_set(net, shape, l)) {
            continue;
        }
        net->layers[l] = shared;
        kept_widths(net, l, widths);
        for (int kind = 0; kind < PB_SITE_LAYER_KINDS; kind++) {
            pb_tensor *kept = &net->layers[l].kept[kind];
            kept->shape[1] = kept->stride = widths[kind];
            *kept                         = widths[kind] > 0 ? *kept : (pb_tensor){0};
        }
    }
}

static size_t lay_out(pb_network *net, const pass_shape *shape, char *base)
{
    plan p         = {.base = base, .act = net->act, .border = net->border.columns};
    int64_t layers = net->config->layers;
    place_shared(net, &p, shape);
    for (int64_t l = 0; l < layers; l++) {
        int64_t widths[PB_SITE_LAYER_KINDS];
        if (has_own_set(net, shape, l)) {
            kept_widths(net, l, widths);
            place_layer(net, &p, shape, l == layers - 1 ? shape->outs : shape->rows, widths,
                        &net->layers[l]);
        }
    }
    place_scratch(net, &p, shape, &net->scratch);
    return p.used;
}

pb_status network_layout(pb_network *net, const pass_shape *shape)
{
    pass_memory *memory = net->memory;
    size_t bytes        = lay_out(net, shape, NULL);
    if (bytes > memory->block_bytes) {
        pb_backend_free(net->backend, memory->block);
        memory->block       = NULL;
        memory->block_bytes = 0;
        pb_status status    = pb_backend_alloc(net->backend, bytes, &memory->block);
        if (status != PB_OK) {
            pb_error_prefix(status, "activations of a batch of %" PRId64 " rows", shape->rows);
            return PB_FRAME(status);
        }
        memory->block_bytes = bytes;
    }
    lay_out(net, shape, memory->block);
    return PB_OK;
}

pb_status network_provide_cache(pb_network *net, int64_t rows, int64_t width, pb_tensor *out)
{
    pass_memory *memory = net->memory;
    size_t bytes        = (size_t)rows * (size_t)width * pb_dtype_size(net->act);
    if (bytes > memory->cache_bytes) {
        pb_backend_free(net->backend, memory->cache);
        memory->cache       = NULL;
        memory->cache_bytes = 0;
        PB_TRY(pb_backend_alloc(net->backend, bytes, &memory->cache));
        memory->cache_bytes = bytes;
    }
    *out = pb_tensor_2d(memory->cache, net->act, rows, width);
    return PB_OK;
}
