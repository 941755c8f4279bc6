// SPDX-License-Identifier: Apache-2.0
/* Shards on disk: names, states, kills at any moment, a full disk, damaged files. */
#include "sample.h"
#include "support.h"

#include "pb/clock.h"
#include "pb/file.h"
#include "pb/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* `cause`: part of the message for a damaged shard, which names it; NULL for any other state. */
static pb_shard_state find(const char *directory, const pb_record_key *key, const char *cause)
{
    pb_shard_state state = PB_SHARD_MISSING;
    pb_record record     = {0};
    char *damage         = NULL;

    assert_ok(pb_shard_find(directory, key, PB_RECORD_HEAD, &record, &state, &damage));
    assert_int_equal(state == PB_SHARD_DAMAGED, damage != NULL);
    assert_int_equal(state == PB_SHARD_DONE || state == PB_SHARD_FAILED, record.key.model != NULL);
    assert_int_equal(state == PB_SHARD_DAMAGED, cause != NULL);
    if (damage != NULL) {
        assert_non_null(strstr(damage, cause));
        assert_non_null(strstr(damage, "m__d__lora__1__"));
    }
    pb_memory_free(damage);
    pb_record_clear(&record);
    return state;
}

static void a_cell_is_found_by_its_key_and_configuration(void **state)
{
    const char *directory = sample_directory();
    pb_record a;

    (void)state;
    assert_ok(sample_record("m", "d", "lora", 1, &a));
    assert_int_equal(find(directory, &a.key, NULL), PB_SHARD_MISSING);
    assert_ok(pb_shard_write(directory, &a));
    assert_int_equal(find(directory, &a.key, NULL), PB_SHARD_DONE);
    a.status = PB_ERR_NUMERIC;
    assert_ok(pb_shard_write(directory, &a));
    assert_int_equal(find(directory, &a.key, NULL), PB_SHARD_FAILED);
    pb_record_clear(&a);
}

static int64_t count_others(const char *directory, const pb_plan *plan)
{
    pb_shards *shards = NULL;
    int64_t others    = -1;
    assert_ok(pb_shards_open(directory, &shards));
    assert_ok(pb_shards_count_others(shards, plan, &others));
    pb_shards_close(shards);
    return others;
}

static void shards_of_two_configurations_stay_beside_each_other(void **state)
{
    const char *directory = sample_directory();
    pb_plan plan          = {0};
    pb_record a;
    pb_record b;

    (void)state;
    assert_ok(sample_record("m", "d", "lora", 1, &a));
    assert_ok(sample_record("m", "d", "lora", 1, &b));
    memset(b.key.config_hash, 'b', PB_HASH_TEXT - 1);
    b.status = PB_ERR_NUMERIC;
    assert_ok(pb_plan_add(&plan, "m", "d", "lora", 1, b.key.config_hash));
    assert_ok(pb_plan_add(&plan, "m", "d", "lora", 2, b.key.config_hash));
    assert_int_equal(count_others(directory, &plan), 0);
    assert_ok(pb_shard_write(directory, &a));
    assert_int_equal(find(directory, &b.key, NULL), PB_SHARD_MISSING);
    assert_ok(pb_shard_write(directory, &b));
    assert_int_equal(find(directory, &a.key, NULL), PB_SHARD_DONE);
    assert_int_equal(find(directory, &b.key, NULL), PB_SHARD_FAILED);
    assert_int_equal(count_others(directory, &plan), 1);
    pb_plan_clear(&plan);
    pb_record_clear(&a);
    pb_record_clear(&b);
}

/* Reverses the escape, as described in the README of the results. */
static void unescape(const char *text, char *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '%') {
            char digits[3] = {text[1], text[2], '\0'};
            *out++         = (char)strtol(digits, NULL, 16);
            text += 2;
        } else {
            *out++ = *text;
        }
    }
    *out = '\0';
}

