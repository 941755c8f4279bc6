// SPDX-License-Identifier: Apache-2.0
/* A linear site: the product with the hooks of the method around it.
 *
 *     x' = input(x)      y = W x' + b + low rank(x')      y' = output(y, x')
 *
 * and backwards in the reverse order. W and b are the bound ones where the method trains them; the
 * low-rank part exists where the method describes one. In a pass of several parts each has products
 * of its own: the bits of a row of a product may depend on how many rows there are. */
#include "internal.h"

/* A part of a pass at a site. */
typedef struct place {
    pb_network *all; /* whose pass it is */
    pb_network *net; /* whose method acts */
    const pass *p;
    const pb_site *site;
    pass_range range;
    pb_tensor kept; /* the method's, of this site */
    pb_tensor room;
    pb_site_context context;
    unsigned acts;
} place;

static place place_of(pb_network *all, const pass *p, const pb_site *site, const pass_part *part,
                      const pb_tensor *x, const pb_tensor *kept)
{
    pb_network *net = part->net;
    place at        = {.all     = all,
                       .net     = net,
                       .p       = p,
                       .site    = site,
                       .range   = network_part_range(p, part, x, 1),
                       .context = p->context,
                       .acts    = net->acts[site->index]};
    int64_t width   = network_kept_width(net, site);
    if (width > 0) {
        at.kept = network_part_region(kept, at.range, width);
    }
    if (net->scratch_width > 0) {
        at.room = network_part_region(&all->scratch.method, at.range, 2 * net->scratch_width);
    }
    return at;
}

/* What a slot of the method may know. */
static const pb_site_context *context_of(place *at)
{
    at->context.scratch = at->net->scratch_width > 0 ? &at->room : NULL;
    return &at->context;
}

/* The input as the product sees it: x itself, or the method's version in scratch. */
static pb_status product_input(place *at, const pb_tensor *x, pb_tensor *seen)
{
    pb_method *m = at->net->method;
    *seen        = *x;
    if ((at->acts & PB_ACTS_ON_INPUT) == 0) {
        return PB_OK;
    }
    *seen = network_part_region(&at->all->scratch.site, at->range, x->shape[1]);
    return m->ops->linear_input_forward(m, at->site, context_of(at), seen, x);
}

/* What is computed at the site; `part`: room for what the method adds. */
static pb_linear linear_of(const place *at, pb_linear_part *part)
{
    pb_linear linear = network_linear_at(at->net, at->site, part);
    if (linear.count > 0) {
        part->rows = at->range.count;
        part->kept = at->kept;
        part->room = at->room;
        if (!at->p->context.training) {
            part->low_rank.dropout = 0.0;
        }
        linear.rides = pb_linear_may_ride(&linear);
        linear.holds = at->all == at->net && network_holds_border(at->net);
    }
    return linear;
}

static pb_status part_forward(place *at, pb_tensor *y, const pb_tensor *x)
{
    pb_method *m = at->net->method;
    pb_linear_part part;
    pb_linear linear = linear_of(at, &part);
    pb_tensor seen;
    PB_TRY(product_input(at, x, &seen));
    PB_TRY(pb_linear_forward(at->net->backend, y, &seen, &linear));
    if ((at->acts & PB_ACTS_ON_OUTPUT) != 0) {
        PB_TRY(m->ops->linear_output_forward(m, at->site, context_of(at), y, &seen, &at->kept));
    }
    return PB_OK;
}

pb_status network_linear_forward(pb_network *net, const pass *p, const pb_site *site, pb_tensor *y,
                                 const pb_tensor *x, pb_tensor *kept)
{
    for (int64_t i = 0; i < p->part_count; i++) {
        place at       = place_of(net, p, site, &p->parts[i], x, kept);
        pb_tensor to   = pb_tensor_rows(y, at.range.first, at.range.count);
        pb_tensor from = pb_tensor_rows(x, at.range.first, at.range.count);
        PB_TRY(part_forward(&at, &to, &from));
    }
    return PB_OK;
}

static pb_status part_backward(place *at, pb_tensor *dy, const pb_tensor *x, pb_tensor *dx,
                               bool accumulate)
{
    pb_method *m   = at->net->method;
    pb_backend *be = at->net->backend;
    bool on_input  = (at->acts & PB_ACTS_ON_INPUT) != 0;
    bool wanted    = !pb_tensor_is_none(dx) || on_input;
    pb_tensor seen = {0};
    if (at->acts != 0) {
        PB_TRY(product_input(at, x, &seen));
    }
    pb_tensor target = *dx; /* gradient of what the product saw */
    bool add         = accumulate;
    if (on_input) {
        target = network_part_region(&at->all->scratch.dsite, at->range, x->shape[1]);
        add    = false;
    }
    if ((at->acts & PB_ACTS_ON_OUTPUT) != 0) {
        if (wanted && !add) {
            PB_TRY(pb_zero(be, &target));
            add = true;
        }
        PB_TRY(m->ops->linear_output_backward(m, at->site, context_of(at), dy, &target, &seen,
                                              &at->kept));
    }
    pb_linear_part part;
    pb_linear linear = linear_of(at, &part);
    PB_TRY(pb_linear_backward(be, &target, dy, &seen, &linear, add));
    if (!on_input) {
        return PB_OK;
    }
    PB_TRY(m->ops->linear_input_backward(m, at->site, context_of(at), &target, x));
    if (pb_tensor_is_none(dx)) {
        return PB_OK;
    }
    return accumulate ? pb_axpy(be, dx, 1.0f, &target) : pb_copy(be, dx, &target);
}

pb_status network_linear_backward(pb_network *net, const pass *p, const pb_site *site,
                                  pb_tensor *dy, const pb_tensor *x, pb_tensor *dx, bool accumulate,
                                  const pb_tensor *kept)
{
    for (int64_t i = 0; i < p->part_count; i++) {
        place at       = place_of(net, p, site, &p->parts[i], x, kept);
        pb_tensor grad = pb_tensor_rows(dy, at.range.first, at.range.count);
        pb_tensor from = pb_tensor_rows(x, at.range.first, at.range.count);
        pb_tensor to   = {0};
        if (!pb_tensor_is_none(dx)) {
            to = pb_tensor_rows(dx, at.range.first, at.range.count);
        }
        PB_TRY(part_backward(&at, &grad, &from, &to, accumulate));
    }
    return PB_OK;
}
