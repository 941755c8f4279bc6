// SPDX-License-Identifier: Apache-2.0
/* Gathering: directories with and without a plan, one or several merged files, the digest. */
#include "sample.h"
#include "seal.h"
#include "support.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <hdf5.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static void put(const char *directory, const char *model, const char *dataset, const char *method,
                int64_t seed)
{
    pb_record a;

    assert_ok(sample_record(model, dataset, method, seed, &a));
    assert_ok(pb_shard_write(directory, &a));
    pb_record_clear(&a);
}

static void plan(const char *directory, const char *const (*cells)[3], int count)
{
    pb_plan plan = {0};

    assert_ok(pb_record_set_text(&plan.name, "test \"sweep\""));
    assert_ok(pb_record_set_text(&plan.protocol, "corrected"));
    assert_ok(pb_record_set_text(&plan.command_line, "run grid.cfg"));
    for (int i = 0; i < count; i++) {
        for (int64_t seed = 1; seed <= 2; seed++) {
            char hash[PB_HASH_TEXT];
            (void)snprintf(hash, sizeof hash, "%064lld", (long long)seed);
            assert_ok(pb_plan_add(&plan, cells[i][0], cells[i][1], cells[i][2], seed, hash));
        }
    }
    assert_ok(pb_plan_write(directory, &plan));
    pb_plan_clear(&plan);
}

static void digest_of(const char *path, char text[PB_HASH_TEXT])
{
    pb_results results = {0};

    assert_ok(pb_results_open(&path, 1, &results));
    assert_ok(pb_results_digest(&results, text));
    pb_results_clear(&results);
}

static void merge(const char *directory, const char *path)
{
    pb_results results = {0};

    assert_ok(pb_results_open_directory(directory, &results));
    assert_ok(pb_results_write(&results, NULL, path));
    pb_results_clear(&results);
}

static int8_t state_at(const pb_results *r, int64_t d, int64_t t, int64_t s)
{
    return r->state[pb_results_index(r, 0, d, t, s)];
}

static void a_plan_tells_missing_excluded_and_stale_apart(void **state)
{
    static const char *const cells[][3] = {
        {"m", "z", "none"}, {"m", "z", "lora"}, {"m", "a", "lora"}};
    const char *directory = sample_directory();
    pb_results r          = {0};
    pb_results back       = {0};
    char path[128];
    const char *paths[1] = {path};

    (void)state;
    (void)snprintf(path, sizeof path, "%s/all.h5", directory);
    plan(directory, cells, 3);
    put(directory, "m", "z", "none", 1);
    put(directory, "m", "a", "lora", 2);
    put(directory, "m", "a", "ia3", 2); /* not in the plan */
    assert_ok(pb_results_open_directory(directory, &r));
    assert_int_equal(r.count, 2);
    assert_int_equal(r.stale, 1);
    assert_string_equal(r.sweep, "test \"sweep\"");
    assert_string_equal(r.datasets[0], "z"); /* the order of the plan, not alphabetical */
    assert_string_equal(r.methods[0], "none");
    assert_int_equal(state_at(&r, 0, 0, 0), PB_CELL_DONE);
    assert_int_equal(state_at(&r, 0, 0, 1), PB_CELL_MISSING);
    assert_int_equal(state_at(&r, 1, 0, 0), PB_CELL_EXCLUDED);
    assert_int_equal(state_at(&r, 1, 1, 0), PB_CELL_MISSING);
    assert_int_equal(state_at(&r, 1, 1, 1), PB_CELL_DONE);
    assert_ok(pb_results_write(&r, NULL, path));
    assert_ok(pb_results_open(paths, 1, &back));
    assert_int_equal(back.count, 2);
    assert_string_equal(back.sweep, r.sweep);
    assert_string_equal(back.protocol, "corrected");
    assert_string_equal(back.command_line, "run grid.cfg");
    assert_int_equal(back.models_count, 1);
    assert_int_equal(back.datasets_count, 2);
    assert_string_equal(back.datasets[0], "z");
    assert_memory_equal(back.state, r.state, 8);
    assert_memory_equal(back.grid, r.grid, 8 * sizeof *r.grid);
    pb_results_clear(&r);
    pb_results_clear(&back);
}

