// SPDX-License-Identifier: Apache-2.0
/* The ways to start a run: one network alone, or several together. */
#include "internal.h"

#include "pb/memory.h"

#include <inttypes.h>

static void close_run(run *r)
{
    for (int64_t i = 0; i < r->count; i++) {
        parts_close(r->members[i].parts);
        member_close(&r->members[i]);
    }
    pb_backend_free(r->backend, r->numbers.data);
}

pb_status pb_train_run(pb_network *net, pb_method *method, const pb_train_options *options,
                       uint64_t seed, const pb_train_data *data, const pb_train_observer *observer,
                       pb_train_result *result)
{
    return pb_train_alone(&(pb_train_member){.net      = net,
                                             .method   = method,
                                             .options  = options,
                                             .seed     = seed,
                                             .data     = data,
                                             .observer = observer,
                                             .result   = result});
}

pb_status pb_train_alone(const pb_train_member *of)
{
    double values[PB_NUMBERS];
    pb_gang_part part = {0};
    member one        = {.backend = pb_network_backend(of->net)};
    run r             = {.backend = pb_network_backend(of->net),
                         .members = &one,
                         .count   = 1,
                         .alone   = true,
                         .parts   = &part,
                         .values  = values};
    pb_status status  = run_all(&r, of);
    close_run(&r);
    return status;
}

static pb_status check_gang(const pb_train_member *members, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (members[i].options->split > 1) {
            return PB_FAIL(PB_ERR_CONFIG,
                           "train.split = %" PRId64 ": cells that train together, in a gang or a "
                           "search, cannot be split; set train.split = 1",
                           members[i].options->split);
        }
    }
    for (int64_t i = 1; i < count; i++) {
        if (members[i].options->accumulate != members[0].options->accumulate) {
            return PB_FAIL(PB_ERR_ARGUMENT,
                           "members of a gang take the same number of passes in a step, not "
                           "%" PRId64 " and %" PRId64,
                           members[0].options->accumulate, members[i].options->accumulate);
        }
    }
    return count > 0 ? PB_OK : PB_FAIL(PB_ERR_ARGUMENT, "a gang has no members");
}

static pb_status open_gang(run *r, const pb_train_member *members)
{
    pb_network **nets = NULL;
    PB_TRY(PB_ALLOC(r->members, r->count));
    PB_TRY(PB_ALLOC(r->parts, r->count));
    PB_TRY(PB_ALLOC(r->values, r->count * PB_NUMBERS));
    PB_TRY(PB_ALLOC(nets, r->count));
    for (int64_t i = 0; i < r->count; i++) {
        nets[i]               = members[i].net;
        r->members[i].backend = r->backend;
    }
    pb_status status = pb_gang_create(nets, r->count, &r->gang);
    pb_memory_free(nets);
    return status;
}

pb_status pb_train_gang(const pb_train_member *members, int64_t count)
{
    return pb_train_gang_search(members, count, NULL);
}

pb_status pb_train_gang_search(const pb_train_member *members, int64_t count,
                               const pb_train_search *search)
{
    PB_TRY(check_gang(members, count));
    run r = {.backend = pb_network_backend(members[0].net), .count = count, .search = search};
    pb_status status;
    PB_TRY_GOTO(status, open_gang(&r, members), done);
    PB_TRY_GOTO(status, run_all(&r, members), done);
done:
    if (r.members != NULL) {
        close_run(&r);
    }
    pb_gang_destroy(r.gang);
    pb_memory_free(r.members);
    pb_memory_free(r.parts);
    pb_memory_free(r.values);
    return status;
}
