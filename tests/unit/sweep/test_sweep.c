// SPDX-License-Identifier: Apache-2.0
/* The main job as its callers see it: a forecast, a run, a rerun, and what ends a run. Two cells of
 * the demo model, in this process. */
#include "sample.h"
#include "support.h"

#include "pb/log.h"
#include "pb/memory.h"
#include "pb/stop.h"
#include "pb/sweep.h"

#include <signal.h>
#include <string.h>

static const char *const sets[] = {
    "sweep.datasets=[demo-pairs]", "sweep.methods=[none, lora]", "sweep.seeds=[1]",
    "train.max_steps=1",           "data.test_rows=2",           "data.train_rows=16"};

static pb_comm *comm;

/* What was shown. */
typedef struct shown {
    int64_t times, done;
    char shards[PB_HASH_TEXT];
    pb_status status;     /* of showing it */
    int64_t most_at_once; /* cells that trained together */
    double memory_gb;
    char digest[PB_HASH_TEXT];
} shown;

static pb_status show(void *context, const pb_results *results, const char *path)
{
    shown *s = context;
    s->times++;
    s->done         = 0;
    s->most_at_once = 0;
    for (int64_t i = 0; i < results->count; i++) {
        const pb_record *r = &results->records[i];
        s->done += r->status == PB_OK;
        s->most_at_once = r->gang > s->most_at_once ? r->gang : s->most_at_once;
        s->memory_gb    = r->memory_peak_gb;
    }
    PB_TRY(pb_results_digest(results, s->digest));
    memcpy(s->shards, results->shards, sizeof s->shards);
    assert_non_null(strstr(path, "/quick.h5"));
    return s->status == PB_OK ? PB_OK : PB_FAIL(s->status, "nobody looks");
}

static pb_sweep *open_sweep(const char *output)
{
    pb_sweep_options how = {.grid          = PB_SOURCE_DIR "/configs/grid/quick.cfg",
                            .sets          = sets,
                            .set_count     = sizeof sets / sizeof *sets,
                            .output        = output,
                            .needs_weights = true,
                            .no_cache      = true};
    pb_sweep *sweep      = NULL;
    assert_ok(pb_sweep_open(&how, comm, &sweep));
    assert_string_equal(pb_sweep_name(sweep), "quick");
    return sweep;
}

static pb_status run(const char *output, shown *s, pb_sweep_outcome *outcome)
{
    pb_sweep *sweep  = open_sweep(output);
    pb_status status = pb_sweep_run(sweep, show, s, outcome);
    pb_sweep_close(sweep);
    return status;
}

static void a_forecast_has_every_cell(void **state)
{
    (void)state;
    pb_sweep_forecast f = {0};
    pb_sweep *sweep     = open_sweep(NULL);
    assert_ok(pb_sweep_forecast_make(sweep, &f));
    assert_int_equal(f.count, 2);
    assert_int_equal(f.bad, 0);
    assert_int_equal(f.mistakes.count, 0);
    for (int64_t i = 0; i < f.count; i++) {
        const pb_sweep_foreseen *known = &f.cells[i];
        assert_int_equal(known->mistake, -1);
        assert_int_equal(known->rows.test.rows, 2);
        assert_int_equal(known->prediction.trainable_params == 0,
                         strcmp(known->cell->method, "none") == 0);
        assert_true(known->seconds > 0);
    }
    assert_true(f.seconds == f.cells[0].seconds + f.cells[1].seconds);
    pb_sweep_forecast_clear(&f);
    pb_sweep_close(sweep);
}

/* Each cell goes to the first free process. */
static void the_makespan_is_that_of_the_busiest_process(void **state)
{
    (void)state;
    static const struct {
        int64_t ranks;
        double seconds, bound;
    } expected[]              = {{1, 15, 15}, {2, 8, 7.5}, {3, 5, 5}, {4, 5, 5}, {1000000, 5, 5}};
    pb_sweep_foreseen cells[] = {{.seconds = 5}, {.seconds = 4}, {.seconds = 3},
                                 {.seconds = 2}, {.seconds = 1}, {.seconds = 0}};
    const pb_sweep_forecast f = {.cells = cells, .count = 6};
    const pb_sweep_forecast nothing = {0};
    pb_sweep_makespan m             = {-1, -1};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_ok(pb_sweep_forecast_makespan(&f, expected[i].ranks, &m));
        assert_true(m.seconds == expected[i].seconds && m.bound == expected[i].bound);
    }
    assert_ok(pb_sweep_forecast_makespan(&nothing, 3, &m));
    assert_true(m.seconds == 0 && m.bound == 0);
}

/* Cells 0 and 2 are a gang: 8 seconds in one place. */
static void the_makespan_deals_a_gang_as_a_whole(void **state)
{
    pb_sweep_foreseen cells[]  = {{.seconds = 5}, {.seconds = 4}, {.seconds = 3, .behind_lead = 2}};
    const pb_sweep_forecast f  = {.cells = cells, .count = 3};
    pb_sweep_makespan makespan = {-1, -1};
    (void)state;
    assert_ok(pb_sweep_forecast_makespan(&f, 2, &makespan));
    assert_true(makespan.seconds == 8 && makespan.bound == 8);
}

