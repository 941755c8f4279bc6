// SPDX-License-Identifier: Apache-2.0
/* Packs: shards of many cells in a file. A kill costs the record that was being written, damage the
 * record that it hit, and the records of a process go on where an earlier one ended. */
#include "sample.h"
#include "support.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CELLS = 4 };

static pb_record cells[CELLS];
static const char *directory;

static int make_cells(void **state)
{
    (void)state;
    for (int i = 0; i < CELLS; i++) {
        assert_ok(sample_small("m", "d", "lora", i, &cells[i]));
    }
    directory = sample_directory();
    return 0;
}

static int clear_cells(void **state)
{
    (void)state;
    for (int i = 0; i < CELLS; i++) {
        pb_record_clear(&cells[i]);
    }
    return 0;
}

static void path_of(int number, char path[4096])
{
    snprintf(path, 4096, "%s/shards/%04d.pack", directory, number);
}

static int64_t size_of(int number)
{
    struct stat about;
    char path[4096];
    path_of(number, path);
    return stat(path, &about) == 0 ? (int64_t)about.st_size : -1;
}

/* Puts the cells from `first` to before `end` as one process of one run. */
static void put(int64_t round, int first, int end)
{
    pb_shard_writer *writer = NULL;
    assert_ok(pb_shard_writer_open(directory, true, round, 0, &writer));
    for (int i = first; i < end; i++) {
        assert_ok(pb_shard_writer_put(writer, &cells[i]));
    }
    assert_ok(pb_shard_writer_close(writer));
}

static int syncs;

/* In place of the system's. */
int fdatasync(int fd)
{
    (void)fd;
    syncs++;
    return 0;
}

static pb_shard_state find_in(const pb_shards *shards, int cell, const char *cause)
{
    pb_shard_state state = PB_SHARD_MISSING;
    pb_record record     = {0};
    char *damage         = NULL;
    assert_ok(pb_shards_find(shards, &cells[cell].key, PB_RECORD_ALL, &record, &state, &damage));
    if (state == PB_SHARD_DONE || state == PB_SHARD_FAILED) {
        assert_int_equal(pb_record_key_compare(&record.key, &cells[cell].key), 0);
    }
    assert_int_equal(state == PB_SHARD_DAMAGED, cause != NULL);
    if (cause != NULL) {
        assert_non_null(strstr(damage, "0001.pack, record "));
        assert_non_null(strstr(damage, cause));
    }
    pb_memory_free(damage);
    pb_record_clear(&record);
    return state;
}

/* One letter per cell: missing, done, failed, damaged. */
static void assert_states(const char *expected)
{
    static const char letters[] = "mdfx";
    char found[CELLS + 1]       = "";
    pb_shards *shards           = NULL;
    assert_ok(pb_shards_open(directory, &shards));
    for (int i = 0; i < CELLS; i++) {
        found[i] = letters[find_in(shards, i, expected[i] == 'x' ? "checksum" : NULL)];
    }
    assert_string_equal(found, expected);
    pb_shards_close(shards);
}

