// SPDX-License-Identifier: Apache-2.0
/* What the other files ask of the model and the method: which sites there are, what is trained at
 * them, what goes before the tokens. */
#include "internal.h"

const pb_site *network_site(const pb_network *net, pb_site_kind kind, int64_t layer)
{
    return pb_model_site(net->model, kind, layer);
}

bool network_linear_changes_dy(const pb_network *net, const pb_site *site)
{
    return (net->acts[site->index] & PB_ACTS_ON_OUTPUT) != 0;
}

int64_t network_virtual_rows(const pb_network *net)
{
    const pb_method *m = net->method;
    int64_t all        = 0;
    for (int64_t i = 0; i < net->member_count; i++) {
        all += network_virtual_rows(net->members[i]);
    }
    return m != NULL && m->ops->virtual_rows != NULL ? m->ops->virtual_rows(m) : all;
}

int64_t network_virtual_keys(const pb_network *net)
{
    const pb_method *m = net->method;
    int64_t all        = 0;
    for (int64_t i = 0; i < net->member_count; i++) {
        all += network_virtual_keys(net->members[i]);
    }
    return m != NULL && m->ops->virtual_keys != NULL ? m->ops->virtual_keys(m) : all;
}

pb_rmsnorm_args network_norm_args(const pb_network *net)
{
    return (pb_rmsnorm_args){.eps    = (float)net->config->rms_eps,
                             .offset = (float)net->config->norm_offset};
}

int64_t network_kept_width(const pb_network *net, const pb_site *site)
{
    const pb_method *m = net->method;
    int64_t widest     = 0;
    for (int64_t i = 0; i < net->member_count; i++) {
        int64_t width = network_kept_width(net->members[i], site);
        widest        = width > widest ? width : widest;
    }
    if (net->member_count > 0) {
        return widest;
    }
    if ((net->acts[site->index] & PB_ACTS_LOW_RANK) != 0) {
        return m->ops->low_rank(m, site).a.shape[0];
    }
    return m != NULL && m->ops->kept_width != NULL ? m->ops->kept_width(m, site) : 0;
}

int64_t network_scratch_width(const pb_network *net, const pb_site *site)
{
    const pb_method *m = net->method;
    if ((net->acts[site->index] & PB_ACTS_LOW_RANK) != 0) {
        pb_low_rank part = m->ops->low_rank(m, site);
        return pb_low_rank_room(&part);
    }
    return m->ops->scratch_width != NULL ? m->ops->scratch_width(m, site) : 0;
}

pb_linear network_linear_at(const pb_network *net, const pb_site *site, pb_linear_part *part)
{
    const pb_binding *bound = &net->bindings[site->index];
    pb_method *m            = net->method;
    pb_linear linear        = {.weight  = bound->weight,
                               .dweight = bound->dweight,
                               .bias    = bound->bias,
                               .dbias   = bound->dbias};
    if ((net->acts[site->index] & PB_ACTS_LOW_RANK) != 0) {
        *part        = (pb_linear_part){.low_rank = m->ops->low_rank(m, site)};
        linear.parts = part;
        linear.count = 1;
    }
    return linear;
}

bool layer_is_last(const pb_network *net, int64_t layer)
{
    return layer == net->config->layers - 1;
}

bool layer_is_subset(const pb_network *net, const pass *p, int64_t layer)
{
    return layer_is_last(net, layer) && p->out_rows != NULL;
}

bool layer_has(const pb_network *net, pb_site_kind kind)
{
    return network_site(net, kind, 0) != NULL;
}

bool layer_trains(const pb_network *net, pb_site_kind kind, int64_t layer)
{
    const pb_site *site = network_site(net, kind, layer);
    return site != NULL && net->acts[site->index] != 0;
}
