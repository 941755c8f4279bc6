// SPDX-License-Identifier: Apache-2.0
/* What the method adds to products, in the borders of the frozen weights, for a backend that has
 * them. Networks over the same weights write into the same borders: a pass begins with taking and
 * writing them unless they still hold what its network wrote, from the values as they are. The pass
 * of a gang takes them too, and each of its products writes the part of its rows. */
#include "internal.h"

#include "pb/memory.h"

pb_status network_open_border(pb_network *net)
{
    int64_t sites = pb_model_site_count(net->model);
    for (int64_t i = 0; i < sites && net->method != NULL; i++) {
        pb_linear_part part;
        pb_linear linear = network_linear_at(net, pb_model_site_at(net->model, i), &part);
        if (pb_linear_may_ride(&linear)) {
            net->border.columns = linear.weight.border;
        }
    }
    return net->border.columns > 0 ? PB_ALLOC(net->border.copies, 2 * sites) : PB_OK;
}

bool network_holds_border(const pb_network *net)
{
    const part_border *b = &net->border;
    return net->method != NULL && b->owner == pb_weights_border_owner(net->weights) &&
           b->version == net->method->version;
}

pb_status network_write_border(pb_network *net)
{
    part_border *b = &net->border;
    int64_t count  = 0;
    if (b->columns == 0 || network_holds_border(net)) {
        return PB_OK;
    }
    b->owner   = pb_weights_border_take(net->weights);
    b->version = 0; /* of no values, until all of it is written */
    if (net->member_count > 0) {
        return PB_OK;
    }
    for (int64_t i = 0; i < pb_model_site_count(net->model); i++) {
        pb_linear_part part;
        pb_linear linear = network_linear_at(net, pb_model_site_at(net->model, i), &part);
        if (pb_linear_may_ride(&linear)) {
            pb_linear_border(&linear, b->copies + count);
            count += 2;
        }
    }
    PB_TRY(pb_copy_scaled(net->backend, b->copies, count));
    b->version = net->method->version;
    return PB_OK;
}