static void a_merged_cell_equals_its_shard(void **state)
{
    const char *directory = sample_directory();
    pb_results r          = {0};
    char path[128];
    const char *paths[1] = {path};
    pb_record original;
    pb_record whole;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/all.h5", directory);
    put(directory, "a/b", "d", "lora", 1);
    merge(directory, path);
    assert_ok(pb_results_open(paths, 1, &r));
    assert_int_equal(r.count, 1);
    assert_ok(sample_load(&r.records[0], &whole));
    assert_ok(sample_record("a/b", "d", "lora", 1, &original));
    assert_string_equal(r.records[0].key.model, "a/b");
    assert_int_equal(whole.train_count, 20);
    assert_memory_equal(whole.train, original.train, 20 * sizeof *original.train);
    assert_true(whole.score == original.score);
    assert_string_equal(whole.predictions[2].label, "ü");
    pb_record_clear(&whole);
    pb_record_clear(&original);
    pb_results_clear(&r);
}

static void the_digest_is_blind_to_time_place_and_order_only(void **state)
{
    const char *one = sample_directory();
    const char *two = sample_directory();
    char path_one[128];
    char path_two[128];
    char a[PB_HASH_TEXT];
    char b[PB_HASH_TEXT];
    pb_record r;

    (void)state;
    (void)snprintf(path_one, sizeof path_one, "%s/all.h5", one);
    (void)snprintf(path_two, sizeof path_two, "%s/all.h5", two);
    put(one, "m", "d", "lora", 1);
    put(one, "m", "d", "ia3", 2);
    merge(one, path_one);
    digest_of(path_one, a);

    put(two, "m", "d", "ia3", 2);
    assert_ok(sample_record("m", "d", "lora", 1, &r));
    r.seconds_train         = 99;
    r.seconds_total         = 99;
    r.tokens_per_second     = 1;
    r.memory_peak_gb        = 3;
    r.memory_system_peak_gb = 7;
    r.gang                  = 4;
    r.energy_j              = 5;
    r.train[3].seconds      = 9;
    r.phases[0].seconds     = 9;
    r.memory[0].seconds     = 3;
    assert_ok(pb_record_add_provenance(&r, "host", "node2"));
    assert_ok(pb_record_add_provenance(&r, "rank", "3"));
    assert_ok(pb_record_set_text(&r.created, "2027-01-01T00:00:00Z"));
    assert_ok(pb_shard_write(two, &r));
    merge(two, path_two);
    digest_of(path_two, b);
    assert_string_equal(a, b);

    double *watched[] = {
        &r.score,         &r.train[7].loss,    &r.train[7].lr,         &r.train[7].grad_norm,
        &r.invalid_share, &r.metrics[0].value, &r.validation[1].loss,  &r.flops_forward_t,
        &r.score_low,     &r.score_high,       &r.predictions[2].value};
    for (size_t i = 0; i < sizeof watched / sizeof *watched; i++) {
        double kept = *watched[i];
        *watched[i] = kept * (1 + 1e-15) + 1e-300;
        if (*watched[i] == kept) {
            *watched[i] = kept * (1 + 1e-12);
        }
        assert_ok(pb_shard_write(two, &r));
        *watched[i] = kept;
        merge(two, path_two);
        digest_of(path_two, b);
        assert_string_not_equal(a, b);
    }
    r.predictions[0].correct = 0;
    assert_ok(pb_shard_write(two, &r));
    merge(two, path_two);
    digest_of(path_two, b);
    assert_string_not_equal(a, b);
    pb_record_clear(&r);
}