/* A cell that runs again leaves a different shard, because it includes the times. */
static void a_run_skips_what_is_done(void **state)
{
    (void)state;
    const char *output       = sample_directory();
    pb_sweep_outcome outcome = {.stopped = true, .failed = 7};
    pb_sweep_progress at     = {0};
    shown first = {0}, second = {0};
    assert_ok(run(output, &first, &outcome));
    assert_false(outcome.stopped);
    assert_int_equal(outcome.failed, 0);
    assert_int_equal(first.times, 1);
    assert_int_equal(first.done, 2);
    assert_ok(pb_sweep_progress_read(output, &at));
    assert_int_equal(at.done, 2);
    assert_int_equal(at.left, 0);
    assert_int_equal(at.running.count, 0);
    pb_sweep_progress_clear(&at);
    assert_ok(run(output, &second, &outcome));
    assert_int_equal(second.times, 1);
    assert_string_equal(second.shards, first.shards);
}

static void a_failure_to_show_is_the_failure_of_the_run(void **state)
{
    (void)state;
    pb_sweep_outcome outcome = {.stopped = true};
    shown s                  = {.status = PB_ERR_IO};
    assert_error(run(sample_directory(), &s, &outcome), PB_ERR_IO, "nobody looks");
    assert_int_equal(s.done, 2);
    assert_false(outcome.stopped);
}

static void a_stop_before_the_first_cell_shows_nothing(void **state)
{
    (void)state;
    pb_sweep_outcome outcome = {0};
    shown s                  = {0};
    pb_stop_catch();
    pb_stop_arm(0);
    assert_int_equal(raise(SIGTERM), 0);
    assert_error(run(sample_directory(), &s, &outcome), PB_STOPPED, "before the first cell");
    pb_stop_release();
    assert_int_equal(s.times, 0);
}

static int returns_its_bytes(void **state)
{
    size_t *before = *state;
    return pb_memory_current() == *before ? 0 : -1;
}

static int note_bytes(void **state)
{
    static size_t before;
    before = pb_memory_current();
    *state = &before;
    return 0;
}

/* Four cells, trained together, under a limit of memory above what is held (0: none). */
static pb_status run_gang(size_t limit, shown *s, pb_sweep_outcome *outcome)
{
    static const char *const gang[] = {"sweep.datasets=[demo-pairs]",
                                       "sweep.methods=[lora]",
                                       "sweep.seeds=[1, 2, 3, 4]",
                                       "train.max_steps=2",
                                       "data.test_rows=2",
                                       "data.train_rows=16",
                                       "run.gang=4"};
    pb_sweep_options how            = {.grid          = PB_SOURCE_DIR "/configs/grid/quick.cfg",
                                       .sets          = gang,
                                       .set_count     = sizeof gang / sizeof *gang,
                                       .output        = sample_directory(),
                                       .needs_weights = true,
                                       .no_cache      = true};
    pb_sweep *sweep                 = NULL;
    assert_ok(pb_sweep_open(&how, comm, &sweep));
    pb_memory_limit(limit > 0 ? pb_memory_current() + limit : 0);
    pb_status status = pb_sweep_run(sweep, show, s, outcome);
    pb_memory_limit(0);
    pb_sweep_close(sweep);
    return status;
}

/* Wherever a gang runs out of memory that is enough for each of its cells. */
static void cells_of_a_gang_without_memory_run_alone(void **state)
{
    (void)state;
    shown together           = {0};
    pb_sweep_outcome outcome = {0};
    int64_t alone            = 0;
    assert_ok(run_gang(0, &together, &outcome));
    assert_int_equal(together.done, 4);
    assert_int_equal(together.most_at_once, 4);
    size_t most = (size_t)(together.memory_gb * 1e9);
    for (size_t limit = most / 8; limit <= most; limit += most / 8) {
        shown s          = {0};
        pb_status status = run_gang(limit, &s, &outcome);
        pb_error_clear();
        if (status != PB_OK || outcome.failed > 0) {
            continue; /* too little for one */
        }
        assert_int_equal(s.done, 4);
        assert_string_equal(s.digest, together.digest);
        alone += s.most_at_once == 1;
    }
    print_message("             %d times alone\n", (int)alone);
    assert_true(alone > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_forecast_has_every_cell, note_bytes, returns_its_bytes),
        cmocka_unit_test(the_makespan_is_that_of_the_busiest_process),
        cmocka_unit_test(the_makespan_deals_a_gang_as_a_whole),
        cmocka_unit_test_setup_teardown(cells_of_a_gang_without_memory_run_alone, note_bytes,
                                        returns_its_bytes),
        cmocka_unit_test_setup_teardown(a_run_skips_what_is_done, note_bytes, returns_its_bytes),
        cmocka_unit_test_setup_teardown(a_failure_to_show_is_the_failure_of_the_run, note_bytes,
                                        returns_its_bytes),
        cmocka_unit_test_setup_teardown(a_stop_before_the_first_cell_shows_nothing, note_bytes,
                                        returns_its_bytes),
    };
    if (pb_comm_open(&argc, &argv, &comm) != PB_OK) {
        return 1;
    }
    pb_log_setup(PB_LOG_ERROR, 0, 1);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pb_comm_close(comm);
    return failed;
}
