// SPDX-License-Identifier: Apache-2.0
/* A linear site: the product with the hooks of the method around it.
 *
 *     x' = input(x)      y = W x' + b + low rank(x')      y' = output(y, x') + residual
 *
 * and backwards in the reverse order, the residual aside. W and b are the bound ones where the
 * method trains them; the low-rank part exists where the method describes one. In a pass of several
 * parts those that may (share.c) form a run with one product, whose low-rank parts and output hooks
 * act on their own rows; each of the others has a product of its own. */
#include "internal.h"

/* A part of a pass at a site. */
typedef struct place {
    pb_network *net; /* whose method acts */
    const pb_site *site;
    pass_range range;
    pb_tensor kept; /* the method's, of this site */
    pb_tensor room;
    pb_site_context context;
    unsigned acts;
} place;

/* Parts at a site that share a product: alike in what their methods do there. */
typedef struct run {
    pb_network *all; /* whose pass it is */
    const pass *p;
    const pb_site *site;
    const pb_tensor *kept; /* of the site, all rows */
    int64_t first, count;  /* parts */
    pass_range range;      /* of all of them */
    unsigned acts;
} run;

static place place_of(const run *r, int64_t part, const pb_tensor *x)
{
    pb_network *net = r->p->parts[part].net;
    place at        = {.net     = net,
                       .site    = r->site,
                       .range   = network_part_range(r->p, &r->p->parts[part], x, 1),
                       .context = r->p->context,
                       .acts    = r->acts};
    int64_t width   = network_kept_width(net, r->site);
    if (width > 0) {
        at.kept = network_part_region(r->kept, at.range, width);
    }
    if (net->scratch_width > 0) {
        at.room = network_part_region(&r->all->scratch.method, at.range, 2 * net->scratch_width);
    }
    return at;
}

/* The run that begins with part `first`, of a site whose input is x. */
static run run_from(pb_network *net, const pass *p, const pb_site *site, int64_t first,
                    const pb_tensor *x, const pb_tensor *kept)
{
    run r           = {.all   = net,
                       .p     = p,
                       .site  = site,
                       .kept  = kept,
                       .first = first,
                       .count = network_share(net, p, site, x, first),
                       .acts  = p->parts[first].net->acts[site->index]};
    pass_range last = network_part_range(p, &p->parts[first + r.count - 1], x, 1);
    r.range         = network_part_range(p, &p->parts[first], x, 1);
    r.range.count   = last.first + last.count - r.range.first;
    return r;
}

/* What a slot of the method may know. */
static const pb_site_context *context_of(place *at)
{
    at->context.scratch = at->net->scratch_width > 0 ? &at->room : NULL;
    return &at->context;
}

/* The rows of a range; none where t is none. */
static pb_tensor rows_of(const pb_tensor *t, pass_range range)
{
    return pb_tensor_is_none(t) ? *t : pb_tensor_rows(t, range.first, range.count);
}

/* The input as the product sees it: the rows of x, or the method's version of them in scratch. */
static pb_status product_input(const run *r, const pb_tensor *x, pb_tensor *seen)
{
    place at             = place_of(r, r->first, x);
    pb_method *m         = at.net->method;
    const pb_tensor rows = rows_of(x, r->range);
    *seen                = rows;
    if ((r->acts & PB_ACTS_ON_INPUT) == 0) {
        return PB_OK;
    }
    *seen = network_part_region(&r->all->scratch.site, r->range, x->shape[1]);
    return m->ops->linear_input_forward(m, r->site, context_of(&at), seen, &rows);
}

/* What is computed at the site. */
static pb_linear linear_of(const run *r, const pb_tensor *x)
{
    pb_network *first = r->p->parts[r->first].net;
    pb_linear linear  = network_linear_at(first, r->site, r->all->low_ranks);
    for (int64_t i = 0; i < r->count && linear.count > 0; i++) {
        pb_linear_part *part = &linear.parts[i];
        place at             = place_of(r, r->first + i, x);
        (void)network_linear_at(at.net, r->site, part);
        part->first = at.range.first - r->range.first;
        part->rows  = at.range.count;
        part->kept  = at.kept;
        part->room  = at.room;
        if (!at.context.training) {
            part->low_rank.dropout = 0.0;
        }
    }
    linear.count = linear.count > 0 ? r->count : 0;
    linear.rides = pb_linear_may_ride(&linear);
    linear.holds = r->all == first && network_holds_border(first);
    return linear;
}

/* y' = output(y, x'), each part on its rows of y; `seen`: the run's. */
static pb_status outputs_forward(const run *r, pb_tensor *y, const pb_tensor *x,
                                 const pb_tensor *seen)
{
    for (int64_t i = 0; i < r->count && (r->acts & PB_ACTS_ON_OUTPUT) != 0; i++) {
        place at       = place_of(r, r->first + i, x);
        pass_range own = {at.range.first - r->range.first, at.range.count};
        pb_tensor to   = rows_of(y, at.range);
        pb_tensor from = rows_of(seen, own);
        pb_method *m   = at.net->method;
        PB_TRY(m->ops->linear_output_forward(m, r->site, context_of(&at), &to, &from, &at.kept));
    }
    return PB_OK;
}

