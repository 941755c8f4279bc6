// SPDX-License-Identifier: Apache-2.0
/* The parts of a pass: which rows are whose, and norms, whose weights may differ from part to
 * part. */
#include "internal.h"

pass_range network_part_range(const pass *p, const pass_part *part, const pb_tensor *x,
                              int64_t factor)
{
    if (p->part_count == 1) {
        return (pass_range){.count = x->shape[0]};
    }
    /* Where all rows are wanted, both ranges are the same. */
    bool every = x->shape[0] == p->shape.rows * factor;
    return (pass_range){.first = factor * (every ? part->row : part->out),
                        .count = factor * (every ? part->rows : part->outs)};
}

pb_tensor network_part_region(const pb_tensor *all, pass_range range, int64_t width)
{
    size_t before = (size_t)(range.first * all->stride) * pb_dtype_size(all->dtype);
    return pb_tensor_2d((char *)all->data + before, all->dtype, range.count, width);
}

/* The parts have norms of their own. */
static bool norms_differ(const pb_network *net, const pass *p, const pb_site *site)
{
    return p->part_count > 1 && (net->acts[site->index] & PB_ACTS_BOUND) != 0;
}

pb_status network_norm_forward(pb_network *net, const pass *p, const pb_site *site, int64_t heads,
                               pb_tensor *y, const pb_tensor *x)
{
    pb_rmsnorm_args args = network_norm_args(net);
    if (!norms_differ(net, p, site)) {
        return pb_rmsnorm_forward(net->backend, y, x, &net->bindings[site->index].weight, &args);
    }
    for (int64_t i = 0; i < p->part_count; i++) {
        const pass_part *part = &p->parts[i];
        pass_range range      = network_part_range(p, part, x, heads);
        pb_tensor to          = pb_tensor_rows(y, range.first, range.count);
        pb_tensor from        = pb_tensor_rows(x, range.first, range.count);
        PB_TRY(pb_rmsnorm_forward(net->backend, &to, &from,
                                  &part->net->bindings[site->index].weight, &args));
    }
    return PB_OK;
}

static pb_status norm_backward(pb_network *net, pb_binding *bound, pb_tensor *dx,
                               const pb_tensor *dy, const pb_tensor *x, bool add)
{
    pb_tensor *dweight   = pb_tensor_is_none(&bound->dweight) ? NULL : &bound->dweight;
    pb_rmsnorm_args args = network_norm_args(net);
    args.add             = add;
    return pb_rmsnorm_backward(net->backend, dx, dweight, dy, x, &bound->weight, &args);
}

pb_status network_norm_backward(pb_network *net, const pass *p, const pb_site *site, int64_t heads,
                                pb_tensor *dx, const pb_tensor *dy, const pb_tensor *x, bool add)
{
    if (!norms_differ(net, p, site)) {
        return norm_backward(net, &net->bindings[site->index], dx, dy, x, add);
    }
    for (int64_t i = 0; i < p->part_count; i++) {
        const pass_part *part = &p->parts[i];
        pass_range range      = network_part_range(p, part, x, heads);
        pb_tensor to          = pb_tensor_rows(dx, range.first, range.count);
        pb_tensor grad        = pb_tensor_rows(dy, range.first, range.count);
        pb_tensor from        = pb_tensor_rows(x, range.first, range.count);
        PB_TRY(norm_backward(net, &part->net->bindings[site->index], &to, &grad, &from, add));
    }
    return PB_OK;
}
