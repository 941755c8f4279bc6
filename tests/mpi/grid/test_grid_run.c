// SPDX-License-Identifier: Apache-2.0
/* Working through the cells with a runner that only counts: every cell exactly once, whatever the
 * number of processes, and what stops, fails and resumes. */
#include "pb/clock.h"
#include "pb/comm.h"
#include "pb/file.h"
#include "pb/grid.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CELLS 40

static pb_comm *comm;
static pb_grid *grid;
static pb_grid_cells cells;

/* What the runner did on this rank, and how it shall behave. */
typedef struct counts {
    int64_t ran[CELLS];
    int64_t total;
    pb_status (*act)(struct counts *counts, const pb_grid_cell *cell, pb_grid_watch *watch,
                     pb_grid_outcome *outcome);
} counts;

static void wait_seconds(double seconds)
{
    struct timespec span = {.tv_sec = 0, .tv_nsec = (long)(seconds * 1e9)};
    nanosleep(&span, NULL);
}

static pb_status count_cell(void *context, const pb_grid_cell *const *gang, int64_t count,
                            pb_grid_watch *watch, pb_grid_outcome *outcome)
{
    counts *c                = context;
    const pb_grid_cell *cell = gang[0];
    assert_int_equal(count, 1);
    c->ran[cell->number]++;
    c->total++;
    pb_grid_watch_progress(watch, &(pb_cell_progress){.phase = "train", .step = 1, .steps = 2});
    return c->act != NULL ? c->act(c, cell, watch, outcome) : PB_OK;
}

static pb_status run_begun(counts *c, const bool *done, double began, pb_grid_summary *summary)
{
    pb_status status = pb_grid_run(grid, comm, &cells, done, began,
                                   &(pb_grid_job){.run = count_cell, .context = c}, summary);
    assert_int_equal(pb_comm_reduce_sum(comm, c->ran, CELLS), PB_OK);
    return status;
}

static pb_status run(counts *c, const bool *done, pb_grid_summary *summary)
{
    return run_begun(c, done, pb_clock_seconds(), summary);
}

static void every_cell_runs_exactly_once(void **state)
{
    (void)state;
    counts c                = {0};
    pb_grid_summary summary = {0};
    assert_int_equal(run(&c, NULL, &summary), PB_OK);
    for (int i = 0; i < CELLS; i++) {
        assert_int_equal(c.ran[i], 1);
    }
    assert_int_equal(summary.cells, CELLS);
    assert_int_equal(summary.finished, CELLS);
    assert_int_equal(summary.failed + summary.left + summary.skipped, 0);
}

/* The reported activity of a process. */
typedef struct told {
    int64_t cells, ends;
    bool works, right;
} told;

static told heard;

static void hear(void *context, const pb_grid_state *state)
{
    (void)context;
    heard.cells += state != NULL;
    heard.ends += state == NULL;
    heard.works = state != NULL;
    heard.right =
        heard.right && (state == NULL || (state->cell != NULL && state->progress->step == 1 &&
                                          strcmp(state->progress->phase, "train") == 0));
    char *taken = pb_memory_new(1 << 20, 1); /* must not count as the cell's */
    pb_memory_free(taken);
}

static pb_status measure(void *context, const pb_grid_cell *const *gang, int64_t count,
                         pb_grid_watch *watch, pb_grid_outcome *outcome)
{
    int64_t *most = context;
    (void)gang, (void)count, (void)outcome;
    pb_memory_peak_reset();
    size_t before = pb_memory_peak();
    pb_grid_watch_progress(watch, &(pb_cell_progress){.phase = "train", .step = 1, .steps = 2});
    int64_t more = (int64_t)(pb_memory_peak() - before);
    *most        = more > *most ? more : *most;
    return PB_OK;
}

static void what_runs_is_reported_from_the_first_cell_to_the_end(void **state)
{
    (void)state;
    int64_t most            = 0;
    pb_grid_summary summary = {0};
    heard                   = (told){.right = true};
    pb_status status =
        pb_grid_run(grid, comm, &cells, NULL, pb_clock_seconds(),
                    &(pb_grid_job){.run = measure, .context = &most, .tell = hear}, &summary);
    int64_t wrong = !heard.right || heard.works || heard.cells < 1 || heard.ends < 1 || most > 0;
    assert_int_equal(pb_comm_reduce_sum(comm, &wrong, 1), PB_OK);
    assert_int_equal(status, PB_OK);
    assert_int_equal(wrong, 0);
}

