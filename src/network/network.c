// SPDX-License-Identifier: Apache-2.0
/* The network as a whole: what its backward has to reach, its life, and what a caller can ask
 * for. */
#include "internal.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>

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
        net->acts[i]       = m->ops->acts(m, site);
        int64_t width      = network_scratch_width(net, site);
        net->scratch_width = width > net->scratch_width ? width : net->scratch_width;
    }
    if (m == NULL) {
        return PB_OK;
    }
    PB_TRY(pb_method_attach(m, weights));
    return m->ops->bind != NULL ? m->ops->bind(m, net->bindings) : PB_OK;
}

const char *const pb_saving_names[] = {
    [PB_SAVING_PADDING] = "padding", [PB_SAVING_PREFIX] = "prefix", [PB_SAVING_HEAD] = "head",
    [PB_SAVING_LAST] = "last",       [PB_SAVING_LOWEST] = "lowest", [PB_SAVING_CACHE] = "cache",
    [PB_SAVING_LEAVING] = "leaving", [PB_SAVING_DRAFTS] = "drafts", [PB_SAVING_ORDER] = "order",
    [PB_SAVING_COUNT] = NULL,
};

bool network_saves(const pb_network *net, pb_saving saving)
{
    return (net->without & 1U << saving) == 0;
}

void pb_network_without(pb_network *net, unsigned savings)
{
    net->without = savings;
    network_find_needs(net);
}

/* The backward stops at the lowest trainable site. */
void network_find_needs(pb_network *net)
{
    bool keys                = network_virtual_keys(net) > 0;
    const pb_site *embedding = pb_model_site(net->model, PB_SITE_EMBEDDING, -1);
    net->embedding_backward  = network_virtual_rows(net) > 0 || net->acts[embedding->index] != 0;
    bool below               = net->embedding_backward || !network_saves(net, PB_SAVING_LOWEST);
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
    PB_TRY(PB_ALLOC(net->low_ranks, 1));
    PB_TRY(PB_ALLOC(net->memory, 1));
    net->memory->users = 1;
    PB_TRY(attach_method(net, weights));
    PB_TRY(network_open_border(net));
    network_find_needs(net);
    return PB_OK;
}

pb_status pb_network_create(pb_weights *weights, pb_method *method, pb_network **out)
{
    pb_network *net = NULL;
    PB_TRY(PB_ALLOC(net, 1));
    net->weights     = weights;
    net->model       = pb_weights_model(weights);
    net->config      = pb_model_get_config(net->model);
    net->backend     = pb_weights_backend(weights);
    net->act         = pb_backend_activation(net->backend);
    net->method      = method;
    pb_status status = initialise(net, weights);
    if (status != PB_OK) {
        pb_network_destroy(net);
        return PB_FRAME(status);
    }
    *out = net;
    return PB_OK;
}

void network_leave_memory(pb_network *net)
{
    pass_memory *memory = net->memory;
    net->memory         = NULL;
    if (memory == NULL || --memory->users > 0) {
        return;
    }
    pb_backend_free(net->backend, memory->block);
    pb_backend_free(net->backend, memory->cache);
    for (int i = 0; i < 2; i++) {
        pb_backend_free(net->backend, memory->rope[i]);
    }
    pb_memory_free(memory);
}

void pb_network_destroy(pb_network *net)
{
    if (net == NULL) {
        return;
    }
    network_leave_memory(net);
    for (int64_t i = 0; net->merged != NULL && i < pb_model_site_count(net->model); i++) {
        pb_backend_free(net->backend, net->merged[i]);
    }
    pb_memory_free(net->merged);
    pb_memory_free(net->border.copies);
    pb_memory_free(net->bindings);
    pb_memory_free(net->acts);
    pb_memory_free(net->needs);
    pb_memory_free(net->low_ranks);
    pb_memory_free(net->layers);
    pb_memory_free(net);
}

pb_backend *pb_network_backend(const pb_network *net)
{
    return net->backend;
}

pb_batch_options pb_network_batch_options(const pb_network *net, bool training)
{
    bool drops = training && net->method != NULL && net->method->ops->drops != NULL &&
                 net->method->ops->drops(net->method);
    return (pb_batch_options){
        .virtual_rows = network_virtual_rows(net),
        .virtual_keys = network_virtual_keys(net),
        .share        = !drops && network_saves(net, PB_SAVING_PREFIX),
        .trim         = true,
        .pad          = pb_backend_pads(net->backend),
        .square       = !network_saves(net, PB_SAVING_PADDING),
        .out_everywhere =
            !network_saves(net, PB_SAVING_LAST) || !network_saves(net, PB_SAVING_HEAD),
        .label_everywhere = !network_saves(net, PB_SAVING_HEAD),
    };
}

static pb_status check_packing(const pb_network *net, const pb_batch *batch)
{
    if (batch->virtual_rows != network_virtual_rows(net) ||
        batch->virtual_keys != network_virtual_keys(net)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "the batch was packed for another method");
    }
    return PB_OK;
}

