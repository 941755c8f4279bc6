// SPDX-License-Identifier: Apache-2.0
/* The final norm and the vocabulary head with the loss, which exists in chunks of label rows only.
 */
#include "internal.h"

static const pb_site *final_norm(const pb_network *net)
{
    return pb_model_site(net->model, PB_SITE_FINAL_NORM, -1);
}

static pb_binding *head(const pb_network *net)
{
    return &net->bindings[pb_model_site(net->model, PB_SITE_HEAD, -1)->index];
}

pb_status network_head_norm(pb_network *net, const pass *p)
{
    return network_norm_forward(net, p, final_norm(net), 1, &net->scratch.normed,
                                &net->scratch.out);
}

pb_status network_head_logits(pb_network *net, const pb_tensor *x, pb_tensor *logits)
{
    return pb_matmul(net->backend, logits, x, &head(net)->weight,
                     &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f});
}

/* Gradients of a chunk: of the head's weight, and of the normed rows, which are added up in
 * scratch.dhq. */
static pb_status chunk_backward(pb_network *net, const pass_part *part, const pb_list *slots,
                                pb_tensor *x, const pb_tensor *dlogits)
{
    pb_binding *h = head(part->net);
    if (!pb_tensor_is_none(&h->dweight)) {
        PB_TRY(pb_matmul(net->backend, &h->dweight, dlogits, x,
                         &(pb_matmul_args){.transpose_a = true, .alpha = 1.0f, .beta = 1.0f}));
    }
    PB_TRY(pb_matmul(net->backend, x, dlogits, &h->weight, &(pb_matmul_args){.alpha = 1.0f}));
    return pb_scatter_add(net->backend, &net->scratch.dhq, x, slots);
}

/* Loss of labels first … of the pass, which are in this part. */
static pb_status chunk_loss(pb_network *net, const pass *p, const pass_part *part, int64_t first,
                            int64_t count)
{
    scratch *s       = &net->scratch;
    pb_tensor scale  = pb_tensor_rows(&p->page.grad_scales, part - p->parts, 1);
    pb_list slots    = pb_list_part(&p->page.label_slots, first, count);
    pb_list targets  = pb_list_part(&p->page.targets, first, count);
    pb_tensor x      = pb_tensor_rows(&s->head_in, 0, count);
    pb_tensor logits = pb_tensor_rows(&s->logits, 0, count);
    pb_tensor losses = pb_tensor_rows(&s->losses, first, count);
    PB_TRY(pb_gather(net->backend, &x, &s->normed, &slots));
    PB_TRY(network_head_logits(part->net, &x, &logits));
    PB_TRY(pb_cross_entropy(net->backend, &losses, &logits, &targets,
                            p->shape.backward ? &scale : NULL));
    return p->shape.backward ? chunk_backward(net, part, &slots, &x, &logits) : PB_OK;
}

/* In the chunks that the part has when it is alone. */
static pb_status part_loss(pb_network *net, const pass *p, const pass_part *part)
{
    int64_t chunk = network_chunk(net, part->outs, part->labels);
    for (int64_t done = 0; done < part->labels; done += chunk) {
        int64_t left = part->labels - done;
        PB_TRY(chunk_loss(net, p, part, part->label + done, left < chunk ? left : chunk));
    }
    return PB_OK;
}

pb_status network_head_loss(pb_network *net, const pass *p)
{
    scratch *s = &net->scratch;
    PB_TRY(network_head_norm(net, p));
    if (p->shape.backward) {
        PB_TRY(pb_zero(net->backend, &s->dhq));
    }
    for (int64_t i = 0; i < p->part_count; i++) {
        PB_TRY(part_loss(net, p, &p->parts[i]));
    }
    return p->shape.backward
               ? network_norm_backward(net, p, final_norm(net), 1, &s->dxq, &s->dhq, &s->out, false)
               : PB_OK;
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