static void several_files_are_read_as_one_unless_they_disagree(void **state)
{
    const char *one   = sample_directory();
    const char *two   = sample_directory();
    const char *three = sample_directory();
    pb_results r      = {0};
    char path_one[128];
    char path_two[128];
    const char *paths[2] = {path_one, path_two};
    pb_record other;

    (void)state;
    (void)snprintf(path_one, sizeof path_one, "%s/all.h5", one);
    (void)snprintf(path_two, sizeof path_two, "%s/all.h5", two);
    put(one, "m", "d", "lora", 1);
    put(one, "m", "d", "lora", 2);
    put(two, "m", "d", "lora", 2);
    put(two, "m", "e", "lora", 2);
    merge(one, path_one);
    merge(two, path_two);
    assert_ok(pb_results_open(paths, 2, &r));
    assert_int_equal(r.count, 3);
    assert_int_equal(r.repeated, 1);
    assert_int_equal(r.datasets_count, 2);
    assert_int_equal(r.seeds_count, 2);
    pb_results_clear(&r);

    assert_ok(sample_record("m", "d", "lora", 2, &other));
    strcpy(other.key.config_hash, "another");
    assert_ok(pb_shard_write(three, &other));
    merge(three, path_two);
    assert_error(pb_results_open(paths, 2, &r), PB_ERR_ARGUMENT, "different configurations");
    assert_ok(pb_shard_write(two, &other)); /* without a plan it is unknown which of them counts */
    pb_record_clear(&other);
    assert_error(pb_results_open_directory(two, &r), PB_ERR_ARGUMENT, "plan.json");
}

/* Replaces a shard with text. */
static void damage(const char *directory, const char *method, int64_t seed)
{
    pb_record a;
    char *path = NULL;

    assert_ok(sample_record("m", "z", method, seed, &a));
    assert_ok(pb_shard_path(directory, &a.key, &path));
    assert_ok(pb_file_write_atomic(path, "text", 4));
    pb_memory_free(path);
    pb_record_clear(&a);
}

static void damaged_shards_are_all_listed_and_hide_no_other(void **state)
{
    static const char *const cells[][3] = {{"m", "z", "none"}, {"m", "z", "lora"}};
    const char *directory               = sample_directory();
    pb_results r                        = {0};
    char path[128];

    (void)state;
    (void)snprintf(path, sizeof path, "%s/plan.json", directory);
    plan(directory, cells, 2);
    for (int64_t seed = 1; seed <= 2; seed++) {
        put(directory, "m", "z", "none", seed);
        put(directory, "m", "z", "lora", seed);
    }
    damage(directory, "none", 2);
    damage(directory, "lora", 1);
    for (int planned = 1; planned >= 0; planned--) {
        assert_ok(pb_results_open_directory(directory, &r));
        assert_int_equal(r.count, 2);
        assert_int_equal(r.stale, 0);
        assert_int_equal(r.damaged_count, 2);
        assert_non_null(strstr(r.damaged[!planned], "m__z__none__2"));
        assert_non_null(strstr(r.damaged[planned], "m__z__lora__1"));
        assert_int_equal(r.state[pb_results_index(&r, 0, 0, planned, 0)], PB_CELL_MISSING);
        pb_results_clear(&r);
        if (planned) {
            assert_int_equal(remove(path), 0);
        }
    }
}

static void nothing_done_yet_still_gives_a_file(void **state)
{
    static const char *const cells[][3] = {{"m", "d", "lora"}};
    const char *directory               = sample_directory();
    pb_results r                        = {0};
    char path[128];
    const char *paths[1] = {path};

    (void)state;
    (void)snprintf(path, sizeof path, "%s/all.h5", directory);
    plan(directory, cells, 1);
    merge(directory, path);
    assert_ok(pb_results_open(paths, 1, &r));
    assert_int_equal(r.count, 0);
    assert_int_equal(r.state[0], PB_CELL_MISSING);
    pb_results_clear(&r);
}

static void merging_twice_gives_the_same_table(void **state)
{
    const char *directory = sample_directory();
    char path[128];
    char a[PB_HASH_TEXT];
    char b[PB_HASH_TEXT];

    (void)state;
    (void)snprintf(path, sizeof path, "%s/all.h5", directory);
    put(directory, "m", "d", "lora", 1);
    merge(directory, path);
    digest_of(path, a);
    merge(directory, path);
    digest_of(path, b);
    assert_string_equal(a, b);
}

