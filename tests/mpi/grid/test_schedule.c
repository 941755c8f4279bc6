// SPDX-License-Identifier: Apache-2.0
/* The assignment of cells to ranks, and the ways in which ranks may end: cells sleep in steps, as
 * real ones work in steps, on any number of processes. Makespans are printed beside the best
 * possible ones, and not asserted. */
#include "pb/clock.h"
#include "pb/comm.h"
#include "pb/grid.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { CELLS = 24 };

static pb_comm *comm;
static pb_grid *grid;
static pb_grid_cell items[CELLS];

typedef struct load {
    int64_t count;
    double seconds[CELLS]; /* of each cell */
    double step;           /* seconds between two checks for a stop */
    int64_t ran_by[CELLS]; /* 1 + rank, summed over the group */
    int64_t own;           /* cells that ran here */
    int ends;              /* the rank that ends in its first cell, or -1 */
    pb_status ends_with;   /* PB_OK: by a signal */
} load;

static void sleep_for(double seconds)
{
    struct timespec span = {.tv_sec = (time_t)seconds};

    span.tv_nsec = (long)((seconds - (double)span.tv_sec) * 1e9);
    (void)nanosleep(&span, NULL);
}

/* Nine tenths training, one tenth test. */
static pb_status sleep_in_steps(const load *l, double seconds, pb_grid_watch *watch)
{
    double begin = pb_clock_seconds();
    double now   = begin;

    while (now < begin + seconds) {
        double done            = (now - begin) / seconds;
        pb_cell_progress train = {.phase = "train", .step = (int64_t)(1000 * done), .steps = 900};
        pb_cell_progress test  = {
             .phase = "test", .last = true, .step = (int64_t)(1000 * done) - 900, .steps = 100};
        pb_grid_watch_progress(watch, done < 0.9 ? &train : &test);
        if (pb_grid_watch_stop(watch)) {
            return PB_FAIL(PB_STOPPED, "asked to stop");
        }
        sleep_for(fmin(l->step, begin + seconds - now));
        now = pb_clock_seconds();
    }
    return PB_OK;
}

static pb_status run_cell(void *context, const pb_grid_cell *const *gang, int64_t count,
                          pb_grid_watch *watch, pb_grid_outcome *outcome)
{
    load *l                  = context;
    const pb_grid_cell *cell = gang[0];

    (void)count, (void)outcome;
    l->ran_by[cell->number] += 1 + pb_comm_rank(comm);
    if (l->ends == pb_comm_rank(comm)) {
        if (l->ends_with == PB_OK) {
            raise(SIGTERM);
        } else if (l->own == 0) {
            l->own++;
            return PB_FAIL(l->ends_with, "made to fail");
        }
    }
    l->own++;
    return sleep_in_steps(l, l->seconds[cell->number], watch);
}

static pb_status run(load *l, pb_grid_summary *summary)
{
    pb_grid_cells cells = {.items = items, .count = l->count};
    double begin        = pb_clock_seconds();
    double total = 0.0, longest = 0.0;
    double scale = pb_comm_size(comm) > 1 ? 0.5 : 0.1; /* alone, times do not matter */

    for (int64_t i = 0; i < l->count; i++) {
        items[i].cost = 1.0;
        l->seconds[i] *= scale;
        total += l->seconds[i];
        longest = fmax(longest, l->seconds[i]);
    }
    pb_status status = pb_grid_run(grid, comm, &cells, NULL, begin,
                                   &(pb_grid_job){.run = run_cell, .context = l}, summary);
    double makespan  = pb_clock_seconds() - begin;
    double best      = fmax(total / pb_comm_size(comm), longest);
    assert_int_equal(pb_comm_reduce_sum(comm, l->ran_by, CELLS), PB_OK);
    if (pb_comm_rank(comm) == 0) {
        print_message("             %2d cells, %d ranks: %.3f s, at best %.3f s: %.3f\n",
                      (int)l->count, pb_comm_size(comm), makespan, best, makespan / best);
    }
    return status;
}

/* Every cell ran, each on one rank. */
static void assert_all_ran(const load *l, pb_status status, const pb_grid_summary *summary)
{
    assert_int_equal(status, PB_OK);
    assert_int_equal(summary->finished, l->count);
    assert_int_equal(summary->left + summary->failed, 0);
    for (int64_t i = 0; i < l->count; i++) {
        assert_in_range(l->ran_by[i], 1, pb_comm_size(comm));
    }
}

static int came, helped, unable;

static int64_t parts_of(void *context, const pb_grid_cell *cell)
{
    (void)context;
    return cell->number > 0 ? 1 : 3;
}

/* Of the cell that `leader` runs. A process that cannot help takes a place at first, and leaves it
 * to one that waits. */
static int helpers_expected(int leader)
{
    int others = pb_comm_size(comm) - 1 - (unable >= 0 && unable != leader);
    return others > 2 ? 2 : others;
}

