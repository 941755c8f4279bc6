// SPDX-License-Identifier: Apache-2.0
/* The network as a whole: what its backward has to reach, the pass from ids to the last layer's
 * output and back, and the vocabulary head with the loss, which exists in chunks of label rows
 * only. */
#include "internal.h"

#include "pb/log.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

int64_t network_virtual_rows(const pb_network *net)
{
    const pb_method *m = net->method;
    return m != NULL && m->ops->virtual_rows != NULL ? m->ops->virtual_rows(m) : 0;
}

int64_t network_virtual_keys(const pb_network *net)
{
    const pb_method *m = net->method;
    return m != NULL && m->ops->virtual_keys != NULL ? m->ops->virtual_keys(m) : 0;
}

/* Asks the method where it acts, and binds its tensors in place of the frozen ones. */
static pb_status attach_method(pb_network *net, const pb_weights *weights)
{
    pb_method *m = net->method;
    for (int64_t i = 0; i < pb_model_site_count(net->model); i++) {
        const pb_site *site     = pb_model_site_at(net->model, i);
        const pb_placed *placed = pb_weights_at(weights, i);
        net->bindings[i].weight = placed->weight;
        net->bindings[i].bias   = placed->bias;
        if (m == NULL || m->ops->acts == NULL) {
            continue;
        }
        net->acts[i] = m->ops->acts(m, site);
        if (m->ops->scratch_width != NULL) {
            int64_t width      = m->ops->scratch_width(m, site);
            net->scratch_width = width > net->scratch_width ? width : net->scratch_width;
        }
    }
    if (m == NULL) {
        return PB_OK;
    }
    PB_TRY(pb_method_attach(m, weights));
    return m->ops->bind != NULL ? m->ops->bind(m, net->bindings) : PB_OK;
}

/* The backward stops at the lowest trainable site. */
static void find_needs(pb_network *net)
{
    bool keys                = network_virtual_keys(net) > 0;
    const pb_site *embedding = pb_model_site(net->model, PB_SITE_EMBEDDING, -1);
    net->embedding_backward  = network_virtual_rows(net) > 0 || net->acts[embedding->index] != 0;
    bool below               = net->embedding_backward;
    for (int64_t l = 0; l < net->config->layers; l++) {
        bool attn = false;
        bool any  = false;
        for (int kind = 0; kind < PB_SITE_LAYER_KINDS; kind++) {
            const pb_site *site = network_site(net, (pb_site_kind)kind, l);
            if (site != NULL && net->acts[site->index] != 0) {
                any  = true;
                attn = attn || site->attention;
            }
        }
        layer_need *need = &net->needs[l];
        need->dx         = below;
        need->attn       = below || attn || keys;
        need->backward   = need->attn || any;
        below            = need->backward;
    }
}

static pb_status initialise(pb_network *net, const pb_weights *weights)
{
    int64_t sites = pb_model_site_count(net->model);
    PB_TRY(PB_ALLOC(net->bindings, sites));
    PB_TRY(PB_ALLOC(net->acts, sites));
    PB_TRY(PB_ALLOC(net->needs, net->config->layers));
    PB_TRY(PB_ALLOC(net->layers, net->config->layers));
    PB_TRY(attach_method(net, weights));
    find_needs(net);
    return PB_OK;
}

pb_status pb_network_create(const pb_weights *weights, pb_method *method, pb_network **out)
{
    pb_network *net = NULL;
    PB_TRY(PB_ALLOC(net, 1));
    net->model       = pb_weights_model(weights);
    net->config      = pb_model_get_config(net->model);
    net->backend     = pb_weights_backend(weights);
    net->method      = method;
    pb_status status = initialise(net, weights);
    if (status != PB_OK) {
        pb_network_destroy(net);
        return PB_FRAME(status);
    }
    *out = net;
    return PB_OK;
}

void pb_network_destroy(pb_network *net)
{
    if (net == NULL) {
        return;
    }
    pb_backend_free(net->backend, net->block);
    for (int i = 0; i < 2; i++) {
        pb_backend_free(net->backend, net->rope[i]);
    }
    for (int64_t i = 0; net->merged != NULL && i < pb_model_site_count(net->model); i++) {
        pb_backend_free(net->backend, net->merged[i]);
    }
    pb_memory_free(net->merged);
    pb_memory_free(net->bindings);
    pb_memory_free(net->acts);
    pb_memory_free(net->needs);
    pb_memory_free(net->layers);
    pb_memory_free(net->losses);
    pb_memory_free(net->out_positions);
    pb_memory_free(net);
}