static void escaped_names_are_single_components_and_one_to_one(void **state)
{
    static const char *const names[] = {
        "",    "a",   "a/b", "/",   ".",     "..",  ".hidden", "_",     "__",   "a_",
        "_a",  "a_b", "a__", "%",   "%00",   "a%b", "a b",     "\n",    "\xFF", "日本語",
        "a~b", "A",   "a.b", "a\\", "a\tb;", "*",   "llama-3", "a___b", "+",    "#"};
    char back[256];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        pb_string escaped = {0};
        assert_ok(pb_results_escape(names[i], &escaped));
        assert_true(escaped.length > 0);
        assert_null(strpbrk(escaped.data, "/~ \n\\"));
        assert_null(strstr(escaped.data, "__"));
        assert_true(escaped.data[0] != '.' && escaped.data[0] != '_');
        assert_true(escaped.data[escaped.length - 1] != '_');
        unescape(escaped.data, back);
        assert_string_equal(back, names[i]);
        pb_string_clear(&escaped);
    }
}

static void cells_with_similar_names_have_shards_of_their_own(void **state)
{
    static const char *const keys[][3] = {{"a_", "b", "c"},   {"a", "_b", "c"},  {"a__b", "c", "d"},
                                          {"a", "b__c", "d"}, {"a/b", "c", "d"}, {"a", "b/c", "d"}};
    const char *directory              = sample_directory();
    char **names                       = NULL;
    size_t count                       = 0;
    pb_string folder                   = {0};
    char longer[400];

    (void)state;
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    for (size_t i = 0; i < 6; i++) {
        pb_record a;
        assert_ok(sample_small(keys[i][0], keys[i][1], keys[i][2], 1, &a));
        assert_ok(pb_shard_write(directory, &a));
        pb_record_clear(&a);
    }
    for (int last = 'a'; last <= 'b'; last++) {
        pb_record a;
        longer[sizeof longer - 2] = (char)last;
        assert_ok(sample_small(longer, "d", "lora", 1, &a));
        assert_ok(pb_shard_write(directory, &a));
        assert_int_equal(find(directory, &a.key, NULL), PB_SHARD_DONE);
        pb_record_clear(&a);
    }
    assert_ok(pb_string_printf(&folder, "%s/shards", directory));
    assert_ok(pb_path_list(folder.data, ".h5", &names, &count));
    assert_int_equal(count, 8);
    pb_memory_free_texts(names, count);
    pb_string_clear(&folder);
}

/* Writes the shards of five cells one after another, forever, with new contents every round. */
static void write_forever(const char *directory, int64_t first)
{
    for (int64_t round = 0;; round++) {
        for (int64_t i = 0; i < 5; i++) {
            int64_t seed = (first + i) % 5;
            pb_record a;
            if (sample_record("m", "d", "lora", seed, &a) != PB_OK) {
                _exit(2);
            }
            a.rows_test = round;
            if (pb_shard_write(directory, &a) != PB_OK) {
                _exit(3);
            }
            pb_record_clear(&a);
        }
    }
}

static void check_all_readable(const char *directory, int64_t *seen)
{
    pb_results results = {0};
    char digest[PB_HASH_TEXT];

    assert_ok(pb_results_open_directory(directory, &results));
    assert_true(results.count <= 5);
    *seen = results.count;
    assert_ok(pb_results_digest(&results, digest));
    for (int64_t i = 0; i < results.count; i++) {
        assert_int_equal(results.records[i].status, PB_OK);
    }
    pb_results_clear(&results);
}

/* Seconds that writing a shard takes now, so that kills fall into writes on any machine. */
static double seconds_of_a_write(void)
{
    const char *directory = sample_directory();
    double start          = pb_clock_seconds();

    for (int64_t seed = 0; seed < 3; seed++) {
        pb_record a;
        assert_ok(sample_record("m", "d", "lora", seed, &a));
        assert_ok(pb_shard_write(directory, &a));
        pb_record_clear(&a);
    }
    return (pb_clock_seconds() - start) / 3;
}

/* A child that writes is killed at a moment between its start and a few shards later. */
static void kill_a_writer(const char *directory, int number, double write_seconds)
{
    double share = (double)((number * 7919) % 1000) / 1000; /* of four shards */
    int code     = 0;
    pid_t child  = fork();

    assert_true(child >= 0);
    if (child == 0) {
        write_forever(directory, number);
    }
    usleep((useconds_t)(500 + share * 4e6 * write_seconds));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_true(WIFSIGNALED(code) && WTERMSIG(code) == SIGKILL);
}