pb_status network_check_batch(const pb_network *net, const pb_batch *batch)
{
    PB_TRY(check_packing(net, batch));
    if (batch->labels == 0) {
        return PB_FAIL(PB_ERR_ARGUMENT, "a batch of %" PRId64 " samples has no label token",
                       batch->samples);
    }
    for (int64_t n = 0; n < batch->labels; n++) { /* -1 is a target of the padding alone */
        if (batch->targets[n] < 0) {
            return PB_FAIL(PB_ERR_ARGUMENT, "targets[%" PRId64 "] is %" PRId32, n,
                           batch->targets[n]);
        }
    }
    return PB_OK;
}

pass network_pass_over(const pb_batch *batch, bool backward)
{
    return (pass){
        .forest        = &batch->forest,
        .ids           = batch->ids,
        .positions     = batch->positions,
        .out_rows      = batch->out_rows,
        .out_positions = batch->out_positions,
        .label_slots   = batch->label_slots,
        .targets       = batch->targets,
        .shape         = {.rows         = batch->forest.rows,
                          .keys         = batch->forest.keys,
                          .outs         = batch->outs,
                          .labels       = batch->padded_labels,
                          .virtual_rows = batch->virtual_rows,
                          .virtual_keys = batch->virtual_keys,
                          .backward     = backward},
    };
}

pb_status pb_network_reserve(pb_network *net, const pb_batch *batch)
{
    pass p = network_pass_over(batch, true);
    PB_TRY(check_packing(net, batch));
    PB_TRY(network_prepare(net, &p));
    return network_reserve(net, &p);
}

static pb_status forward_loss(pb_network *net, const pass *p)
{
    PB_TRY(network_body_forward(net, p));
    return network_head_loss(net, p);
}

pb_status pb_network_loss(pb_network *net, const pb_batch *batch, bool by_rows, pb_tensor *sum)
{
    pass p         = network_pass_over(batch, false);
    double divisor = by_rows ? (double)batch->labels : 1.0;
    double factor  = by_rows ? (double)batch->samples : 1.0;
    PB_TRY(network_check_batch(net, batch));
    PB_TRY(network_prepare(net, &p));
    PB_TRY(forward_loss(net, &p));
    net->label_losses = pb_tensor_rows(&net->scratch.losses, 0, batch->labels);
    return sum != NULL ? pb_loss_sum(net->backend, sum, &net->label_losses, divisor, factor)
                       : PB_OK;
}

const pb_tensor *pb_network_losses(const pb_network *net)
{
    return &net->label_losses;
}

static pb_status run_train_pass(void *context)
{
    const prepared *t = context;
    pb_network *net   = t->net;
    PB_TRY(forward_loss(net, t->pass));
    for (int64_t i = 0; i < t->pass->part_count; i++) {
        const pass_part *part = &t->pass->parts[i];
        pb_tensor losses      = pb_tensor_rows(&net->scratch.losses, part->label, part->labels);
        pb_tensor sum         = pb_tensor_1d(part->sum, PB_DTYPE_F64, 1);
        PB_TRY(pb_loss_sum(net->backend, &sum, &losses, 1.0, 1.0));
    }
    return network_body_backward(net, t->pass);
}

/* Its parts say all that its operations depend on. */
pb_status network_train_pass(pb_network *net, pass *p)
{
    prepared t          = {net, p};
    p->context.training = true;
    PB_TRY(network_prepare(net, p));
    network_warn_of_positions(net, p);
    return pb_repeat(net->backend, p->parts, (size_t)p->part_count * sizeof *p->parts,
                     run_train_pass, &t);
}

pb_status pb_network_step(pb_network *net, const pb_batch *batch, double grad_scale,
                          uint64_t number, pb_tensor *sum)
{
    if (net->merged != NULL) {
        return PB_FAIL(PB_ERR_ARGUMENT, "a network with merged weights cannot be trained");
    }
    pass p       = network_pass_over(batch, true);
    p.number     = number;
    p.grad_scale = (float)grad_scale;
    p.sum        = sum->data;
    PB_TRY(network_check_batch(net, batch));
    return network_train_pass(net, &p);
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

pb_status pb_network_logits(pb_network *net, const pb_batch *batch, const int32_t *rows,
                            int64_t count, float *logits, float *const *hidden)
{
    pass p   = network_pass_over(batch, false);
    p.hidden = hidden;
    PB_TRY(check_packing(net, batch));
    for (int64_t i = 0; i < count; i++) {
        if (rows[i] < 0 || rows[i] >= p.shape.rows) {
            return PB_FAIL(PB_ERR_ARGUMENT,
                           "row %" PRId32 " is outside the batch of %" PRId64 " rows", rows[i],
                           p.shape.rows);
        }
    }
    /* All rows are computed; `rows` then number their outputs, as slots do those of labels. */
    p.out_rows      = NULL;
    p.out_positions = NULL;
    p.shape.outs    = p.shape.rows;
    p.label_slots   = rows;
    p.targets       = NULL;
    p.shape.labels  = count;
    PB_TRY(network_prepare(net, &p));
    PB_TRY(network_body_forward(net, &p));
    PB_TRY(network_head_norm(net, &p));
    if (hidden != NULL) {
        pb_tensor host = pb_tensor_2d(hidden[net->config->layers], PB_DTYPE_F32, p.shape.rows,
                                      net->config->width);
        PB_TRY(pb_copy(net->backend, &host, &net->scratch.normed));
    }
    PB_TRY(network_head_rows(net, &p.page.label_slots, logits));
    return check_finite(logits, count, net->config->vocab);
}
