// SPDX-License-Identifier: Apache-2.0
/* A linear site: the product with the hooks of the method around it.
 *
 *     x' = input(x)      y = W x' + b + low rank(x')      y' = output(y, x')
 *
 * and backwards in the reverse order. W and b are the bound ones where the method trains them; the
 * low-rank part exists where the method describes one. */
#include "internal.h"

static pb_site_context context_of(pb_network *net, const pass *p, pb_tensor *room, int64_t rows)
{
    pb_site_context context = p->context;
    if (net->scratch_width > 0) {
        *room           = pb_tensor_rows(&net->scratch.method, 0, rows);
        context.scratch = room;
    }
    return context;
}

/* The input as the product sees it: x itself, or the method's version in scratch. */
static pb_status product_input(pb_network *net, const pass *p, const pb_site *site,
                               const pb_tensor *x, pb_tensor *seen)
{
    *seen = *x;
    if ((net->acts[site->index] & PB_ACTS_ON_INPUT) == 0) {
        return PB_OK;
    }
    pb_tensor room;
    pb_site_context context = context_of(net, p, &room, x->shape[0]);
    *seen = pb_tensor_2d(net->scratch.site.data, net->act, x->shape[0], x->shape[1]);
    return net->method->ops->linear_input_forward(net->method, site, &context, seen, x);
}

/* What is computed at the site. kept: the method's, of this site. */
static pb_linear linear_of(const pb_network *net, const pass *p, const pb_site *site, int64_t rows,
                           const pb_tensor *kept)
{
    const pb_binding *bound = &net->bindings[site->index];
    pb_linear linear        = {.weight  = bound->weight,
                               .dweight = bound->dweight,
                               .bias    = bound->bias,
                               .dbias   = bound->dbias};
    if ((net->acts[site->index] & PB_ACTS_LOW_RANK) != 0) {
        linear.part         = net->method->ops->low_rank(net->method, site);
        linear.part.dropout = p->context.training ? linear.part.dropout : 0.0;
        linear.kept         = *kept;
        linear.room         = pb_tensor_rows(&net->scratch.method, 0, rows);
    }
    return linear;
}

pb_status network_linear_forward(pb_network *net, const pass *p, const pb_site *site, pb_tensor *y,
                                 const pb_tensor *x, pb_tensor *kept)
{
    pb_linear linear = linear_of(net, p, site, x->shape[0], kept);
    pb_tensor seen;
    PB_TRY(product_input(net, p, site, x, &seen));
    PB_TRY(pb_linear_forward(net->backend, y, &seen, &linear));
    if ((net->acts[site->index] & PB_ACTS_ON_OUTPUT) != 0) {
        pb_tensor room;
        pb_site_context context = context_of(net, p, &room, x->shape[0]);
        PB_TRY(
            net->method->ops->linear_output_forward(net->method, site, &context, y, &seen, kept));
    }
    return PB_OK;
}

pb_status network_linear_backward(pb_network *net, const pass *p, const pb_site *site,
                                  pb_tensor *dy, const pb_tensor *x, pb_tensor *dx, bool accumulate,
                                  const pb_tensor *kept)
{
    unsigned acts  = net->acts[site->index];
    bool on_input  = (acts & PB_ACTS_ON_INPUT) != 0;
    bool wanted    = !pb_tensor_is_none(dx) || on_input;
    pb_tensor seen = {0};
    if (acts != 0) {
        PB_TRY(product_input(net, p, site, x, &seen));
    }
    pb_tensor target = *dx; /* gradient of what the product saw */
    bool add         = accumulate;
    if (on_input) {
        target = pb_tensor_2d(net->scratch.dsite.data, net->act, x->shape[0], x->shape[1]);
        add    = false;
    }
    pb_tensor room;
    pb_site_context context = context_of(net, p, &room, dy->shape[0]);
    if ((acts & PB_ACTS_ON_OUTPUT) != 0) {
        if (wanted && !add) {
            PB_TRY(pb_zero(net->backend, &target));
            add = true;
        }
        PB_TRY(net->method->ops->linear_output_backward(net->method, site, &context, dy, &target,
                                                        &seen, kept));
    }
    pb_linear linear = linear_of(net, p, site, dy->shape[0], kept);
    PB_TRY(pb_linear_backward(net->backend, &target, dy, &seen, &linear, add));
    if (!on_input) {
        return PB_OK;
    }
    PB_TRY(net->method->ops->linear_input_backward(net->method, site, &context, &target, x));
    if (pb_tensor_is_none(dx)) {
        return PB_OK;
    }
    return accumulate ? pb_axpy(net->backend, dx, 1.0f, &target)
                      : pb_copy(net->backend, dx, &target);
}