/* The first cell trains until all its helpers have come, and a little longer. */
static pb_status run_with_helpers(void *context, const pb_grid_cell *const *gang, int64_t count,
                                  pb_grid_watch *watch, pb_grid_outcome *outcome)
{
    const pb_cell_progress train = {.phase = "train", .step = 1, .steps = 900};
    const double limit           = pb_clock_seconds() + 60.0;

    while (gang[0]->number == 0 && came < helpers_expected(pb_comm_rank(comm)) &&
           pb_clock_seconds() < limit) {
        pb_grid_watch_progress(watch, &train);
        assert_false(pb_grid_watch_stop(watch));
        came += pb_grid_watch_joined(watch) >= 0;
        sleep_for(0.001);
    }
    PB_TRY(run_cell(context, gang, count, watch, outcome));
    came += pb_grid_watch_joined(watch) >= 0; /* one too many */
    return PB_OK;
}

static pb_status help_cell(void *context, const pb_grid_cell *cell, int leader,
                           pb_grid_watch *watch)
{
    (void)context;
    assert_int_equal(cell->number, 0);
    assert_true(leader >= 0 && leader != pb_comm_rank(comm));
    if (unable == pb_comm_rank(comm)) {
        return PB_FAIL(PB_ERR_MEMORY, "made to fail");
    }
    assert_int_equal(pb_grid_watch_ready(watch), PB_OK);
    helped++;
    while (!pb_grid_watch_over(watch)) {
        sleep_for(0.001);
    }
    return PB_OK;
}

/* It takes two of them at most, until its training is over. */
static void idle_ranks_help_with_a_cell_that_has_parts(void **state)
{
    int size = pb_comm_size(comm);

    (void)state;
    for (unable = -1; unable < size; unable++) {
        load l                  = {.count = 6, .step = 0.002, .ends = -1};
        pb_grid_summary summary = {0};
        pb_grid_cells cells     = {.items = items, .count = l.count};
        const pb_grid_job job   = {
              .run = run_with_helpers, .parts = parts_of, .help = help_cell, .context = &l};

        came = helped = 0;
        for (int64_t i = 0; i < l.count; i++) {
            items[i].cost = i == 0 ? 10.0 : 1.0;
            l.seconds[i]  = 0.01;
        }
        pb_status status =
            pb_grid_run(grid, comm, &cells, NULL, pb_clock_seconds(), &job, &summary);
        int64_t sums[2] = {came, helped};
        assert_int_equal(pb_comm_reduce_sum(comm, l.ran_by, CELLS), PB_OK);
        assert_int_equal(pb_comm_reduce_sum(comm, sums, 2), PB_OK);
        assert_all_ran(&l, status, &summary);
        int expected = helpers_expected((int)l.ran_by[0] - 1);
        assert_int_equal(sums[0], expected);
        assert_int_equal(sums[1], expected);
    }
}

static void equal_cells_are_spread_evenly(void **state)
{
    load l                  = {.count = 16, .step = 0.005, .ends = -1};
    pb_grid_summary summary = {0};
    int64_t most            = 0;

    (void)state;
    for (int64_t i = 0; i < l.count; i++) {
        l.seconds[i] = 0.1;
    }
    assert_all_ran(&l, run(&l, &summary), &summary);
    most = l.own;
    assert_int_equal(pb_comm_reduce_max(comm, &most, 1), PB_OK);
    assert_in_range(most, l.count / pb_comm_size(comm), l.count / pb_comm_size(comm) + 2);
}

static void unequal_cells_are_worked_off_longest_first(void **state)
{
    load l                  = {.count = CELLS, .step = 0.005, .ends = -1};
    pb_grid_summary summary = {0};

    (void)state;
    for (int64_t i = 0; i < l.count; i++) {
        l.seconds[i] = 0.4 * pow(0.85, (double)i);
    }
    assert_all_ran(&l, run(&l, &summary), &summary);
}

/* The rank with the long cell does not delay the others: its next cells go to them. */
static void a_busy_rank_keeps_no_cell_waiting(void **state)
{
    int size = pb_comm_size(comm);

    (void)state;
    for (int busy = 0; busy < size; busy++) {
        load l                  = {.count = 3 * size, .step = 0.01, .ends = -1};
        pb_grid_summary summary = {0};
        for (int64_t i = 0; i < l.count; i++) {
            l.seconds[i] = i == busy ? 1.2 : 0.05;
        }
        assert_all_ran(&l, run(&l, &summary), &summary);
        for (int64_t i = 0; i < l.count && size > 1; i++) {
            assert_int_equal(l.ran_by[i] == 1 + busy, i == busy);
        }
    }
}

/* Rank 0 checks for messages four times a second; the others' cells end in between. */
static void a_rank_0_that_answers_slowly_delays_nobody_for_ever(void **state)
{
    load l                  = {.count = 12, .step = 0.005, .ends = -1};
    pb_grid_summary summary = {0};

    (void)state;
    if (pb_comm_rank(comm) == 0) {
        l.step = 0.25;
    }
    for (int64_t i = 0; i < l.count; i++) {
        l.seconds[i] = i == 0 ? 1.0 : 0.1;
    }
    assert_all_ran(&l, run(&l, &summary), &summary);
}