size_t pb_network_bytes(const pb_network *net)
{
    return net->block_bytes;
}

pb_batch_options pb_network_batch_options(const pb_network *net, bool training)
{
    bool drops = training && net->method != NULL && net->method->ops->drops != NULL &&
                 net->method->ops->drops(net->method);
    return (pb_batch_options){
        .virtual_rows = network_virtual_rows(net),
        .virtual_keys = network_virtual_keys(net),
        .share        = !drops,
        .trim         = true,
    };
}

/* The tables of both ropes for that many positions. On failure the old ones stay. */
static pb_status make_ropes(pb_network *net, int64_t positions)
{
    const pb_model_config *c    = net->config;
    const pb_rope_config *own[] = {&c->rope, &c->rope_sliding};
    size_t bytes                = (size_t)positions * (size_t)c->head_dim * sizeof(float);
    void *tables[2]             = {NULL, NULL};
    pb_status status            = PB_OK;
    for (int i = 0; i < (c->two_ropes ? 2 : 1) && status == PB_OK; i++) {
        status = pb_backend_alloc(net->backend, bytes, &tables[i]);
        if (status == PB_OK) {
            status = pb_model_rope_table(own[i], c->head_dim, positions, tables[i]);
        }
    }
    for (int i = 0; i < 2; i++) {
        pb_backend_free(net->backend, status == PB_OK ? net->rope[i] : tables[i]);
        net->rope[i] = status == PB_OK ? tables[i] : net->rope[i];
    }
    net->rope_positions = status == PB_OK ? positions : net->rope_positions;
    return status;
}

/* Rows longer than the model was made for are computed, as in transformers, but not silently. */
static void warn_of_positions(pb_network *net, int64_t positions)
{
    if (positions > net->config->max_positions && !net->warned_of_positions) {
        net->warned_of_positions = true;
        pb_log_warn("a row has %" PRId64 " positions, the model was made for %" PRId64
                    " (max_position_embeddings); data.cutoff_tokens bounds them",
                    positions, net->config->max_positions);
    }
}

/* Tables grow in doubles. A dynamic rope has other ones for every length beyond the model's own. */
static pb_status provide_ropes(pb_network *net, int64_t positions)
{
    const pb_model_config *c = net->config;
    int64_t own              = c->max_positions;
    int64_t have             = net->rope_positions;
    int64_t grown            = 2 * have > positions ? 2 * have : positions;
    bool dynamic = c->rope.type == PB_ROPE_DYNAMIC || c->rope_sliding.type == PB_ROPE_DYNAMIC;
    warn_of_positions(net, positions);
    if (dynamic && positions > own) {
        return have != positions ? make_ropes(net, positions) : PB_OK;
    }
    if (dynamic) {
        grown = grown > own ? own : grown;
        return positions > have || have > own ? make_ropes(net, grown) : PB_OK;
    }
    return positions > have ? make_ropes(net, grown) : PB_OK;
}

/* Makes the rope tables, the host lists and the views ready. */
static pb_status provide(pb_network *net, const pass *p, int64_t labels)
{
    int64_t positions = 1;
    for (int64_t t = 0; t < p->shape.rows; t++) {
        positions = p->positions[t] >= positions ? p->positions[t] + 1 : positions;
    }
    PB_TRY(provide_ropes(net, positions));
    int64_t hosts = labels > p->shape.outs ? labels : p->shape.outs;
    if (hosts > net->host_capacity) {
        pb_memory_free(net->losses);
        pb_memory_free(net->out_positions);
        net->out_positions = NULL;
        net->host_capacity = 0;
        PB_TRY(PB_ALLOC(net->losses, hosts));
        PB_TRY(PB_ALLOC(net->out_positions, hosts));
        net->host_capacity = hosts;
    }
    return network_layout(net, &p->shape);
}

