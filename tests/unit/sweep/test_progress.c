// SPDX-License-Identifier: Apache-2.0
/* The progress in a folder, counted from its plan and its shards. */
#include "sample.h"
#include "support.h"

#include "pb/memory.h"
#include "pb/sweep.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Two data sets, three seeds: one cell failed, one has no shard. */
enum { CELLS = 6, FAILED = 4, MISSING = 5 };

static void fill(const char *directory)
{
    pb_plan plan = {0};

    assert_ok(pb_record_set_text(&plan.name, "test"));
    assert_ok(pb_record_set_text(&plan.protocol, "corrected"));
    for (int i = 0; i < CELLS; i++) {
        pb_record r;
        assert_ok(sample_small("m", i < 3 ? "rte" : "sst2", "lora", i % 3, &r));
        assert_ok(pb_plan_add(&plan, "m", r.key.dataset, "lora", i % 3, r.key.config_hash));
        if (i == FAILED) {
            assert_ok(pb_record_fail(&r, PB_FAIL(PB_ERR_NUMERIC, "the loss is not finite")));
            pb_error_clear();
        }
        if (i != MISSING) {
            assert_ok(pb_shard_write(directory, &r));
        }
        pb_record_clear(&r);
    }
    assert_ok(pb_plan_write(directory, &plan));
    pb_plan_clear(&plan);
}

static void cells_are_counted_from_plan_and_shards(void **state)
{
    const char *directory = sample_directory();
    pb_sweep_progress at  = {0};

    (void)state;
    fill(directory);
    assert_ok(pb_sweep_progress_read(directory, &at));
    assert_string_equal(at.name, "test");
    assert_int_equal(at.cells, CELLS);
    assert_int_equal(at.done, 4);
    assert_int_equal(at.failed, 1);
    assert_int_equal(at.left, 1);
    assert_int_equal(at.running.count, 0);
    assert_true(isnan(at.cells_per_hour)); /* all cells ended in the same second */
    pb_sweep_progress_clear(&at);
}

/* Cells that the sweep excludes appear nowhere but in the plan. */
static void without_a_plan_it_is_unknown_what_is_left(void **state)
{
    const char *directory = sample_directory();
    pb_sweep_progress at  = {0};
    char *merged          = NULL;
    char path[128];

    (void)state;
    fill(directory);
    assert_ok(pb_sweep_merged_path(directory, &merged));
    assert_string_equal(merged + strlen(merged) - strlen("/test.h5"), "/test.h5");
    pb_memory_free(merged);
    (void)snprintf(path, sizeof path, "%s/plan.json", directory);
    assert_int_equal(remove(path), 0);
    assert_ok(pb_sweep_progress_read(directory, &at));
    assert_null(at.name);
    assert_int_equal(at.cells, 5);
    assert_int_equal(at.done + at.failed + at.invalid, 5);
    assert_int_equal(at.left, -1);
    assert_true(isnan(at.seconds_left));
    pb_sweep_progress_clear(&at);
    assert_error(pb_sweep_merged_path(directory, &merged), PB_ERR_NOT_FOUND, "plan.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(cells_are_counted_from_plan_and_shards, returns_all_bytes),
        cmocka_unit_test_teardown(without_a_plan_it_is_unknown_what_is_left, returns_all_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