static void fewer_cells_than_ranks_are_no_problem(void **state)
{
    (void)state;
    for (int64_t count = 0; count <= 3; count++) {
        load l                  = {.count = count, .step = 0.005, .ends = -1, .seconds = {0.05}};
        pb_grid_summary summary = {0};
        assert_all_ran(&l, run(&l, &summary), &summary);
    }
}

/* Whichever rank ends in its first cell, and however: the run ends with that rank's status, and no
 * cell has run twice. */
static void any_rank_may_end_first_in_any_way(void **state)
{
    const pb_status ways[] = {PB_OK, PB_ERR_IO, PB_STOPPED};

    (void)state;
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        for (int rank = 0; rank < pb_comm_size(comm); rank++) {
            load l = {.count = 16, .step = 0.005, .ends = rank, .ends_with = ways[way]};
            pb_grid_summary summary = {0};
            int64_t ran             = 0;
            for (int64_t i = 0; i < l.count; i++) {
                l.seconds[i] = 0.02;
            }
            pb_status status = run(&l, &summary);
            assert_int_equal(status, ways[way] == PB_OK ? PB_STOPPED : ways[way]);
            assert_true(summary.left >= 1);
            assert_int_equal(summary.finished + summary.left, l.count);
            for (int64_t i = 0; i < l.count; i++) {
                assert_in_range(l.ran_by[i], 0, pb_comm_size(comm));
                ran += l.ran_by[i] > 0;
            }
            /* And the abandoned one; after a signal also those of the others. */
            assert_in_range(ran, summary.finished + 1,
                            summary.finished + (ways[way] == PB_OK ? pb_comm_size(comm) : 1));
            pb_error_clear();
        }
    }
}

/* A signal to one rank stops the cells of all, which would take minutes. */
static void a_signal_to_one_rank_ends_the_whole_run(void **state)
{
    (void)state;
    for (int rank = 0; rank < pb_comm_size(comm); rank++) {
        load l                  = {.count = CELLS, .step = 0.005, .ends = rank};
        pb_grid_summary summary = {0};
        for (int64_t i = 0; i < l.count; i++) {
            l.seconds[i] = 600.0;
        }
        assert_int_equal(run(&l, &summary), PB_STOPPED);
        assert_int_equal(summary.left, l.count);
        pb_error_clear();
    }
}

static pb_status train_for_minutes(void *context, const pb_grid_cell *const *gang, int64_t count,
                                   pb_grid_watch *watch, pb_grid_outcome *outcome)
{
    (void)gang, (void)count, (void)outcome;
    return sleep_in_steps(context, 600.0, watch);
}

static pb_status help_until_a_signal(void *context, const pb_grid_cell *cell, int leader,
                                     pb_grid_watch *watch)
{
    (void)context, (void)cell, (void)leader;
    assert_int_equal(pb_grid_watch_ready(watch), PB_OK);
    raise(SIGTERM);
    while (!pb_grid_watch_over(watch)) {
        sleep_for(0.001);
    }
    return PB_OK;
}

static void a_signal_to_a_helper_ends_the_whole_run(void **state)
{
    load l                  = {.count = 1, .step = 0.005, .ends = -1};
    pb_grid_summary summary = {0};
    pb_grid_cells cells     = {.items = items, .count = l.count};
    const pb_grid_job job   = {
          .run = train_for_minutes, .parts = parts_of, .help = help_until_a_signal, .context = &l};

    (void)state;
    if (pb_comm_size(comm) == 1) {
        skip();
    }
    pb_status status = pb_grid_run(grid, comm, &cells, NULL, pb_clock_seconds(), &job, &summary);
    assert_int_equal(status, PB_STOPPED);
    assert_int_equal(summary.left, 1);
    pb_error_clear();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_cells_are_spread_evenly),
        cmocka_unit_test(unequal_cells_are_worked_off_longest_first),
        cmocka_unit_test(a_busy_rank_keeps_no_cell_waiting),
        cmocka_unit_test(a_rank_0_that_answers_slowly_delays_nobody_for_ever),
        cmocka_unit_test(fewer_cells_than_ranks_are_no_problem),
        cmocka_unit_test(idle_ranks_help_with_a_cell_that_has_parts),
        cmocka_unit_test(any_rank_may_end_first_in_any_way),
        cmocka_unit_test(a_signal_to_one_rank_ends_the_whole_run),
        cmocka_unit_test(a_signal_to_a_helper_ends_the_whole_run),
    };
    size_t before = pb_memory_current();

    if (pb_comm_open(&argc, &argv, &comm) != PB_OK) {
        return 1;
    }
    pb_log_setup(PB_LOG_ERROR, pb_comm_rank(comm), pb_comm_size(comm));
    for (int64_t i = 0; i < CELLS; i++) {
        items[i] =
            (pb_grid_cell){.number = i, .model = "m", .dataset = "d", .method = "x", .seed = i};
    }
    int failed = pb_grid_open(PB_SOURCE_DIR "/configs/grid/quick.cfg", NULL, 0, &grid) != PB_OK;
    failed     = failed != 0 || cmocka_run_group_tests(tests, NULL, NULL) != 0;
    pb_grid_close(grid);
    pb_comm_close(comm);
    return failed || pb_memory_current() != before;
}