static void damaged_plans_are_errors_that_name_the_place(void **state)
{
    static const char *const bad[][2] = {
        {"", "plan.json"},
        {"{", "plan.json:1:1: invalid JSON"},
        {"[]", "plan.json: not a JSON object"},
        {"{\"schema\": 2, \"sweep\": \"a\", \"protocol\": \"b\", \"command_line\": \"\", "
         "\"cells\": []}",
         "schema"},
        {"{\"schema\": 1, \"protocol\": \"b\", \"command_line\": \"\", \"cells\": []}", "sweep"},
        {"{\"schema\": 1, \"sweep\": \"a\", \"protocol\": \"b\", \"command_line\": \"\"}", "cells"},
        {"{\"schema\": 1, \"sweep\": \"a\", \"protocol\": \"b\", \"command_line\": \"\", "
         "\"cells\": "
         "[{\"model\": \"m\"}]}",
         "cell 0"},
        {"{\"schema\": 1, \"sweep\": \"a\", \"protocol\": \"b\", \"command_line\": \"\", "
         "\"cells\": "
         "[{\"model\": \"m\", \"dataset\": \"d\", \"method\": \"t\", \"config_hash\": \"h\", "
         "\"seed\": 1.5}]}",
         "seed"},
    };
    const char *directory = sample_directory();
    pb_plan plan          = {0};
    char path[128];

    (void)state;
    (void)snprintf(path, sizeof path, "%s/plan.json", directory);
    assert_error(pb_plan_read(directory, &plan), PB_ERR_NOT_FOUND, "plan.json");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_ok(pb_file_write_atomic(path, bad[i][0], strlen(bad[i][0])));
        assert_error(pb_plan_read(directory, &plan), PB_ERR_FORMAT, bad[i][1]);
    }
    assert_ok(pb_plan_add(&plan, "\xFF", "d", "t", 1, "h"));
    assert_error(pb_plan_write(directory, &plan), PB_ERR_CONFIG, "UTF-8");
    pb_plan_clear(&plan);
}

static void directories_without_results_are_errors(void **state)
{
    const char *directory = sample_directory();
    const char *paths[1]  = {directory};
    pb_results r          = {0};

    (void)state;
    assert_error(pb_results_open_directory(directory, &r), PB_ERR_NOT_FOUND, "plan.json");
    assert_error(pb_results_open_directory("/nowhere", &r), PB_ERR_NOT_FOUND, "/nowhere");
    assert_error(pb_results_open(paths, 1, &r), PB_ERR_ARGUMENT, "peftbench merge");
}

static void foreign_hdf5_files_are_refused(void **state)
{
    const char *directory = sample_directory();
    pb_results r          = {0};
    char path[128];
    const char *paths[1] = {path};

    (void)state;
    (void)snprintf(path, sizeof path, "%s/other.h5", directory);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(file >= 0);
    assert_true(H5Fclose(file) >= 0);
    assert_error(pb_results_open(paths, 1, &r), PB_ERR_FORMAT, "other.h5");
}

/* Unlinks one object of a merged file, and updates the checksum. */
static void unlink_in(const char *path, const char *name)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);

    assert_true(file >= 0);
    assert_true(H5Ldelete(file, name, H5P_DEFAULT) >= 0);
    assert_true(H5Fclose(file) >= 0);
    assert_ok(seal_file(path));
}

static void a_merged_file_that_lost_a_part_is_refused(void **state)
{
    static const char *const parts[][2] = {
        {"cells", "all.h5: /results has 2 cells, /grid 2, but /cells 0"},
        {"cells/m/d/lora/2", "all.h5: /results has 2 cells, /grid 2, but /cells 1"},
        {"results", "all.h5: dataset \"results\" is missing"},
        {"grid", "all.h5: group \"grid\" is missing"},
    };
    const char *directory = sample_directory();
    pb_results r          = {0};
    char path[128];
    const char *paths[1] = {path};

    (void)state;
    (void)snprintf(path, sizeof path, "%s/all.h5", directory);
    put(directory, "m", "d", "lora", 1);
    put(directory, "m", "d", "lora", 2);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        merge(directory, path);
        unlink_in(path, parts[i][0]);
        assert_error(pb_results_open(paths, 1, &r), PB_ERR_FORMAT, parts[i][1]);
    }
}

