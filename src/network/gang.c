// SPDX-License-Identifier: Apache-2.0
/* A gang: a network without a method of its own, whose passes hold the rows of several networks,
 * end to end. What reads weights that a method has bound, or calls a slot of a method, works on one
 * part after the other; everything else on all rows at once. */
#include "pb/gang.h"

#include "internal.h"

#include "pb/memory.h"

struct pb_gang {
    pb_network *net;      /* what all members have in common */
    pb_network **members; /* [count] */
    int64_t count;
    pb_batch joined;          /* the batches of the last pass */
    const pb_batch **batches; /* [count] room for a list of them */
    pass_part *parts;         /* [count] of that pass */
    float *grad_scales;       /* [count] */
};

bool pb_gang_possible(const pb_model_config *config)
{
    return config->rope.type != PB_ROPE_DYNAMIC && config->rope_sliding.type != PB_ROPE_DYNAMIC;
}

static pb_status check_members(pb_network *const *members, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (members[i]->weights != members[0]->weights || members[i]->merged != NULL) {
            return PB_FAIL(PB_ERR_ARGUMENT,
                           "a gang's members share their weights, and none has merged ones");
        }
    }
    if (count < 1 || !pb_gang_possible(members[0]->config)) {
        return PB_FAIL(PB_ERR_ARGUMENT, "a gang has at least one member, and no dynamic rope");
    }
    return PB_OK;
}

/* What all members together act on. */
static void unite(const pb_gang *gang)
{
    pb_network *net = gang->net;
    for (int64_t m = 0; m < gang->count; m++) {
        const pb_network *member = gang->members[m];
        for (int64_t i = 0; i < pb_model_site_count(net->model); i++) {
            net->acts[i] |= member->acts[i];
        }
        net->without |= member->without;
        if (member->scratch_width > net->scratch_width) {
            net->scratch_width = member->scratch_width;
        }
        if (member->border.columns > 0) {
            net->border.columns = member->border.columns;
        }
    }
    net->members      = gang->members;
    net->member_count = gang->count;
    network_find_needs(net);
}

/* One pass at a time: validation uses the memory of the steps. */
static void share_memory(const pb_gang *gang)
{
    for (int64_t m = 0; m < gang->count; m++) {
        network_leave_memory(gang->members[m]);
        gang->members[m]->memory = gang->net->memory;
        gang->net->memory->users++;
    }
}

static pb_status open_gang(pb_gang *gang, pb_network *const *members, int64_t count)
{
    PB_TRY(PB_ALLOC(gang->members, count));
    PB_TRY(PB_ALLOC(gang->batches, count));
    PB_TRY(PB_ALLOC(gang->parts, count));
    PB_TRY(PB_ALLOC(gang->grad_scales, count));
    PB_TRY(pb_network_create(members[0]->weights, NULL, &gang->net));
    PB_TRY(PB_GROW(gang->net->low_ranks, count));
    for (int64_t i = 0; i < count; i++) {
        gang->members[i] = members[i];
    }
    gang->count = count;
    unite(gang);
    share_memory(gang);
    return PB_OK;
}

pb_status pb_gang_create(pb_network *const *members, int64_t count, pb_gang **out)
{
    pb_gang *gang = NULL;
    PB_TRY(check_members(members, count));
    PB_TRY(PB_ALLOC(gang, 1));
    pb_status status = open_gang(gang, members, count);
    if (status != PB_OK) {
        pb_gang_destroy(gang);
        return PB_FRAME(status);
    }
    *out = gang;
    return PB_OK;
}

void pb_gang_destroy(pb_gang *gang)
{
    if (gang == NULL) {
        return;
    }
    pb_network_destroy(gang->net);
    pb_batch_clear(&gang->joined);
    pb_memory_free(gang->batches);
    pb_memory_free(gang->parts);
    pb_memory_free(gang->grad_scales);
    pb_memory_free(gang->members);
    pb_memory_free(gang);
}

static bool is_member(const pb_gang *gang, const pb_network *net)
{
    for (int64_t i = 0; i < gang->count; i++) {
        if (gang->members[i] == net) {
            return true;
        }
    }
    return false;
}

static pb_status check_parts(const pb_gang *gang, const pb_gang_part *parts, int64_t count)
{
    if (count < 1 || count > gang->count) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "a gang's pass has at least one part, at most one a member");
    }
    for (int64_t i = 0; i < count; i++) {
        if (!is_member(gang, parts[i].net)) {
            return PB_FAIL(PB_ERR_ARGUMENT, "a part of a gang's pass belongs to no member");
        }
        PB_TRY(network_check_batch(parts[i].net, parts[i].batch));
    }
    return PB_OK;
}

/* Where each batch lies in the joined one. */
static void place_parts(pb_gang *gang, const pb_gang_part *parts, int64_t count)
{
    pass_part at = {0};
    for (int64_t i = 0; i < count; i++) {
        const pb_batch *b    = parts[i].batch;
        at.net               = parts[i].net;
        at.rows              = b->forest.rows;
        at.outs              = b->outs;
        at.labels            = b->padded_labels;
        at.virtual_rows      = b->virtual_rows;
        at.virtual_keys      = b->virtual_keys;
        at.sum               = parts[i].sum != NULL ? parts[i].sum->data : NULL;
        gang->parts[i]       = at;
        gang->grad_scales[i] = (float)parts[i].grad_scale;
        at.row += at.rows;
        at.out += at.outs;
        at.label += at.labels;
        at.key += at.virtual_keys;
    }
}

/* *p = a pass over all parts. */
static pb_status join(pb_gang *gang, const pb_gang_part *parts, int64_t count, pass *p)
{
    for (int64_t i = 0; i < count; i++) {
        gang->batches[i] = parts[i].batch;
    }
    PB_TRY(pb_batch_join(gang->batches, count, &gang->joined));
    place_parts(gang, parts, count);
    *p             = network_pass_over(&gang->joined, true);
    p->parts       = gang->parts;
    p->part_count  = count;
    p->grad_scales = gang->grad_scales;
    return PB_OK;
}

pb_status pb_gang_reserve(pb_gang *gang, const pb_gang_part *parts, int64_t count)
{
    pass p;
    PB_TRY(check_parts(gang, parts, count));
    if (count == 1) {
        return pb_network_reserve(parts->net, parts->batch);
    }
    PB_TRY(join(gang, parts, count, &p));
    PB_TRY(network_prepare(gang->net, &p));
    return network_reserve(gang->net, &p);
}

/* A single part goes no further down than its method asks for. */
pb_status pb_gang_step(pb_gang *gang, const pb_gang_part *parts, int64_t count, uint64_t number)
{
    pass p;
    PB_TRY(check_parts(gang, parts, count));
    if (count == 1) {
        return pb_network_step(parts->net, parts->batch, parts->grad_scale, number, parts->sum);
    }
    PB_TRY(join(gang, parts, count, &p));
    p.number = number;
    return network_train_pass(gang->net, &p);
}
