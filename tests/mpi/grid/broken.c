// SPDX-License-Identifier: Apache-2.0
/* The group breaks for the last rank in its first cell: that rank must return to abort the others,
 * which are busy or wait for it, without waiting for them. */
#include "pb/clock.h"
#include "pb/grid.h"
#include "pb/log.h"

#include <stdio.h>
#include <time.h>

static pb_comm *comm;

static pb_status break_last(void *context, const pb_grid_cell *const *gang, int64_t count,
                            pb_grid_watch *watch, pb_grid_outcome *outcome)
{
    struct timespec span = {.tv_nsec = 50000000}; /* every rank gets a cell */
    (void)context, (void)gang, (void)count, (void)watch, (void)outcome;
    nanosleep(&span, NULL);
    return pb_comm_rank(comm) == pb_comm_size(comm) - 1
               ? PB_FAIL(PB_ERR_COMM, "made to break the group")
               : PB_OK;
}

int main(int argc, char **argv)
{
    static pb_grid_cell items[8];
    pb_grid_cells cells     = {.items = items, .count = 8};
    pb_grid_summary summary = {0};
    pb_grid *grid           = NULL;

    if (argc != 2 || pb_comm_open(&argc, &argv, &comm) != PB_OK) {
        return 1;
    }
    pb_log_setup(PB_LOG_ERROR, pb_comm_rank(comm), pb_comm_size(comm));
    for (int64_t i = 0; i < cells.count; i++) {
        items[i] = (pb_grid_cell){
            .number = i, .model = "m", .dataset = "d", .method = "x", .seed = i, .cost = 1.0};
    }
    if (pb_grid_open(argv[1], NULL, 0, &grid) != PB_OK) {
        (void)printf("%s\n", pb_error_message());
        return 1;
    }
    pb_status status = pb_grid_run(grid, comm, &cells, NULL, pb_clock_seconds(),
                                   &(pb_grid_job){.run = break_last}, &summary);
    if (status == PB_ERR_COMM) {
        pb_comm_abort(comm, 23);
    }
    (void)printf("survived with status %s\n", pb_status_name(status));
    return 1;
}