static pb_status nap(counts *c, const pb_grid_cell *cell, pb_grid_watch *watch,
                     pb_grid_outcome *outcome)
{
    (void)c, (void)cell, (void)watch, (void)outcome;
    wait_seconds(0.02);
    return PB_OK;
}

static pb_status long_nap(counts *c, const pb_grid_cell *cell, pb_grid_watch *watch,
                          pb_grid_outcome *outcome)
{
    (void)c, (void)cell, (void)watch, (void)outcome;
    wait_seconds(0.06);
    return PB_OK;
}

static void the_work_is_shared(void **state)
{
    (void)state;
    counts c                = {.act = nap};
    pb_grid_summary summary = {0};
    int64_t least           = 0;
    assert_int_equal(run(&c, NULL, &summary), PB_OK);
    least = -c.total;
    assert_int_equal(pb_comm_reduce_max(comm, &least, 1), PB_OK);
    assert_true(-least >= 1);
}

static void done_cells_are_skipped_and_rank_0_decides(void **state)
{
    (void)state;
    bool done[CELLS];
    counts c                = {0};
    pb_grid_summary summary = {0};
    for (int i = 0; i < CELLS; i++) {
        done[i] = pb_comm_rank(comm) == 0 ? i % 3 == 0 : false;
    }
    assert_int_equal(run(&c, done, &summary), PB_OK);
    for (int i = 0; i < CELLS; i++) {
        assert_int_equal(c.ran[i], i % 3 != 0);
    }
    assert_int_equal(summary.skipped, 14);
    assert_int_equal(summary.finished, 26);

    memset(done, 1, sizeof done);
    memset(&c, 0, sizeof c);
    assert_int_equal(run(&c, done, &summary), PB_OK);
    assert_int_equal(summary.finished, 0);
}

/* Even cells fail as results, every fifth with an unexpected status. */
static pb_status fail_some(counts *c, const pb_grid_cell *cell, pb_grid_watch *watch,
                           pb_grid_outcome *outcome)
{
    (void)c, (void)watch;
    if (cell->number % 5 == 0) {
        return PB_FAIL(PB_ERR_NUMERIC, "loss is not finite");
    }
    outcome->failed = cell->number % 2 == 0;
    snprintf(outcome->message, sizeof outcome->message, "made to fail");
    return PB_OK;
}

static void failing_cells_do_not_end_the_sweep(void **state)
{
    (void)state;
    counts c                = {.act = fail_some};
    pb_grid_summary summary = {0};
    assert_int_equal(run(&c, NULL, &summary), PB_OK);
    assert_int_equal(summary.finished, CELLS);
    assert_int_equal(summary.failed, 24);
    assert_int_equal(summary.left, 0);
}

static pb_status raise_signal(counts *c, const pb_grid_cell *cell, pb_grid_watch *watch,
                              pb_grid_outcome *outcome)
{
    (void)cell, (void)outcome;
    if (c->total < 2) {
        return PB_OK;
    }
    assert_false(pb_grid_watch_stop(watch));
    raise(SIGUSR1);
    assert_true(pb_grid_watch_stop(watch));
    return c->total == 2 ? PB_OK : PB_FAIL(PB_STOPPED, "interrupted");
}