pb_status network_prepare(pb_network *net, pass *p, int64_t labels)
{
    if (p->shape.rows == 0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "a batch without rows cannot be computed");
    }
    for (int64_t t = 0; t < p->shape.rows; t++) {
        bool virtual_row = t < p->shape.virtual_rows; /* their ids are -1 */
        if (p->ids[t] >= net->config->vocab || (p->ids[t] < 0 && !virtual_row)) {
            return PB_FAIL(PB_ERR_ARGUMENT,
                           "token id %" PRId32 " is outside the model's vocabulary of %" PRId64
                           ": is this the model's own tokenizer?",
                           p->ids[t], net->config->vocab);
        }
    }
    PB_TRY(provide(net, p, labels));
    if (p->out_rows != NULL) {
        for (int64_t u = 0; u < p->shape.outs; u++) {
            net->out_positions[u] = p->positions[p->out_rows[u]];
        }
        p->out_positions = net->out_positions;
    }
    return PB_OK;
}

static pb_status embedding_forward(pb_network *net, const pass *p)
{
    const pb_site *site = pb_model_site(net->model, PB_SITE_EMBEDDING, -1);
    pb_tensor *x        = &net->layers[0].x;
    if (p->shape.virtual_rows > 0) {
        pb_tensor root = pb_tensor_rows(x, 0, p->shape.virtual_rows);
        PB_TRY(net->method->ops->rows_forward(net->method, &root));
    }
    if (p->shape.virtual_keys > 0) {
        PB_TRY(net->method->ops->keys_forward(net->method, &net->scratch.virtual_keys));
    }
    return pb_embedding_forward(net->backend, x, &net->bindings[site->index].weight, p->ids,
                                (float)net->config->embedding_scale);
}

pb_status network_body_forward(pb_network *net, const pass *p)
{
    PB_TRY(embedding_forward(net, p));
    for (int64_t l = 0; l < net->config->layers; l++) {
        if (p->hidden != NULL) {
            pb_tensor host =
                pb_tensor_2d(p->hidden[l], PB_DTYPE_F32, p->shape.rows, net->config->width);
            PB_TRY(pb_copy(net->backend, &host, &net->layers[l].x));
        }
        PB_TRY(network_layer_forward(net, p, l));
    }
    return PB_OK;
}

pb_rmsnorm_args network_norm_args(const pb_network *net)
{
    return (pb_rmsnorm_args){.eps    = (float)net->config->rms_eps,
                             .offset = (float)net->config->norm_offset};
}

static pb_binding *final_norm(const pb_network *net)
{
    return &net->bindings[pb_model_site(net->model, PB_SITE_FINAL_NORM, -1)->index];
}

static pb_binding *head(const pb_network *net)
{
    return &net->bindings[pb_model_site(net->model, PB_SITE_HEAD, -1)->index];
}

pb_status network_head_norm(pb_network *net)
{
    pb_rmsnorm_args args = network_norm_args(net);
    return pb_rmsnorm_forward(net->backend, &net->scratch.normed, &net->scratch.out,
                              &final_norm(net)->weight, &args);
}

pb_status network_head_logits(pb_network *net, const pb_tensor *x, pb_tensor *logits)
{
    return pb_matmul(net->backend, logits, x, &head(net)->weight,
                     &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f});
}

/* Gradients of a chunk: of the head's weight, and of the normed rows, which are added up in
 * scratch.dhq. */
static pb_status chunk_backward(pb_network *net, const pb_batch *batch, int64_t first, pb_tensor *x,
                                const pb_tensor *dlogits)
{
    pb_binding *h = head(net);
    if (!pb_tensor_is_none(&h->dweight)) {
        PB_TRY(pb_matmul(net->backend, &h->dweight, dlogits, x,
                         &(pb_matmul_args){.transpose_a = true, .alpha = 1.0f, .beta = 1.0f}));
    }
    PB_TRY(pb_matmul(net->backend, x, dlogits, &h->weight, &(pb_matmul_args){.alpha = 1.0f}));
    return pb_scatter_add(net->backend, &net->scratch.dhq, x, batch->label_slots + first);
}

/* Loss of all labels, chunk by chunk, and with `backward` the gradient by the last layer's output
 * in scratch.dxq. */
