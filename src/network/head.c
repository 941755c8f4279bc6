// SPDX-License-Identifier: Apache-2.0
/* The final norm and the vocabulary head with the loss, which exists in chunks of label rows only.
 */
#include "internal.h"

#include "pb/usage.h"

/* Parts of a pass that share the product. */
typedef struct head_run {
    const pass_part *parts;
    int64_t count;
} head_run;

static const pb_site *final_norm(const pb_network *net)
{
    return pb_model_site(net->model, PB_SITE_FINAL_NORM, -1);
}

static const pb_binding *head(const pb_network *net)
{
    return &net->bindings[pb_model_site(net->model, PB_SITE_HEAD, -1)->index];
}

pb_status network_head_norm(pb_network *net, const pass *p)
{
    pb_backend_part(net->backend, PB_PART_HEAD);
    return network_norm_forward(net, p, final_norm(net), 1, &net->scratch.normed,
                                &net->scratch.out);
}

pb_status network_head_logits(const pb_network *net, const pb_tensor *x, pb_tensor *logits)
{
    return pb_matmul(net->backend, logits, x, &head(net)->weight,
                     &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f});
}

/* Gradients of a chunk: of the head's weight, and of the normed rows, which are added up in
 * scratch.dhq. */
static pb_status chunk_backward(pb_network *net, const pb_binding *h, const pb_list *slots,
                                pb_tensor *x, const pb_tensor *dlogits)
{
    pb_tensor dweight = h->dweight;
    if (!pb_tensor_is_none(&dweight)) {
        PB_TRY(pb_matmul(net->backend, &dweight, dlogits, x,
                         &(pb_matmul_args){.transpose_a = true, .alpha = 1.0f, .beta = 1.0f}));
    }
    PB_TRY(pb_matmul(net->backend, x, dlogits, &h->weight, &(pb_matmul_args){.alpha = 1.0f}));
    return pb_scatter_add(net->backend, &net->scratch.dhq, x, slots);
}

/* Losses of labels first … of the pass and, in place, their gradients by the logits: those of each
 * part by its own scale. */
static pb_status chunk_losses(pb_network *net, const pass *p, const head_run *r, int64_t first,
                              const pb_tensor *logits)
{
    int64_t end = first + logits->shape[0];
    for (int64_t i = 0; i < r->count; i++) {
        const pass_part *part = &r->parts[i];
        int64_t from          = part->label > first ? part->label : first;
        int64_t to            = part->label + part->labels;
        int64_t n             = (to < end ? to : end) - from;
        pb_tensor scale       = pb_tensor_rows(&p->page.grad_scales, part - p->parts, 1);
        pb_list targets       = pb_list_part(&p->page.targets, from, n);
        pb_tensor losses      = pb_tensor_rows(&net->scratch.losses, from, n);
        pb_tensor rows        = pb_tensor_rows(logits, from - first, n);
        PB_TRY(pb_cross_entropy(net->backend, &losses, &rows, &targets,
                                p->shape.backward ? &scale : NULL));
    }
    return PB_OK;
}

/* Loss of labels first … of the pass, which are in these parts. */
static pb_status chunk_loss(pb_network *net, const pass *p, const head_run *r, int64_t first,
                            int64_t count)
{
    const pb_network *own = r->parts->net;
    scratch *s            = &net->scratch;
    pb_list slots         = pb_list_part(&p->page.label_slots, first, count);
    pb_tensor x           = pb_tensor_rows(&s->head_in, 0, count);
    pb_tensor logits      = pb_tensor_rows(&s->logits, 0, count);
    PB_TRY(pb_gather(net->backend, &x, &s->normed, &slots));
    PB_TRY(network_head_logits(own, &x, &logits));
    PB_TRY(chunk_losses(net, p, r, first, &logits));
    return p->shape.backward ? chunk_backward(net, head(own), &slots, &x, &logits) : PB_OK;
}

/* A part in the chunks that it has when it is alone, or several parts in one. */
static pb_status run_loss(pb_network *net, const pass *p, const head_run *r)
{
    const pass_part *last = &r->parts[r->count - 1];
    int64_t labels        = last->label + last->labels - r->parts->label;
    int64_t chunk = r->count > 1 ? labels : network_chunk(net, r->parts->outs, r->parts->labels);
    for (int64_t done = 0; done < labels; done += chunk) {
        int64_t left = labels - done;
        PB_TRY(chunk_loss(net, p, r, r->parts->label + done, left < chunk ? left : chunk));
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
    for (int64_t i = 0; i < p->part_count;) {
        head_run r = {.parts = &p->parts[i], .count = network_share_head(net, p, i)};
        PB_TRY(run_loss(net, p, &r));
        i += r.count;
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
