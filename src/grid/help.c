// SPDX-License-Identifier: Apache-2.0
/* Who helps whom, as rank 0 keeps it: a gang whose only cell is split takes helpers while its
 * training runs. */
#include "internal.h"

#include "pb/memory.h"

enum { NONE = -1 };

pb_status grid_help_open(grid_help *h, int64_t gangs, int ranks)
{
    pb_status status;
    *h = (grid_help){.gangs = gangs, .ranks = ranks};
    PB_TRY_GOTO(status, PB_ALLOC(h->runs, gangs), fail);
    PB_TRY_GOTO(status, PB_ALLOC(h->helped, ranks), fail);
    for (int64_t i = 0; i < gangs; i++) {
        h->runs[i].leader = NONE;
        h->runs[i].parts  = 1;
    }
    for (int i = 0; i < ranks; i++) {
        h->helped[i] = NONE;
    }
    return PB_OK;
fail:
    grid_help_close(h);
    return status;
}

void grid_help_close(grid_help *h)
{
    pb_memory_free(h->runs);
    pb_memory_free(h->helped);
    *h = (grid_help){0};
}

void grid_help_lead(grid_help *h, int64_t gang, int rank)
{
    grid_help_run *run = &h->runs[gang];
    h->led += (rank != NONE) - (run->leader != NONE);
    run->leader = rank;
    h->changed  = true;
}

void grid_help_stop(grid_help *h, int rank)
{
    if (h->helped[rank] != NONE) {
        h->runs[h->helped[rank]].helpers--;
        h->helped[rank] = NONE;
        h->changed      = true;
    }
}

/* The gang with the most work for each of its processes. */
int64_t grid_help_choose(grid_help *h, int rank)
{
    int64_t best = NONE;
    double most  = 0.0;
    for (int64_t i = 0; i < h->gangs && h->split; i++) {
        const grid_help_run *run = &h->runs[i];
        double each              = run->cost / (run->helpers + 2);
        if (run->leader != NONE && run->leader != rank && run->helpers + 1 < run->parts &&
            (best == NONE || each > most)) {
            best = i;
            most = each;
        }
    }
    if (best != NONE) {
        h->helped[rank] = best;
        h->runs[best].helpers++;
    }
    return best;
}