static pb_status head_loss(pb_network *net, const pb_batch *batch, bool backward, double grad_scale)
{
    scratch *s = &net->scratch;
    PB_TRY(network_head_norm(net));
    if (backward) {
        PB_TRY(pb_zero(net->backend, &s->dhq));
    }
    int64_t chunk = s->logits.shape[0];
    for (int64_t first = 0; first < batch->labels; first += chunk) {
        int64_t n        = batch->labels - first < chunk ? batch->labels - first : chunk;
        pb_tensor x      = pb_tensor_rows(&s->head_in, 0, n);
        pb_tensor logits = pb_tensor_rows(&s->logits, 0, n);
        PB_TRY(pb_gather(net->backend, &x, &s->normed, batch->label_slots + first));
        PB_TRY(network_head_logits(net, &x, &logits));
        PB_TRY(pb_cross_entropy(net->backend, net->losses + first, &logits, batch->targets + first,
                                backward ? (float)grad_scale : 0.0f));
        if (backward) {
            PB_TRY(chunk_backward(net, batch, first, &x, &logits));
        }
    }
    if (!backward) {
        return PB_OK;
    }
    pb_binding *norm     = final_norm(net);
    pb_rmsnorm_args args = network_norm_args(net);
    PB_TRY(pb_zero(net->backend, &s->dxq));
    return pb_rmsnorm_backward(net->backend, &s->dxq,
                               pb_tensor_is_none(&norm->dweight) ? NULL : &norm->dweight, &s->dhq,
                               &s->out, &norm->weight, &args);
}

static pb_status body_backward(pb_network *net, const pass *p)
{
    scratch *s = &net->scratch;
    for (int64_t l = net->config->layers - 1; l >= 0 && net->needs[l].backward; l--) {
        PB_TRY(network_layer_backward(net, p, l));
    }
    if (p->shape.virtual_keys > 0) {
        PB_TRY(net->method->ops->keys_backward(net->method, &s->dvirtual_keys));
    }
    if (!net->embedding_backward) {
        return PB_OK;
    }
    if (p->shape.virtual_rows > 0) {
        pb_tensor root = pb_tensor_rows(&s->dx, 0, p->shape.virtual_rows);
        PB_TRY(net->method->ops->rows_backward(net->method, &root));
    }
    pb_binding *embedding = &net->bindings[pb_model_site(net->model, PB_SITE_EMBEDDING, -1)->index];
    if (!pb_tensor_is_none(&embedding->dweight)) {
        PB_TRY(pb_embedding_backward(net->backend, &embedding->dweight, &s->dx, p->ids,
                                     (float)net->config->embedding_scale));
    }
    return PB_OK;
}

static pb_status check_packing(const pb_network *net, const pb_batch *batch)
{
    if (batch->virtual_rows != network_virtual_rows(net) ||
        batch->virtual_keys != network_virtual_keys(net)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "the batch was packed for another method");
    }
    return PB_OK;
}

static pb_status check_batch(const pb_network *net, const pb_batch *batch)
{
    PB_TRY(check_packing(net, batch));
    if (batch->labels == 0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "a batch of %" PRId64 " samples has no label token",
                       batch->samples);
    }
    return PB_OK;
}

static pass pass_over(const pb_batch *batch, bool backward)
{
    return (pass){
        .forest    = &batch->forest,
        .ids       = batch->ids,
        .positions = batch->positions,
        .out_rows  = batch->out_rows,
        .shape     = {.rows         = batch->forest.rows,
                      .keys         = batch->forest.keys,
                      .outs         = batch->outs,
                      .virtual_rows = batch->virtual_rows,
                      .virtual_keys = batch->virtual_keys,
                      .backward     = backward},
    };
}

static pb_status forward_loss(pb_network *net, const pb_batch *batch, pass *p, double grad_scale,
                              double *loss_sum)
{
    PB_TRY(check_batch(net, batch));
    PB_TRY(network_prepare(net, p, batch->labels));
    PB_TRY(network_body_forward(net, p));
    PB_TRY(head_loss(net, batch, p->shape.backward, grad_scale));
    *loss_sum = 0.0;
    for (int64_t n = 0; n < batch->labels; n++) {
        *loss_sum += net->losses[n];
    }
    return PB_OK;
}

/* The widest rows that a product of a layer takes in, forward or backward. */
static int64_t widest_factor(const pb_model_config *c)
{
    int64_t qkv    = (c->heads + 2 * c->kv_heads) * c->head_dim;
    int64_t widest = 2 * c->ff > qkv ? 2 * c->ff : qkv;
    return widest > c->width ? widest : c->width;
}

static bool has_narrow_weights(const pb_network *net)
{
    for (int64_t i = 0; i < pb_model_site_count(net->model); i++) {
        if (net->bindings[i].weight.dtype != PB_DTYPE_F32) {
            return true;
        }
    }
    return false;
}