static void kills_at_any_moment_leave_readable_shards_only(void **state)
{
    enum { KILLS = 50, KILLS_MAX = 1000 };
    const char *directory = sample_directory();
    double write_seconds  = seconds_of_a_write();
    int64_t seen          = 0;
    int64_t before        = 0;
    char folder[128];

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s/shards", directory);
    assert_ok(pb_path_make_directories(folder));
    /* Continues after the 50 until every cell was committed; otherwise the kills came before the
     * writes and the test would prove nothing. */
    for (int number = 0; number < KILLS || seen < 5; number++) {
        assert_true(number < KILLS_MAX);
        kill_a_writer(directory, number, write_seconds);
        check_all_readable(directory, &seen);
        assert_true(seen >= before); /* a committed cell is never lost */
        before = seen;
    }
}

/* In a child, so that the limit holds for it alone. Returns its exit code. */
static int under_file_limit(const char *directory, rlim_t bytes, int (*work)(const char *directory))
{
    int code    = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit limit = {bytes, bytes};
        (void)signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0) {
            _exit(100);
        }
        _exit(
            work(directory)); /* HDF5 keeps the data that it could not write: no check for leaks */
    }
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_true(WIFEXITED(code));
    return WEXITSTATUS(code);
}

static int write_large_shard(const char *directory)
{
    pb_record a;

    if (sample_record("m", "d", "lora", 1, &a) != PB_OK) {
        return 101;
    }
    a.rows_test      = 99;
    pb_status status = pb_shard_write(directory, &a);
    int said         = strstr(pb_error_message(), "m__d__lora__1__") != NULL;
    pb_record_clear(&a);
    return status == PB_ERR_IO && said ? 0 : 102;
}

static int merge_large(const char *directory)
{
    pb_results results = {0};
    char path[128];

    (void)snprintf(path, sizeof path, "%s/all.h5", directory);
    if (pb_results_open_directory(directory, &results) != PB_OK) {
        return 101;
    }
    pb_status status = pb_results_write(&results, NULL, path);
    int said         = strstr(pb_error_message(), "all.h5") != NULL &&
               strstr(pb_error_message(), "File too large") != NULL;
    pb_results_clear(&results);
    if (status == PB_OK || !said) {
        return 102;
    }
    /* The library still works afterwards. */
    return pb_results_open_directory(directory, &results) == PB_OK ? (pb_results_clear(&results), 0)
                                                                   : 103;
}

static void a_full_disk_is_a_clear_error_and_old_files_stay(void **state)
{
    const char *directory = sample_directory();
    char **names          = NULL;
    size_t count          = 0;
    pb_results results    = {0};
    char path[128];
    char before[PB_HASH_TEXT];
    char after[PB_HASH_TEXT];
    pb_record a;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/all.h5", directory);
    assert_ok(sample_record("m", "d", "lora", 1, &a));
    assert_ok(pb_shard_write(directory, &a));
    pb_record_clear(&a);
    assert_int_equal(under_file_limit(directory, 2000, write_large_shard), 0);
    assert_ok(pb_results_open_directory(directory, &results));
    assert_int_equal(results.records[0].rows_test, 4);
    assert_ok(pb_results_write(&results, NULL, path));
    pb_results_clear(&results);
    assert_ok(pb_hash_file(path, before));
    for (rlim_t limit = 100; limit < 30000; limit += 3700) {
        assert_int_equal(under_file_limit(directory, limit, merge_large), 0);
        assert_ok(pb_hash_file(path, after));
        assert_string_equal(before, after);
    }
    assert_ok(pb_path_list(directory, NULL, &names, &count));
    assert_int_equal(count, 2); /* shards and all.h5: no temporary is left */
    pb_memory_free_texts(names, count);
}

