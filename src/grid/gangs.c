// SPDX-License-Identifier: Apache-2.0
/* The cells to do as gangs: the members of a gang take the place of its first cell. */
#include "internal.h"

#include "pb/memory.h"

static void fill(const int64_t *todo, const int64_t *leads, int64_t count, grid_gangs *gangs)
{
    for (int64_t i = 0; i < count; i++) {
        if (leads[i] != i) {
            continue;
        }
        gangs->first[gangs->count++] = gangs->cells;
        for (int64_t k = i; k < count; k++) {
            if (leads[k] == i) {
                gangs->todo[gangs->cells++] = todo[k];
            }
        }
    }
    gangs->first[gangs->count] = gangs->cells;
}

pb_status grid_gangs_open(const int64_t *todo, const int64_t *leads, int64_t count, grid_gangs *out)
{
    grid_gangs gangs = {0};
    pb_status status;
    PB_TRY_GOTO(status, PB_ALLOC(gangs.todo, count + 1), err_gangs);
    PB_TRY_GOTO(status, PB_ALLOC(gangs.first, count + 1), err_gangs);
    fill(todo, leads, count, &gangs);
    *out = gangs;
    return PB_OK;
err_gangs:
    grid_gangs_close(&gangs);
    return status;
}

void grid_gangs_close(grid_gangs *gangs)
{
    pb_memory_free(gangs->todo);
    pb_memory_free(gangs->first);
    *gangs = (grid_gangs){0};
}
