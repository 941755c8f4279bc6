// SPDX-License-Identifier: Apache-2.0
/* A linear site: the frozen product with the hooks of the method around it.
 *
 *     x' = input(x)      y = W x' + b      y' = output(y, x')
 *
 * and backwards in the reverse order. W and b are the bound ones where the method trains them. */
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
    *seen = pb_tensor_2d(net->scratch.site.data, PB_DTYPE_F32, x->shape[0], x->shape[1]);
    return net->method->ops->linear_input_forward(net->method, site, &context, seen, x);
}

pb_status network_linear_forward(pb_network *net, const pass *p, const pb_site *site, pb_tensor *y,
                                 const pb_tensor *x, pb_tensor *kept)
{
    const pb_binding *bound = &net->bindings[site->index];
    pb_tensor seen;
    PB_TRY(product_input(net, p, site, x, &seen));
    PB_TRY(pb_matmul(net->backend, y, &seen, &bound->weight,
                     &(pb_matmul_args){.transpose_b = true, .alpha = 1.0f}));
    if (!pb_tensor_is_none(&bound->bias)) {
        PB_TRY(pb_bias_forward(net->backend, y, &bound->bias));
    }
    if ((net->acts[site->index] & PB_ACTS_ON_OUTPUT) != 0) {
        pb_tensor room;
        pb_site_context context = context_of(net, p, &room, x->shape[0]);
        PB_TRY(
            net->method->ops->linear_output_forward(net->method, site, &context, y, &seen, kept));
    }
    return PB_OK;
}

/* Gradients of a bound weight and bias. */
static pb_status bound_backward(pb_network *net, pb_binding *bound, const pb_tensor *dy,
                                const pb_tensor *seen)
{
    if (!pb_tensor_is_none(&bound->dweight)) {
        PB_TRY(pb_matmul(net->backend, &bound->dweight, dy, seen,
                         &(pb_matmul_args){.transpose_a = true, .alpha = 1.0f, .beta = 1.0f}));
    }
    if (!pb_tensor_is_none(&bound->dbias)) {
        PB_TRY(pb_bias_backward(net->backend, &bound->dbias, dy));
    }
    return PB_OK;
}

pb_status network_linear_backward(pb_network *net, const pass *p, const pb_site *site,
                                  pb_tensor *dy, const pb_tensor *x, pb_tensor *dx, bool accumulate,
                                  const pb_tensor *kept)
{
    pb_binding *bound = &net->bindings[site->index];
    unsigned acts     = net->acts[site->index];
    bool on_input     = (acts & PB_ACTS_ON_INPUT) != 0;
    bool on_output    = (acts & PB_ACTS_ON_OUTPUT) != 0;
    bool wanted       = !pb_tensor_is_none(dx) || on_input;
    pb_tensor seen    = {0};
    if (acts != 0) {
        PB_TRY(product_input(net, p, site, x, &seen));
    }
    pb_tensor target = *dx; /* gradient by what the product saw */
    bool add         = accumulate;
    if (on_input) {
        target = pb_tensor_2d(net->scratch.dsite.data, PB_DTYPE_F32, x->shape[0], x->shape[1]);
        add    = false;
    }
    pb_tensor room;
    pb_site_context context = context_of(net, p, &room, dy->shape[0]);
    if (on_output) {
        if (wanted && !add) {
            PB_TRY(pb_zero(net->backend, &target));
            add = true;
        }
        PB_TRY(net->method->ops->linear_output_backward(net->method, site, &context, dy, &target,
                                                        &seen, kept));
    }
    PB_TRY(bound_backward(net, bound, dy, &seen));
    if (!wanted) {
        return PB_OK;
    }
    PB_TRY(pb_matmul(net->backend, &target, dy, &bound->weight,
                     &(pb_matmul_args){.alpha = 1.0f, .beta = add ? 1.0f : 0.0f}));
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