/* With one process both cells before the signal count, the others are left for the next run. */
static void a_signal_stops_without_losing_cells(void **state)
{
    (void)state;
    counts c                = {.act = raise_signal};
    pb_grid_summary summary = {0};
    pb_status status        = run(&c, NULL, &summary);
    assert_int_equal(summary.finished + summary.left, CELLS);
    if (pb_comm_size(comm) == 1) {
        assert_int_equal(status, PB_STOPPED);
        assert_string_equal(pb_error_message(), "stopped on SIGUSR1 with 38 of 40 cells left; the "
                                                "same command continues from here");
        assert_int_equal(summary.finished, 2);
    } else {
        assert_int_equal(status, summary.left > 0 ? PB_STOPPED : PB_OK);
    }
    for (int i = 0; i < CELLS; i++) {
        assert_true(c.ran[i] <= 1);
    }
    pb_error_clear();

    /* The remaining cells run in the next call, which the old signal does not disturb. */
    bool done[CELLS];
    for (int i = 0; i < CELLS; i++) {
        done[i] = c.ran[i] > 0;
    }
    counts again = {0};
    assert_int_equal(run(&again, done, &summary), PB_OK);
    for (int i = 0; i < CELLS; i++) {
        assert_int_equal(again.ran[i] + c.ran[i], 1);
    }
}

static pb_status interrupted(counts *c, const pb_grid_cell *cell, pb_grid_watch *watch,
                             pb_grid_outcome *outcome)
{
    (void)c, (void)watch, (void)outcome;
    return cell->number == 0 ? PB_FAIL(PB_STOPPED, "interrupted") : PB_OK;
}

static void a_cell_that_gives_up_is_left(void **state)
{
    (void)state;
    counts c                = {.act = interrupted};
    pb_grid_summary summary = {0};
    assert_int_equal(run(&c, NULL, &summary), PB_STOPPED);
    assert_int_equal(summary.left, pb_comm_size(comm) == 1 ? CELLS : 1);
    pb_error_clear();
}

static pb_status unwritable(counts *c, const pb_grid_cell *cell, pb_grid_watch *watch,
                            pb_grid_outcome *outcome)
{
    (void)c, (void)watch, (void)outcome;
    return cell->number == 3 ? PB_FAIL(PB_ERR_IO, "disk is full") : PB_OK;
}

static void unwritable_results_end_the_run_with_their_message(void **state)
{
    (void)state;
    counts c                = {.act = unwritable};
    pb_grid_summary summary = {0};
    assert_int_equal(run(&c, NULL, &summary), PB_ERR_IO);
    assert_non_null(strstr(pb_error_message(), "disk is full"));
    assert_true(summary.left >= 1);
    pb_error_clear();
}

static pb_status lose_device(counts *c, const pb_grid_cell *cell, pb_grid_watch *watch,
                             pb_grid_outcome *outcome)
{
    (void)c, (void)watch;
    outcome->kept = outcome->failed = cell->number == 3;
    return cell->number == 3 ? PB_FAIL(PB_ERR_DEVICE, "made to lose the device") : PB_OK;
}

/* The cell has a result, the process takes no other; the others do what is left. */
static void a_process_without_its_device_leaves_the_rest_to_others(void **state)
{
    (void)state;
    counts c                = {.act = lose_device};
    pb_grid_summary summary = {0};
    pb_status status        = run(&c, NULL, &summary);
    assert_int_equal(summary.failed, 1);
    if (pb_comm_size(comm) == 1) {
        assert_int_equal(status, PB_STOPPED);
        assert_string_equal(pb_error_message(),
                            "stopped on the loss of a device with 36 of 40 cells left; the same "
                            "command continues from here");
        assert_int_equal(summary.finished, 4);
    } else {
        assert_int_equal(status, PB_OK);
        assert_int_equal(summary.finished, CELLS);
    }
    pb_error_clear();
}

/* A grid of 40 cells: 1 model, 2 data sets, 2 methods, 10 seeds. The files are in the process's own
 * folder, so that ranks do not share them. */
static pb_status open_cells(const char *set)
{
    char folder[64], path[160];
    const char *const files[][2] = {
        {"model/m.cfg", "model = { };"},
        {"dataset/a.cfg", "dataset = { };"},
        {"dataset/b.cfg", "dataset = { };"},
        {"method/x.cfg", "method = { };"},
        {"method/y.cfg", "method = { };"},
        {"grid/g.cfg", "sweep = { name = \"t\"; models = \"m\"; datasets = [\"a\", \"b\"];\n"
                       " methods = [\"x\", \"y\"]; seeds = [1,2,3,4,5,6,7,8,9,10]; };"},
    };
    const char *const folders[] = {"model", "dataset", "method", "grid", ""};
    snprintf(folder, sizeof folder, "/tmp/pb_grid_run.%d", (int)getpid());
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, folders[i]);
        PB_TRY(pb_path_make_directories(path));
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i][0]);
        PB_TRY(pb_file_write_atomic(path, files[i][1], strlen(files[i][1])));
    }
    pb_status status = pb_grid_open(path, &set, set != NULL, &grid);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i][0]);
        remove(path);
    }
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, folders[i]);
        remove(path);
    }
    PB_TRY(status);
    return pb_grid_expand(grid, &cells);
}

