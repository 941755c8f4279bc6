// SPDX-License-Identifier: Apache-2.0
/* Successive halving: which members of a gang go on at a rung. */
#include "internal.h"

#include <inttypes.h>
#include <math.h>

pb_status search_check(const member *members, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (members[i].data->validation_count == 0) {
            return PB_FAIL(PB_ERR_CONFIG, "a search compares validation losses, but there are no "
                                          "validation rows: give data.validation_share");
        }
        if (members[i].steps != members[0].steps) {
            return PB_FAIL(
                PB_ERR_CONFIG,
                "a search compares variants after equal shares of their steps, which must "
                "be equally many: %" PRId64 " and %" PRId64 "; set train.max_steps",
                members[0].steps, members[i].steps);
        }
    }
    return PB_OK;
}

int64_t search_rung(const pb_train_search *search, int64_t number, int64_t steps)
{
    for (int64_t i = search->count - 1; i >= 0; i--) {
        if ((search->rungs[i] * steps + 99) / 100 == number) {
            return search->rungs[i];
        }
    }
    return 0;
}

/* From 1, among those that run. */
static int64_t place_of(const member *members, int64_t count, int64_t at)
{
    int64_t place = 1;
    for (int64_t i = 0; i < count; i++) {
        double other = members[i].validated;
        double own   = members[at].validated;
        place += members[i].running && (other < own || (other == own && i < at));
    }
    return place;
}

void search_judge(member *members, int64_t count, const pb_train_search *search, int64_t rung)
{
    int64_t left = 0;
    if (search->decided != NULL) {
        if (search->decided->rung == rung) {
            members[0].result->rung  = rung;
            members[0].result->place = search->decided->place;
            members[0].result->of    = search->decided->of;
        }
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        left += members[i].running;
    }
    int64_t kept = (int64_t)ceil(search->keep * (double)left);
    for (int64_t i = 0; i < count; i++) {
        int64_t place = place_of(members, count, i);
        if (members[i].running && place > kept) {
            members[i].result->rung  = rung;
            members[i].result->place = place;
            members[i].result->of    = left;
        }
    }
}
