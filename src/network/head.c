// SPDX-License-Identifier: Apache-2.0
/* The final norm and the vocabulary head with the loss, which exists in chunks of label rows only.
 */
#include "internal.h"

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
static pb_status chunk_backward(pb_network *net, const pb_list *slots, pb_tensor *x,
                                const pb_tensor *dlogits)
{
    pb_binding *h = head(net);
    if (!pb_tensor_is_none(&h->dweight)) {
        PB_TRY(pb_matmul(net->backend, &h->dweight, dlogits, x,
                         &(pb_matmul_args){.transpose_a = true, .alpha = 1.0f, .beta = 1.0f}));
    }
    PB_TRY(pb_matmul(net->backend, x, dlogits, &h->weight, &(pb_matmul_args){.alpha = 1.0f}));
    return pb_scatter_add(net->backend, &net->scratch.dhq, x, slots);
}

/* Loss of labels first … of the pass, as many as x has rows. */
static pb_status chunk_loss(pb_network *net, const pass *p, int64_t first, int64_t count,
                            float grad_scale)
{
    scratch *s       = &net->scratch;
    pb_list slots    = pb_list_part(&p->page.label_slots, first, count);
    pb_list targets  = pb_list_part(&p->page.targets, first, count);
    pb_tensor x      = pb_tensor_rows(&s->head_in, 0, count);
    pb_tensor logits = pb_tensor_rows(&s->logits, 0, count);
    pb_tensor losses = pb_tensor_rows(&s->losses, first, count);
    PB_TRY(pb_gather(net->backend, &x, &s->normed, &slots));
    PB_TRY(network_head_logits(net, &x, &logits));
    PB_TRY(pb_cross_entropy(net->backend, &losses, &logits, &targets, grad_scale));
    return p->shape.backward ? chunk_backward(net, &slots, &x, &logits) : PB_OK;
}

pb_status network_head_loss(pb_network *net, const pass *p, double grad_scale)
{
    scratch *s           = &net->scratch;
    pb_binding *norm     = final_norm(net);
    pb_rmsnorm_args args = network_norm_args(net);
    int64_t chunk        = s->logits.shape[0];
    int64_t labels       = p->shape.labels;
    PB_TRY(network_head_norm(net));
    if (p->shape.backward) {
        PB_TRY(pb_zero(net->backend, &s->dhq));
    }
    for (int64_t first = 0; first < labels; first += chunk) {
        int64_t count = labels - first < chunk ? labels - first : chunk;
        PB_TRY(chunk_loss(net, p, first, count, p->shape.backward ? (float)grad_scale : 0.0f));
    }
    if (!p->shape.backward) {
        return PB_OK;
    }
    return pb_rmsnorm_backward(net->backend, &s->dxq,
                               pb_tensor_is_none(&norm->dweight) ? NULL : &norm->dweight, &s->dhq,
                               &s->out, &norm->weight, &args);
}

pb_status network_head_rows(pb_network *net, const pb_list *rows, float *logits)
{
    scratch *s    = &net->scratch;
    int64_t chunk = s->logits.shape[0];
    for (int64_t first = 0; first < rows->count; first += chunk) {
        int64_t n      = rows->count - first < chunk ? rows->count - first : chunk;
        pb_list part   = pb_list_part(rows, first, n);
        pb_tensor x    = pb_tensor_rows(&s->head_in, 0, n);
        pb_tensor some = pb_tensor_rows(&s->logits, 0, n);
        pb_tensor host =
            pb_tensor_2d(logits + first * net->config->vocab, PB_DTYPE_F32, n, net->config->vocab);
        PB_TRY(pb_gather(net->backend, &x, &s->normed, &part));
        PB_TRY(network_head_logits(net, &x, &some));
        PB_TRY(pb_copy(net->backend, &host, &some));
    }
    return PB_OK;
}