static void write_bytes(int64_t at, const char *bytes, size_t size)
{
    char path[4096];
    path_of(1, path);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

static void a_later_run_goes_on_in_the_same_file(void **state)
{
    (void)state;
    put(1, 0, 2);
    put(2, 2, 4);
    assert_states("dddd");
    assert_int_equal(size_of(2), -1);
}

/* Only cells that follow one another at once wait for each other. */
static void a_cell_that_took_a_moment_is_durable_when_it_is_committed(void **state)
{
    const struct timespec moment = {.tv_nsec = 60000000};
    pb_shard_writer *writer      = NULL;
    (void)state;
    assert_ok(pb_shard_writer_open(directory, true, 1, 0, &writer));
    for (int i = 0; i < CELLS; i++) {
        syncs = 0;
        assert_ok(pb_shard_writer_put(writer, &cells[i]));
        assert_int_equal(syncs, 1);
        assert_int_equal(nanosleep(&moment, NULL), 0);
    }
    assert_ok(pb_shard_writer_close(writer));
}

static void two_processes_write_to_two_files(void **state)
{
    pb_shard_writer *a = NULL;
    pb_shard_writer *b = NULL;
    (void)state;
    assert_ok(pb_shard_writer_open(directory, true, 1, 0, &a));
    assert_ok(pb_shard_writer_open(directory, true, 1, 0, &b));
    assert_ok(pb_shard_writer_put(a, &cells[0]));
    assert_ok(pb_shard_writer_put(b, &cells[1]));
    assert_ok(pb_shard_writer_put(a, &cells[2]));
    assert_ok(pb_shard_writer_close(a));
    assert_ok(pb_shard_writer_close(b));
    assert_states("dddm");
    assert_true(size_of(2) > 0);
}

static void the_record_of_the_latest_run_counts(void **state)
{
    (void)state;
    cells[0].status = PB_ERR_NUMERIC;
    put(1, 0, 1);
    assert_states("fmmm");
    cells[0].status = PB_OK;
    put(2, 0, 1);
    assert_states("dmmm");
    cells[0].status = PB_ERR_NUMERIC;
    put(1, 0, 1); /* not a later run */
    cells[0].status = PB_OK;
    assert_states("dmmm");
}

static void a_file_of_one_cell_counts_where_the_pack_has_a_failed_one(void **state)
{
    (void)state;
    cells[0].status = PB_ERR_NUMERIC;
    put(1, 0, 1);
    cells[0].status = PB_OK;
    assert_ok(pb_shard_write(directory, &cells[0]));
    assert_ok(pb_shard_write(directory, &cells[3]));
    assert_states("dmmd");
}

/* Cut anywhere in the last record: it alone is lost, and is written again in its place. */
static void a_kill_at_any_byte_costs_one_record(void **state)
{
    char path[4096];
    (void)state;
    put(1, 0, 2);
    int64_t before = size_of(1);
    put(2, 2, 3);
    int64_t whole = size_of(1);
    path_of(1, path);
    for (int64_t size = before; size < whole; size += size < before + 100 ? 3 : 3989) {
        assert_int_equal(truncate(path, size), 0);
        assert_states("ddmm");
        put(3, 2, 3);
        assert_int_equal(size_of(1), whole);
        assert_states("dddm");
    }
}

static void set_aside(int cell)
{
    char *kept        = NULL;
    pb_shards *shards = NULL;
    assert_ok(pb_shards_open(directory, &shards));
    assert_ok(pb_shards_set_aside(shards, &cells[cell].key, &kept));
    assert_true(pb_path_exists(kept));
    assert_ok(pb_shards_mend(shards));
    pb_memory_free(kept);
    pb_shards_close(shards);
}

static void a_damaged_record_is_set_aside_and_the_others_stay(void **state)
{
    (void)state;
    put(1, 0, 1);
    int64_t second = size_of(1);
    put(1, 1, 4);
    write_bytes(second + 2000, "damage", 6);
    assert_states("dxdd");
    set_aside(1);
    assert_states("dmdd");
    put(2, 1, 2);
    assert_states("dddd");
}

/* A damaged line hides its record, not those after it. */
static void a_damaged_line_is_reported_and_mended(void **state)
{
    pb_results results = {0};
    pb_shards *shards  = NULL;
    pb_string text     = {0};
    (void)state;
    put(1, 0, 1);
    int64_t second = size_of(1);
    put(1, 1, 4);
    for (int at = 0; at < 84; at += 7) {
        char path[4096];
        path_of(1, path);
        pb_string byte = {0};
        assert_ok(pb_file_read_part(path, second + at, 1, &byte));
        byte.data[0] ^= 1;
        write_bytes(second + at, byte.data, 1);
        assert_states("dmdd");
        byte.data[0] ^= 1;
        write_bytes(second + at, byte.data, 1);
        pb_string_clear(&byte);
    }
    write_bytes(second + 20, "?", 1);
    assert_ok(pb_results_open_directory(directory, &results));
    assert_int_equal(results.count, 3);
    assert_int_equal(results.damaged_count, 1);
    assert_non_null(strstr(results.damaged[0], "0001.pack was changed after it was written"));
    assert_non_null(strstr(results.damaged[0], "after record 1, are no record"));
    pb_results_clear(&results);
    assert_ok(pb_shards_open(directory, &shards));
    assert_int_equal(pb_shards_damaged(shards), 1);
    assert_ok(pb_shards_mend(shards));
    pb_shards_close(shards);
    put(2, 1, 2);
    assert_states("dddd");
    assert_ok(pb_shards_open(directory, &shards));
    assert_int_equal(pb_shards_damaged(shards), 0);
    pb_shards_close(shards);
    pb_string_clear(&text);
}

/* A pack that is being written, or was written since it was read, is left as it is. */
static void a_pack_in_use_is_not_mended(void **state)
{
    pb_shard_writer *writer = NULL;
    pb_shards *shards       = NULL;
    (void)state;
    put(1, 0, 1);
    int64_t second = size_of(1);
    put(1, 1, 2);
    write_bytes(second + 20, "?", 1);
    assert_ok(pb_shard_writer_open(directory, true, 2, 0, &writer));
    assert_ok(pb_shard_writer_put(writer, &cells[2]));
    assert_ok(pb_shards_open(directory, &shards));
    assert_ok(pb_shards_mend(shards));
    assert_int_equal(size_of(1) > second, 1);
    assert_ok(pb_shard_writer_put(writer, &cells[3]));
    assert_ok(pb_shard_writer_close(writer));
    assert_ok(pb_shards_mend(shards));
    pb_shards_close(shards);
    assert_states("dmdd");
}

/* A full disk is an error; the pack ends with the record before. */
static void a_record_that_does_not_fit_is_an_error(void **state)
{
    pb_shard_writer *writer = NULL;
    struct rlimit old;
    (void)state;
    put(1, 0, 1);
    int64_t before = size_of(1);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    struct rlimit small = {.rlim_cur = (rlim_t)(before + 5000), .rlim_max = old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_ok(pb_shard_writer_open(directory, true, 2, 0, &writer));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_error(pb_shard_writer_put(writer, &cells[1]), PB_ERR_IO, "0001.pack");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(size_of(1), before);
    assert_ok(pb_shard_writer_put(writer, &cells[1]));
    assert_ok(pb_shard_writer_close(writer));
    assert_states("ddmm");
}

static void curves_are_read_from_the_pack(void **state)
{
    pb_results results = {0};
    pb_record whole    = {0};
    (void)state;
    put(1, 0, 2);
    pb_record_clear(&cells[3]);
    assert_ok(sample_record("m", "d", "lora", 3, &cells[3]));
    put(1, 3, 4);
    assert_ok(pb_results_open_directory(directory, &results));
    assert_int_equal(results.count, 3);
    assert_ok(sample_load(&results.records[2], &whole));
    assert_int_equal(whole.predictions_count, cells[3].predictions_count);
    pb_record_clear(&whole);
    pb_results_clear(&results);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_cells, clear_cells)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_later_run_goes_on_in_the_same_file),
        TEST(a_cell_that_took_a_moment_is_durable_when_it_is_committed),
        TEST(two_processes_write_to_two_files),
        TEST(the_record_of_the_latest_run_counts),
        TEST(a_file_of_one_cell_counts_where_the_pack_has_a_failed_one),
        TEST(a_kill_at_any_byte_costs_one_record),
        TEST(a_damaged_record_is_set_aside_and_the_others_stay),
        TEST(a_damaged_line_is_reported_and_mended),
        TEST(a_pack_in_use_is_not_mended),
        TEST(a_record_that_does_not_fit_is_an_error),
        TEST(curves_are_read_from_the_pack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