static void close_cells(void)
{
    pb_grid_cells_clear(&cells);
    pb_grid_close(grid);
    grid = NULL;
}

/* The limit leaves 1.5 s: enough to begin on a busy machine, too little for one process. */
static void the_time_limit_stops_the_run(void **state)
{
    (void)state;
    close_cells();
    assert_int_equal(open_cells("run={ time_limit_seconds = 61.5; time_reserve_seconds = 60; }"),
                     PB_OK);
    counts c                = {.act = long_nap};
    pb_grid_summary summary = {0};
    pb_status status        = run(&c, NULL, &summary);
    assert_int_equal(summary.finished + summary.left, CELLS);
    assert_int_equal(status, summary.left > 0 ? PB_STOPPED : PB_OK);
    if (pb_comm_size(comm) == 1) {
        assert_true(summary.left > 0 && summary.finished > 0);
        assert_non_null(strstr(pb_error_message(), "cells left; the same command continues from"));
    }
    pb_error_clear();
    close_cells();
    assert_int_equal(open_cells(NULL), PB_OK);
}

/* The limit counts from the start of the program, including the time before this call. A run that
 * could not begin a cell is not a stop after which a loop should try again. */
static void a_limit_that_is_over_before_the_first_cell_is_an_error(void **state)
{
    (void)state;
    close_cells();
    assert_int_equal(open_cells("run={ time_limit_seconds = 100.0; time_reserve_seconds = 60; }"),
                     PB_OK);
    bool done[CELLS];
    counts c                = {0};
    pb_grid_summary summary = {0};
    double began            = pb_clock_seconds() - 50;
    assert_int_equal(run_begun(&c, NULL, began, &summary), PB_ERR_CONFIG);
    assert_non_null(strstr(pb_error_message(), "time_limit_seconds = 100"));
    assert_non_null(strstr(pb_error_message(), "before the first cell"));
    assert_int_equal(summary.left, CELLS);
    assert_int_equal(summary.finished + c.total, 0);
    pb_error_clear();
    memset(done, 1, sizeof done);
    assert_int_equal(run_begun(&c, done, began, &summary), PB_OK);
    close_cells();
    assert_int_equal(open_cells(NULL), PB_OK);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_runs_exactly_once),
        cmocka_unit_test(what_runs_is_reported_from_the_first_cell_to_the_end),
        cmocka_unit_test(the_work_is_shared),
        cmocka_unit_test(done_cells_are_skipped_and_rank_0_decides),
        cmocka_unit_test(failing_cells_do_not_end_the_sweep),
        cmocka_unit_test(a_signal_stops_without_losing_cells),
        cmocka_unit_test(a_cell_that_gives_up_is_left),
        cmocka_unit_test(unwritable_results_end_the_run_with_their_message),
        cmocka_unit_test(a_process_without_its_device_leaves_the_rest_to_others),
        cmocka_unit_test(the_time_limit_stops_the_run),
        cmocka_unit_test(a_limit_that_is_over_before_the_first_cell_is_an_error),
    };
    if (pb_comm_open(&argc, &argv, &comm) != PB_OK) {
        return 1;
    }
    pb_log_setup(PB_LOG_ERROR, pb_comm_rank(comm), pb_comm_size(comm));
    size_t before = pb_memory_current();
    int failed    = 1;
    if (open_cells(NULL) == PB_OK && cells.count == CELLS) {
        failed = cmocka_run_group_tests(tests, NULL, NULL);
    }
    close_cells();
    failed = failed != 0 || pb_memory_current() != before;
    pb_comm_close(comm);
    return failed;
}