static void values_come_without_the_texts(void **state)
{
    static const double expected[3] = {1, 0, 0.25};
    const char *directory           = sample_directory();
    pb_record_values values         = {0};
    pb_results r                    = {0};
    char path[128];
    const char *paths[1] = {path};
    pb_record whole;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/all.h5", directory);
    put(directory, "a/b", "d", "lora", 1);
    merge(directory, path);
    assert_ok(pb_results_open(paths, 1, &r));
    assert_ok(sample_load(&r.records[0], &whole));
    for (int loaded = 0; loaded < 2; loaded++) {
        assert_ok(pb_record_values_read(loaded != 0 ? &whole : &r.records[0], &values));
        assert_int_equal(values.count, 3);
        assert_int_equal(values.rows[2], 2);
        assert_memory_equal(values.values, expected, sizeof expected);
        pb_record_values_clear(&values);
    }
    assert_true(whole.complete && !r.records[0].complete);
    pb_record_clear(&whole);
    unlink_in(path, "cells/a%2Fb/d/lora/1/predictions/row");
    assert_ok(pb_record_values_read(&r.records[0], &values)); /* from the file as it was opened */
    assert_int_equal(values.count, 3);
    pb_record_values_clear(&values);
    pb_results_clear(&r);
    assert_ok(pb_results_open(paths, 1, &r));
    assert_error(pb_record_values_read(&r.records[0], &values), PB_ERR_FORMAT,
                 "dataset \"row\" is missing");
    pb_results_clear(&r);
}

/* Shards from before the introduction of intervals are still valid; a missing column of that time
 * is damage. */
static void what_an_earlier_program_did_not_write_is_unknown(void **state)
{
    const char *directory   = sample_directory();
    pb_record_values values = {0};
    pb_results r            = {0};
    char path[128];
    const char *paths[1] = {path};
    pb_record whole;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/all.h5", directory);
    put(directory, "m", "d", "lora", 1);
    merge(directory, path);
    unlink_in(path, "cells/m/d/lora/1/predictions/value");
    unlink_in(path, "cells/m/d/lora/1/memory/device_peak_bytes");
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(H5Adelete_by_name(file, "cells/m/d/lora/1", "score_low", H5P_DEFAULT) >= 0);
    assert_true(H5Adelete_by_name(file, "cells/m/d/lora/1", "score_high", H5P_DEFAULT) >= 0);
    assert_true(H5Fclose(file) >= 0);
    assert_ok(seal_file(path));

    assert_ok(pb_results_open(paths, 1, &r));
    assert_true(isnan(r.records[0].score_low) && isnan(r.records[0].score_high));
    assert_true(r.records[0].score > 0);
    assert_ok(pb_record_values_read(&r.records[0], &values));
    assert_int_equal(values.count, 3);
    assert_true(isnan(values.values[0]) && isnan(values.values[2]));
    assert_ok(sample_load(&r.records[0], &whole));
    assert_true(isnan(whole.predictions[1].value));
    assert_int_equal(whole.predictions[1].correct, 0);
    assert_int_equal(whole.memory[1].device_bytes, 200);
    assert_int_equal(whole.memory[1].device_peak_bytes, -1);
    pb_record_clear(&whole);
    pb_record_values_clear(&values);
    pb_results_clear(&r);
    unlink_in(path, "cells/m/d/lora/1/predictions/correct");
    assert_ok(pb_results_open(paths, 1, &r));
    assert_error(sample_load(&r.records[0], &whole), PB_ERR_FORMAT,
                 "dataset \"correct\" is missing");
    pb_results_clear(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_plan_tells_missing_excluded_and_stale_apart, returns_all_bytes),
        cmocka_unit_test_teardown(a_merged_cell_equals_its_shard, returns_all_bytes),
        cmocka_unit_test_teardown(the_digest_is_blind_to_time_place_and_order_only,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(several_files_are_read_as_one_unless_they_disagree,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(damaged_shards_are_all_listed_and_hide_no_other,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(nothing_done_yet_still_gives_a_file, returns_all_bytes),
        cmocka_unit_test_teardown(merging_twice_gives_the_same_table, returns_all_bytes),
        cmocka_unit_test_teardown(damaged_plans_are_errors_that_name_the_place, returns_all_bytes),
        cmocka_unit_test_teardown(directories_without_results_are_errors, returns_all_bytes),
        cmocka_unit_test_teardown(foreign_hdf5_files_are_refused, returns_all_bytes),
        cmocka_unit_test_teardown(a_merged_file_that_lost_a_part_is_refused, returns_all_bytes),
        cmocka_unit_test_teardown(values_come_without_the_texts, returns_all_bytes),
        cmocka_unit_test_teardown(what_an_earlier_program_did_not_write_is_unknown,
                                  returns_all_bytes),
    };
    return cmocka_run_group_tests_name("results", tests, NULL, NULL);
}