pb_status pb_network_reserve(pb_network *net, const pb_batch *batch)
{
    const pb_model_config *c    = net->config;
    pass p                      = pass_over(batch, true);
    pb_attention_args attention = {.forest   = &batch->forest,
                                   .heads    = c->heads,
                                   .kv_heads = c->kv_heads,
                                   .head_dim = c->head_dim};
    PB_TRY(check_packing(net, batch));
    PB_TRY(provide(net, &p, batch->labels));
    int64_t rows   = p.shape.rows;
    int64_t widest = widest_factor(c);
    int64_t head   = network_chunk(net, p.shape.outs) * c->vocab;
    return pb_backend_reserve(net->backend,
                              &(pb_reserve_args){
                                  .attention    = &attention,
                                  .backward     = true,
                                  .norm_rows    = rows * c->heads,
                                  .factor       = rows * widest > head ? rows * widest : head,
                                  .inner        = widest > c->vocab ? widest : c->vocab,
                                  .narrow_types = has_narrow_weights(net),
                              });
}

pb_status pb_network_loss(pb_network *net, const pb_batch *batch, double *loss_sum, double *losses)
{
    pass p = pass_over(batch, false);
    PB_TRY(forward_loss(net, batch, &p, 0.0, loss_sum));
    if (losses != NULL) {
        memcpy(losses, net->losses, (size_t)batch->labels * sizeof *losses);
    }
    return PB_OK;
}

pb_status pb_network_step(pb_network *net, const pb_batch *batch, double grad_scale,
                          uint64_t number, double *loss_sum)
{
    if (net->merged != NULL) {
        return PB_FAIL(PB_ERR_ARGUMENT, "a network with merged weights cannot be trained");
    }
    pass p    = pass_over(batch, true);
    p.context = (pb_site_context){.training = true, .pass = number};
    PB_TRY(forward_loss(net, batch, &p, grad_scale, loss_sum));
    return body_backward(net, &p);
}

static pb_status check_finite(const float *logits, int64_t rows, int64_t vocab)
{
    for (int64_t i = 0; i < rows * vocab; i++) {
        if (!isfinite(logits[i])) {
            return PB_FAIL(PB_ERR_NUMERIC,
                           "logits of row %" PRId64 " of %" PRId64
                           " are not finite: " PB_NOT_FINITE_REMEDY,
                           i / vocab + 1, rows);
        }
    }
    return PB_OK;
}

/* Logits of rows of scratch.normed, chunk by chunk, to the host. */
static pb_status logits_of(pb_network *net, const int32_t *rows, int64_t count, float *logits)
{
    scratch *s    = &net->scratch;
    int64_t chunk = s->logits.shape[0];
    for (int64_t first = 0; first < count; first += chunk) {
        int64_t n      = count - first < chunk ? count - first : chunk;
        pb_tensor x    = pb_tensor_rows(&s->head_in, 0, n);
        pb_tensor some = pb_tensor_rows(&s->logits, 0, n);
        pb_tensor host =
            pb_tensor_2d(logits + first * net->config->vocab, PB_DTYPE_F32, n, net->config->vocab);
        PB_TRY(pb_gather(net->backend, &x, &s->normed, rows + first));
        PB_TRY(network_head_logits(net, &x, &some));
        PB_TRY(pb_copy(net->backend, &host, &some));
    }
    return PB_OK;
}

pb_status pb_network_logits(pb_network *net, const pb_batch *batch, const int32_t *rows,
                            int64_t count, float *logits, float *const *hidden)
{
    pass p       = pass_over(batch, false);
    p.hidden     = hidden;
    p.out_rows   = NULL;
    p.shape.outs = p.shape.rows;
    PB_TRY(check_packing(net, batch));
    for (int64_t i = 0; i < count; i++) {
        if (rows[i] < 0 || rows[i] >= p.shape.rows) {
            return PB_FAIL(PB_ERR_ARGUMENT,
                           "row %" PRId32 " is outside the batch of %" PRId64 " rows", rows[i],
                           p.shape.rows);
        }
    }
    PB_TRY(network_prepare(net, &p, 0));
    PB_TRY(network_body_forward(net, &p));
    PB_TRY(network_head_norm(net));
    if (hidden != NULL) {
        pb_tensor host = pb_tensor_2d(hidden[net->config->layers], PB_DTYPE_F32, p.shape.rows,
                                      net->config->width);
        PB_TRY(pb_copy(net->backend, &host, &net->scratch.normed));
    }
    PB_TRY(logits_of(net, rows, count, logits));
    return check_finite(logits, count, net->config->vocab);
}