static void write_bytes(const char *path, const char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void damaged_and_foreign_files_are_reported_with_file_and_cause(void **state)
{
    const char *directory = sample_directory();
    char *path            = NULL;
    pb_string bytes       = {0};
    pb_record a;
    pb_record b;

    (void)state;
    assert_ok(sample_record("m", "d", "lora", 1, &a));
    assert_ok(pb_shard_write(directory, &a));
    assert_ok(pb_shard_path(directory, &a.key, &path));
    assert_ok(pb_file_read(path, 0, &bytes));
    for (size_t i = 0; i < 40; i++) {
        size_t size = bytes.length * i / 40;
        write_bytes(path, bytes.data, size);
        assert_int_equal(find(directory, &a.key, "its checksum does not match"), PB_SHARD_DAMAGED);
    }
    bytes.data[bytes.length / 2] ^= 1;
    write_bytes(path, bytes.data, bytes.length);
    assert_error(sample_read(path, true, &b), PB_ERR_FORMAT, "cut or changed after it was written");
    write_bytes(path, "this is text\n", 13);
    assert_error(sample_read(path, true, &b), PB_ERR_FORMAT, "does not match its 13 bytes");
    assert_error(sample_read("/nowhere/x.h5", true, &b), PB_ERR_NOT_FOUND, "/nowhere/x.h5");
    pb_string_clear(&bytes);
    pb_memory_free(path);
    pb_record_clear(&a);
}

static void what_is_no_regular_file_is_damaged(void **state)
{
    const char *directory = sample_directory();
    char *path            = NULL;
    pb_record a;

    (void)state;
    assert_ok(sample_record("m", "d", "lora", 1, &a));
    assert_ok(pb_shard_write(directory, &a)); /* creates the folder */
    assert_ok(pb_shard_path(directory, &a.key, &path));
    assert_int_equal(remove(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(find(directory, &a.key, "a pipe"), PB_SHARD_DAMAGED);
    assert_int_equal(remove(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(find(directory, &a.key, "a directory"), PB_SHARD_DAMAGED);
    assert_int_equal(remove(path), 0);
    assert_int_equal(symlink("/nowhere/x.h5", path), 0);
    assert_int_equal(find(directory, &a.key, "No such file"), PB_SHARD_DAMAGED);
    assert_int_equal(remove(path), 0);
    assert_int_equal(symlink(path, path), 0);
    assert_int_equal(find(directory, &a.key, "symbolic links"), PB_SHARD_DAMAGED);
    assert_int_equal(remove(path), 0);
    pb_memory_free(path);
    pb_record_clear(&a);
}

static void a_shard_under_the_name_of_another_is_damaged(void **state)
{
    const char *directory = sample_directory();
    char *path            = NULL;
    char *path_other      = NULL;
    pb_record a;
    pb_record b;

    (void)state;
    assert_ok(sample_record("m", "d", "lora", 1, &a));
    assert_ok(sample_record("m", "d", "lora", 2, &b));
    assert_ok(pb_shard_path(directory, &a.key, &path));
    assert_ok(pb_shard_path(directory, &b.key, &path_other));
    assert_ok(pb_shard_write(directory, &b));
    assert_int_equal(rename(path_other, path), 0);
    assert_int_equal(find(directory, &a.key, "than its name says: m/d/lora/2"), PB_SHARD_DAMAGED);
    assert_ok(pb_shard_write(directory, &a));
    strcpy(a.key.config_hash + 16, "another end");
    assert_int_equal(find(directory, &a.key, "than its name says: m/d/lora/1"), PB_SHARD_DAMAGED);
    pb_memory_free(path);
    pb_memory_free(path_other);
    pb_record_clear(&a);
    pb_record_clear(&b);
}

static void what_is_set_aside_is_never_replaced(void **state)
{
    static const char *const ends[] = {".damaged", ".damaged.2", ".damaged.3"};
    const char *directory           = sample_directory();
    char *path                      = NULL;
    pb_record a;

    (void)state;
    assert_ok(sample_record("m", "d", "lora", 1, &a));
    assert_ok(pb_shard_path(directory, &a.key, &path));
    for (size_t i = 0; i < 3; i++) {
        pb_string bytes = {0};
        char *kept      = NULL;
        assert_ok(pb_shard_write(directory, &a));
        write_bytes(path, ends[i], strlen(ends[i]));
        assert_ok(pb_shard_set_aside(directory, &a.key, &kept));
        assert_int_equal(strncmp(kept, path, strlen(path)), 0);
        assert_string_equal(kept + strlen(path), ends[i]);
        assert_ok(pb_file_read(kept, 0, &bytes));
        assert_string_equal(bytes.data, ends[i]);
        assert_int_equal(find(directory, &a.key, NULL), PB_SHARD_MISSING);
        pb_string_clear(&bytes);
        pb_memory_free(kept);
    }
    char *none = NULL;
    assert_error(pb_shard_set_aside(directory, &a.key, &none), PB_ERR_IO, path);
    pb_memory_free(path);
    pb_record_clear(&a);
}

/* Reads a file with one damaged spot in a child: an error or a result, never a crash. */
static void flipped_bytes_never_crash(void **state)
{
    const char *directory = sample_directory();
    char *path            = NULL;
    pb_string bytes       = {0};
    int errors            = 0;
    pb_record a;

    (void)state;
    assert_ok(sample_record("m", "d", "lora", 1, &a));
    assert_ok(pb_shard_write(directory, &a));
    assert_ok(pb_shard_path(directory, &a.key, &path));
    assert_ok(pb_file_read(path, 0, &bytes));
    for (size_t i = 0; i < 150; i++) {
        size_t at     = (i * 7919 + i * i * 31) % bytes.length;
        char original = bytes.data[at];
        int code      = 0;

        bytes.data[at] = (char)(original ^ (1 << (i % 8)));
        write_bytes(path, bytes.data, bytes.length);
        bytes.data[at] = original;
        pid_t child    = fork();
        assert_true(child >= 0);
        if (child == 0) {
            pb_record b;
            (void)alarm(20);
            pb_status status = sample_read(path, true, &b);
            _exit(status == PB_OK ? 0 : strstr(pb_error_message(), path) != NULL ? 1 : 2);
        }
        assert_int_equal(waitpid(child, &code, 0), child);
        assert_true(WIFEXITED(code));
        assert_in_range(WEXITSTATUS(code), 0, 1);
        errors += WEXITSTATUS(code);
    }
    assert_true(errors > 0);
    pb_string_clear(&bytes);
    pb_memory_free(path);
    pb_record_clear(&a);
}

static void an_unwritable_directory_is_an_error_that_names_it(void **state)
{
    pb_record a;

    (void)state;
    assert_ok(sample_small("m", "d", "lora", 1, &a));
    assert_error(pb_shard_write("/proc/nothing", &a), PB_ERR_IO, "/proc/nothing");
    pb_record_clear(&a);
}

/* The linker substitutes this for H5Fclose. */
int __real_H5Fclose(int64_t file);
int __wrap_H5Fclose(int64_t file);
static bool close_fails;

int __wrap_H5Fclose(int64_t file)
{
    int result = __real_H5Fclose(file);

    return close_fails ? -1 : result;
}

static void a_file_that_cannot_be_closed_is_no_shard(void **state)
{
    const char *directory = sample_directory();
    pb_record a;

    (void)state;
    assert_ok(sample_record("m", "d", "lora", 1, &a));
    close_fails      = true;
    pb_status status = pb_shard_write(directory, &a);
    close_fails      = false;
    assert_error(status, PB_ERR_LIBRARY, "m__d__lora__1__0000000000000000.h5");
    assert_int_equal(find(directory, &a.key, NULL), PB_SHARD_MISSING);
    pb_record_clear(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_cell_is_found_by_its_key_and_configuration, returns_all_bytes),
        cmocka_unit_test_teardown(shards_of_two_configurations_stay_beside_each_other,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(what_is_no_regular_file_is_damaged, returns_all_bytes),
        cmocka_unit_test_teardown(a_shard_under_the_name_of_another_is_damaged, returns_all_bytes),
        cmocka_unit_test_teardown(what_is_set_aside_is_never_replaced, returns_all_bytes),
        cmocka_unit_test_teardown(escaped_names_are_single_components_and_one_to_one,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(cells_with_similar_names_have_shards_of_their_own,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(kills_at_any_moment_leave_readable_shards_only,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(a_full_disk_is_a_clear_error_and_old_files_stay,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(a_file_that_cannot_be_closed_is_no_shard, returns_all_bytes),
        cmocka_unit_test_teardown(damaged_and_foreign_files_are_reported_with_file_and_cause,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(flipped_bytes_never_crash, returns_all_bytes),
        cmocka_unit_test_teardown(an_unwritable_directory_is_an_error_that_names_it,
                                  returns_all_bytes),
    };
    return cmocka_run_group_tests_name("shard", tests, NULL, NULL);
}
