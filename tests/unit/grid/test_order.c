// SPDX-License-Identifier: Apache-2.0
/* The order in which cells are dealt, and how finished ones correct it: one process, cells that
 * only say how long they took. */
#include "pb/comm.h"
#include "pb/grid.h"
#include "pb/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

enum { CELLS = 6 };

static pb_comm *comm;
static pb_grid *grid;

/* Seconds of a unit of cost, by method; and the cells in the order they came. */
typedef struct load {
    double seconds[2];
    int64_t order[CELLS], count;
} load;

static pb_status run_cell(void *context, const pb_grid_cell *const *gang, int64_t count,
                          pb_grid_watch *watch, pb_grid_outcome *outcome)
{
    load *l = context;
    (void)watch, (void)count;
    l->order[l->count++] = gang[0]->number;
    outcome->kept        = true;
    outcome->seconds     = l->seconds[gang[0]->index[PB_AXIS_METHOD]] * gang[0]->cost;
    return PB_OK;
}

/* Costs 10, 9, 8, 7, 6, 5 of two methods in turn; the last two cells are of another model. */
static void assert_order(load *l, bool second_model, const int64_t expected[CELLS])
{
    pb_grid_cell items[CELLS];
    pb_grid_cells cells     = {.items = items, .count = CELLS};
    pb_grid_summary summary = {0};
    for (int64_t i = 0; i < CELLS; i++) {
        items[i]                       = (pb_grid_cell){.number  = i,
                                                        .model   = "m",
                                                        .dataset = "d",
                                                        .method  = i % 2 == 0 ? "a" : "b",
                                                        .seed    = i,
                                                        .cost    = (double)(10 - i)};
        items[i].index[PB_AXIS_METHOD] = i % 2;
        items[i].index[PB_AXIS_MODEL]  = second_model && i >= 4;
    }
    const pb_grid_job job = {.run = run_cell, .context = l};
    assert_int_equal(pb_grid_run(grid, comm, &cells, NULL, 0.0, &job, &summary), PB_OK);
    assert_int_equal(summary.finished, CELLS);
    assert_memory_equal(l->order, expected, sizeof l->order);
}

static void times_as_predicted_keep_the_order(void **state)
{
    load l = {.seconds = {2, 2}};
    (void)state;
    assert_order(&l, false, (const int64_t[CELLS]){0, 1, 2, 3, 4, 5});
}

/* Method a takes a hundred times as long as predicted, which its first cell shows. */
static void a_slow_method_comes_first(void **state)
{
    load l = {.seconds = {100, 1}};
    (void)state;
    assert_order(&l, false, (const int64_t[CELLS]){0, 1, 2, 4, 3, 5});
}

static void a_model_is_finished_before_the_next(void **state)
{
    load l = {.seconds = {100, 1}};
    (void)state;
    assert_order(&l, true, (const int64_t[CELLS]){0, 1, 2, 3, 4, 5});
}

static void times_below_a_second_change_nothing(void **state)
{
    load l = {.seconds = {1e-2, 1e-4}};
    (void)state;
    assert_order(&l, false, (const int64_t[CELLS]){0, 1, 2, 3, 4, 5});
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_as_predicted_keep_the_order),
        cmocka_unit_test(a_slow_method_comes_first),
        cmocka_unit_test(a_model_is_finished_before_the_next),
        cmocka_unit_test(times_below_a_second_change_nothing),
    };
    if (pb_comm_open(&argc, &argv, &comm) != PB_OK) {
        return 1;
    }
    pb_log_setup(PB_LOG_ERROR, 0, 1);
    int failed = pb_grid_open(PB_SOURCE_DIR "/configs/grid/quick.cfg", NULL, 0, &grid) != PB_OK;
    failed     = failed != 0 || cmocka_run_group_tests(tests, NULL, NULL) != 0;
    pb_grid_close(grid);
    pb_comm_close(comm);
    return failed;
}
