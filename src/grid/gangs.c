// SPDX-License-Identifier: Apache-2.0
/* The cells to do as gangs: the members of a gang take the place of its first cell. */
#include "internal.h"

#include "pb/memory.h"

/* at [count]: scratch, first the members that each cell leads, then where the next one goes. */
static void fill(const int64_t *todo, const int64_t *leads, int64_t count, int64_t *at,
                 grid_gangs *gangs)
{
    for (int64_t i = 0; i < count; i++) {
        at[leads[i]]++;
    }
    for (int64_t i = 0; i < count; i++) {
        if (leads[i] == i) {
            int64_t members              = at[i];
            gangs->first[gangs->count++] = gangs->cells;
            at[i]                        = gangs->cells;
            gangs->cells += members;
        }
    }
    for (int64_t i = 0; i < count; i++) {
        gangs->todo[at[leads[i]]++] = todo[i];
    }
    gangs->first[gangs->count] = gangs->cells;
}

pb_status grid_gangs_open(const int64_t *todo, const int64_t *leads, int64_t count, grid_gangs *out)
{
    grid_gangs gangs = {0};
    int64_t *scratch = NULL;
    pb_status status;
    PB_TRY_GOTO(status, PB_ALLOC(scratch, count + 1), err_gangs);
    PB_TRY_GOTO(status, PB_ALLOC(gangs.todo, count + 1), err_gangs);
    PB_TRY_GOTO(status, PB_ALLOC(gangs.first, count + 1), err_gangs);
    fill(todo, leads, count, scratch, &gangs);
    *out  = gangs;
    gangs = (grid_gangs){0};
err_gangs:
    grid_gangs_close(&gangs);
    pb_memory_free(scratch);
    return status;
}

void grid_gangs_close(grid_gangs *gangs)
{
    pb_memory_free(gangs->todo);
    pb_memory_free(gangs->first);
    *gangs = (grid_gangs){0};
}
