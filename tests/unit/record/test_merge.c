// SPDX-License-Identifier: Apache-2.0
/* Merging: stops, and the sources of a merged file. */
#include "sample.h"
#include "support.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/stop.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static void put(const char *directory, int64_t seed)
{
    pb_record a;

    assert_ok(sample_record("m", "d", "lora", seed, &a));
    assert_ok(pb_shard_write(directory, &a));
    pb_record_clear(&a);
}

static void merge(const char *directory, const char *path)
{
    pb_results results = {0};

    assert_ok(pb_results_open_directory(directory, &results));
    assert_ok(pb_results_write(&results, NULL, path));
    pb_results_clear(&results);
}

static void a_stop_ends_opening_merging_and_hashing(void **state)
{
    const char *directory = sample_directory();
    pb_results shards     = {0};
    pb_results r          = {0};
    char **names          = NULL;
    size_t count          = 0;
    char path[128];
    char before[PB_HASH_TEXT];
    char after[PB_HASH_TEXT];
    const char *paths[1] = {path};

    (void)state;
    (void)snprintf(path, sizeof path, "%s/all.h5", directory);
    put(directory, 1);
    merge(directory, path);
    assert_ok(pb_hash_file(path, before));
    assert_ok(pb_results_open_directory(directory, &shards));
    pb_stop_catch();
    pb_stop_arm(0);
    assert_int_equal(raise(SIGTERM), 0);
    assert_error(pb_results_open_directory(directory, &r), PB_STOPPED, "SIGTERM");
    assert_error(pb_results_open(paths, 1, &r), PB_STOPPED, "SIGTERM");
    assert_error(pb_results_digest(&shards, after), PB_STOPPED, "SIGTERM");
    assert_error(pb_results_write(&shards, NULL, path), PB_STOPPED, "SIGTERM");
    put(directory, 2); /* a cell that is done is kept */
    pb_stop_release();
    pb_results_clear(&shards);
    assert_ok(pb_hash_file(path, after));
    assert_string_equal(after, before);
    assert_ok(pb_path_list(directory, NULL, &names, &count));
    assert_int_equal(count, 2); /* shards and all.h5: no temporary is left */
    pb_memory_free_texts(names, count);
}

static void plan(const char *directory, const char *protocol, int64_t cells)
{
    pb_plan plan = {0};
    char hash[PB_HASH_TEXT];

    assert_ok(pb_record_set_text(&plan.name, "s"));
    assert_ok(pb_record_set_text(&plan.protocol, protocol));
    assert_ok(pb_record_set_text(&plan.command_line, "as typed"));
    for (int64_t seed = 1; seed <= cells; seed++) {
        (void)snprintf(hash, sizeof hash, "%064lld", (long long)seed);
        assert_ok(pb_plan_add(&plan, "m", "d", "lora", seed, hash));
    }
    assert_ok(pb_plan_write(directory, &plan));
    pb_plan_clear(&plan);
}

static void hash_of_shards(const char *directory, char text[PB_HASH_TEXT])
{
    pb_results r = {0};

    assert_ok(pb_results_open_directory(directory, &r));
    memcpy(text, r.shards, PB_HASH_TEXT);
    pb_results_clear(&r);
}

static void a_merged_file_knows_what_it_was_made_from(void **state)
{
    const char *directory = sample_directory();
    pb_results r          = {0};
    char path[128];
    char hash[5][PB_HASH_TEXT];
    const char *paths[1] = {path};

    (void)state;
    (void)snprintf(path, sizeof path, "%s/all.h5", directory);
    put(directory, 1);
    hash_of_shards(directory, hash[0]);
    assert_string_equal(hash[0], ""); /* without a plan it is unknown which shards belong to it */
    plan(directory, "paper", 2);
    hash_of_shards(directory, hash[0]);
    merge(directory, path);
    assert_ok(pb_results_open(paths, 1, &r));
    assert_string_equal(r.shards, hash[0]);
    pb_results_clear(&r);
    plan(directory, "corrected", 2);
    hash_of_shards(directory, hash[1]);
    plan(directory, "paper", 3);
    hash_of_shards(directory, hash[2]);
    plan(directory, "paper", 2);
    put(directory, 2);
    hash_of_shards(directory, hash[3]);
    put(directory, 3); /* not requested */
    hash_of_shards(directory, hash[4]);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(strlen(hash[i]), PB_HASH_TEXT - 1);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(hash[i], hash[j]);
        }
    }
    assert_string_equal(hash[4], hash[3]);
}

/* A merged file of many megabytes is checked and read where it is. */
static void memory_does_not_grow_with_a_merged_file(void **state)
{
    enum { TEXT_BYTES = 1 << 20, TEXTS = 20 };
    const char *directory = sample_directory();
    pb_results r          = {0};
    pb_record a, whole;
    char *text = NULL;
    char path[128];
    const char *paths[1] = {path};

    (void)state;
    (void)snprintf(path, sizeof path, "%s/all.h5", directory);
    assert_ok(sample_small("m", "d", "lora", 1, &a));
    assert_ok(PB_ALLOC(text, TEXT_BYTES));
    memset(text, 'x', TEXT_BYTES - 1);
    for (int i = 0; i < TEXTS; i++) {
        assert_ok(pb_record_add_prediction(&a, 100 + i, text, "label", 1, 1.0));
    }
    pb_memory_free(text);
    assert_ok(pb_shard_write(directory, &a));
    merge(directory, path);
    size_t before = pb_memory_current();
    pb_memory_peak_reset();
    assert_ok(pb_results_open(paths, 1, &r));
    assert_true(pb_memory_peak() - before < TEXT_BYTES);
    assert_ok(sample_load(&r.records[0], &whole));
    assert_int_equal(whole.predictions_count, a.predictions_count);
    pb_record_clear(&whole);
    pb_results_clear(&r);

    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -1000, SEEK_END), 0);
    int byte = fgetc(f);
    assert_int_equal(fseek(f, -1000, SEEK_END), 0);
    assert_int_equal(fputc(byte ^ 1, f), byte ^ 1);
    assert_int_equal(fclose(f), 0);
    assert_error(pb_results_open(paths, 1, &r), PB_ERR_FORMAT, "no checksum matches");
    pb_record_clear(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_stop_ends_opening_merging_and_hashing, returns_all_bytes),
        cmocka_unit_test_teardown(memory_does_not_grow_with_a_merged_file, returns_all_bytes),
        cmocka_unit_test_teardown(a_merged_file_knows_what_it_was_made_from, returns_all_bytes),
    };
    return cmocka_run_group_tests_name("merge", tests, NULL, NULL);
}
