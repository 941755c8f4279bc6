// SPDX-License-Identifier: Apache-2.0
/* Gangs: which cells train together. A result does not depend on it. */
#include "internal.h"

/* With "auto". On the host a gang shares no products, so there is nothing to gain. */
enum { AUTO_DEVICE = 4, AUTO_HOST = 1 };

static int64_t most_members(const pb_sweep *s, int64_t count, int64_t ranks)
{
    int64_t most  = pb_grid_get_run(s->grid)->gang;
    int64_t share = count / ranks;
    if (most > 0) {
        return most;
    }
    most = pb_cell_env_on_host(s->env) ? AUTO_HOST : AUTO_DEVICE;
    return share < 1 ? 1 : share < most ? share : most;
}

void gangs_form(const pb_sweep *s, const int64_t *todo, int64_t count, int64_t ranks,
                const bool *alone, int64_t *leads)
{
    int64_t most = most_members(s, count, ranks);
    if (s->search.count > 0) {
        search_form(s, todo, count, leads);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        const pb_cell *first = s->cells.items[todo[i]].cell;
        int64_t members      = 1;
        if (leads[i] != i || (alone != NULL && alone[todo[i]]) ||
            !pb_cell_may_join(s->env, first, first)) {
            continue;
        }
        for (int64_t k = i + 1; k < count && members < most; k++) {
            bool free = leads[k] == k && (alone == NULL || !alone[todo[k]]);
            if (free && pb_cell_may_join(s->env, s->cells.items[todo[k]].cell, first)) {
                leads[k] = i;
                members++;
            }
        }
    }
}