static pb_status run_forward(const run *r, pb_tensor *y, const pb_tensor *x,
                             const pb_tensor *residual)
{
    bool on_output   = (r->acts & PB_ACTS_ON_OUTPUT) != 0;
    pb_linear linear = linear_of(r, x);
    pb_tensor to     = rows_of(y, r->range);
    pb_tensor added  = rows_of(residual, r->range);
    pb_tensor seen;
    linear.residual = on_output ? (pb_tensor){0} : added;
    PB_TRY(product_input(r, x, &seen));
    PB_TRY(pb_linear_forward(r->all->backend, &to, &seen, &linear));
    PB_TRY(outputs_forward(r, y, x, &seen));
    return on_output && !pb_tensor_is_none(&added) ? pb_axpy(r->all->backend, &to, 1.0f, &added)
                                                   : PB_OK;
}

pb_status network_linear_forward(pb_network *net, const pass *p, const pb_site *site, pb_tensor *y,
                                 const pb_tensor *x, pb_tensor *kept, const pb_tensor *residual)
{
    for (int64_t i = 0; i < p->part_count;) {
        run r = run_from(net, p, site, i, x, kept);
        PB_TRY(run_forward(&r, y, x, residual));
        i += r.count;
    }
    return PB_OK;
}

/* The gradients dy by y' become those by y, each part's on its rows; `target` [run's rows] += . */
static pb_status outputs_backward(const run *r, pb_tensor *dy, const pb_tensor *target,
                                  const pb_tensor *seen)
{
    for (int64_t i = 0; i < r->count; i++) {
        place at       = place_of(r, r->first + i, dy);
        pass_range own = {at.range.first - r->range.first, at.range.count};
        pb_tensor grad = rows_of(dy, at.range);
        pb_tensor to   = rows_of(target, own);
        pb_tensor from = rows_of(seen, own);
        pb_method *m   = at.net->method;
        PB_TRY(m->ops->linear_output_backward(m, r->site, context_of(&at), &grad, &to, &from,
                                              &at.kept));
    }
    return PB_OK;
}

/* From the gradient by what the product saw to that by x, where the method changed it. */
static pb_status input_backward(const run *r, pb_tensor *target, const pb_tensor *x, pb_tensor *dx,
                                bool accumulate)
{
    place at             = place_of(r, r->first, x);
    pb_method *m         = at.net->method;
    pb_backend *be       = r->all->backend;
    const pb_tensor from = rows_of(x, r->range);
    pb_tensor to         = rows_of(dx, r->range);
    PB_TRY(m->ops->linear_input_backward(m, r->site, context_of(&at), target, &from));
    if (pb_tensor_is_none(dx)) {
        return PB_OK;
    }
    return accumulate ? pb_axpy(be, &to, 1.0f, target) : pb_copy(be, &to, target);
}

static pb_status run_backward(const run *r, pb_tensor *dy, const pb_tensor *x, pb_tensor *dx,
                              bool accumulate)
{
    pb_backend *be   = r->all->backend;
    bool on_input    = (r->acts & PB_ACTS_ON_INPUT) != 0;
    bool wanted      = !pb_tensor_is_none(dx) || on_input;
    pb_linear linear = linear_of(r, dy);
    pb_tensor grad   = rows_of(dy, r->range);
    pb_tensor target = rows_of(dx, r->range); /* gradient of what the product saw */
    pb_tensor seen   = {0};
    bool add         = accumulate && !on_input;
    if (r->acts != 0) {
        PB_TRY(product_input(r, x, &seen));
    }
    if (on_input) {
        target = network_part_region(&r->all->scratch.dsite, r->range, x->shape[1]);
    }
    if ((r->acts & PB_ACTS_ON_OUTPUT) != 0) {
        if (wanted && !add) {
            PB_TRY(pb_zero(be, &target));
            add = true;
        }
        PB_TRY(outputs_backward(r, dy, &target, &seen));
    }
    PB_TRY(pb_linear_backward(be, &target, &grad, &seen, &linear, add));
    return on_input ? input_backward(r, &target, x, dx, accumulate) : PB_OK;
}

pb_status network_linear_backward(pb_network *net, const pass *p, const pb_site *site,
                                  pb_tensor *dy, const pb_tensor *x, pb_tensor *dx, bool accumulate,
                                  const pb_tensor *kept)
{
    for (int64_t i = 0; i < p->part_count;) {
        run r = run_from(net, p, site, i, dy, kept);
        PB_TRY(run_backward(&r, dy, x, dx, accumulate));
        i += r.count;
    }
    return PB_OK;
}
