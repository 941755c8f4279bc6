// SPDX-License-Identifier: Apache-2.0
/* The token cache: the sets found are the sets made, whatever happens to the files, to other
 * writers, and to the inputs. */
#include "stand_in.h"

#include "pb/file.h"
#include "pb/hash.h"
#include "pb/memory.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void assert_equal_sets(const pb_encoded_set *a, const pb_encoded_set *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->total, b->total);
    assert_memory_equal(a->ids, b->ids, (size_t)a->total * sizeof *a->ids);
    assert_memory_equal(a->offsets, b->offsets, ((size_t)a->count + 1) * sizeof *a->offsets);
    assert_memory_equal(&a->counts, &b->counts, sizeof a->counts);
    assert_string_equal(a->sha, b->sha);
    assert_int_equal(a->truncated, b->truncated);
    for (int64_t i = 0; i < a->count; i++) {
        assert_int_equal(a->rows[i], b->rows[i]);
        assert_int_equal(a->prompt_lengths[i], b->prompt_lengths[i]);
        assert_string_equal(pb_encoded_answer(a, i, 0), pb_encoded_answer(b, i, 0));
        assert_string_equal(pb_encoded_id(a, i), pb_encoded_id(b, i));
    }
}

static pb_encode_options with_cache(void)
{
    static char path[128]; /* the buffer of fixture_path is soon reused */

    (void)snprintf(path, sizeof path, "%s", fixture_path("cache/tokens"));
    return (pb_encode_options){.cutoff_tokens = 10, .threads = 2, .cache = path};
}

/* The only file of tokens in the cache. */
static char *cached_file(void)
{
    char **names = NULL;
    char *path   = NULL;
    size_t count = 0;

    assert_ok(pb_path_list(fixture_path("cache/tokens"), ".tokens", &names, &count));
    assert_int_equal(count, 1);
    assert_ok(pb_path_join(fixture_path("cache/tokens"), names[0], &path));
    pb_memory_free_texts(names, count);
    return path;
}

static size_t cached_count(void)
{
    char **names = NULL;
    size_t count = 0;

    assert_ok(pb_path_list(fixture_path("cache/tokens"), NULL, &names, &count));
    pb_memory_free_texts(names, count);
    return count;
}

static void a_cached_set_is_the_set_and_counts_the_same_memory(void **state)
{
    pb_dataset *ds            = stand_in_dataset(PB_PROTOCOL_CORRECTED);
    pb_encode_options options = with_cache();
    pb_encode_options plain   = options;
    pb_encoded_set fresh = {0}, made = {0}, found = {0};
    size_t before = pb_memory_current();

    (void)state;
    plain.cache = NULL;
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &plain, NULL, &fresh));
    size_t bytes = pb_memory_current() - before;
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &made));
    assert_int_equal(pb_memory_current() - before, 2 * bytes);
    assert_false(made.from_cache);
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &found));
    assert_int_equal(pb_memory_current() - before, 3 * bytes);
    assert_true(found.from_cache);
    assert_equal_sets(&fresh, &made);
    assert_equal_sets(&fresh, &found);
    pb_encoded_close(&fresh);
    pb_encoded_close(&made);
    pb_encoded_close(&found);
    assert_int_equal(pb_memory_current(), before);
    pb_dataset_close(ds);
}

static void open_and_close(const char *keys, pb_protocol protocol, const pb_data_options *data,
                           int64_t cutoff, bool expect_found)
{
    char all[1024];
    pb_dataset *ds            = NULL;
    pb_encode_options options = with_cache();
    pb_encoded_set set        = {0};

    options.cutoff_tokens = cutoff;
    (void)snprintf(all, sizeof all, "%s %s", fixture_options, keys);
    assert_ok(fixture_dataset(all, protocol, data, &ds));
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
    assert_int_equal(set.from_cache, expect_found);
    pb_encoded_close(&set);
    pb_dataset_close(ds);
}

static void whatever_changes_the_tokens_changes_the_key(void **state)
{
    pb_data_options one_row = {.test_rows = 1};
    pb_data_options lenient = {.max_bad_share = 0.5};
    pb_data_options later   = {.train_rows = 1, .validation_share = 0.5, .validation_seed = 7};

    (void)state;
    pb_dataset_close(stand_in_dataset(PB_PROTOCOL_CORRECTED));
    open_and_close("", PB_PROTOCOL_CORRECTED, NULL, 20, false);
    open_and_close("", PB_PROTOCOL_CORRECTED, NULL, 20, true);
    open_and_close("", PB_PROTOCOL_CORRECTED, &later, 20, true);
    open_and_close("", PB_PROTOCOL_CORRECTED, NULL, 21, false);
    open_and_close("", PB_PROTOCOL_PAPER, NULL, 20, false);
    open_and_close("", PB_PROTOCOL_CORRECTED, &one_row, 20, false);
    open_and_close("", PB_PROTOCOL_CORRECTED, &lenient, 20, false);
    open_and_close("answer = \"{s}\";", PB_PROTOCOL_CORRECTED, NULL, 20, false);
    assert_int_equal(cached_count(), 6);
    stand_in_tokenizer = "other";
    open_and_close("", PB_PROTOCOL_CORRECTED, NULL, 20, false);
    stand_in_tokenizer = "bytes";
    stand_in_name      = "other";
    open_and_close("", PB_PROTOCOL_CORRECTED, NULL, 20, false);
    stand_in_name = "bytes";
    /* A program whose template gives different ids under the same name. */
    stand_in_end = "!";
    open_and_close("", PB_PROTOCOL_CORRECTED, NULL, 20, false);
    stand_in_end = "$";
    open_and_close("", PB_PROTOCOL_CORRECTED, NULL, 20, true);
    fixture_write("test.jsonl", stand_in_rows, strlen(stand_in_rows) - 1);
    open_and_close("", PB_PROTOCOL_CORRECTED, NULL, 20, false);
    assert_int_equal(cached_count(), 10);
}

/* The same bytes are different rows as CSV and as GLUE's TSV, and the name decides. */
static void the_form_that_a_name_tells_is_part_of_the_key(void **state)
{
    static const char bytes[]        = "s\n\"a \"\"b\"\"\"\n";
    static const char *const users[] = {"a \"b\"", "\"a \"\"b\"\"\""};
    pb_encode_options options        = with_cache();

    (void)state;
    options.cutoff_tokens = 50;
    for (int k = 0; k < 2; k++) {
        const char *name     = k == 0 ? "rows.csv" : "rows.tsv";
        pb_config *config    = NULL;
        pb_dataset *ds       = NULL;
        pb_encoded_set set   = {0};
        pb_data_options data = {0};
        char text[512], expected[64];
        fixture_write(name, bytes, sizeof bytes - 1);
        (void)snprintf(text, sizeof text,
                       "dataset = { name = \"f\"; test_file = \"%s\"; columns = [\"s:string\"]; "
                       "lines = [\"{s}\"]; answer = \"x\"; };",
                       fixture_path(name));
        assert_ok(pb_config_parse(text, "f.cfg", &config));
        assert_ok(pb_dataset_open(config, "dataset", PB_PROTOCOL_CORRECTED, &data, &ds));
        assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
        assert_false(set.from_cache);
        (void)snprintf(expected, sizeof expected, "<%s>x$", users[k]);
        stand_in_assert_row(&set, 0, expected, (int64_t)strlen(users[k]) + 2);
        pb_encoded_close(&set);
        pb_dataset_close(ds);
        pb_config_close(config);
    }
    assert_int_equal(cached_count(), 2);
}

/* A training set is one without the texts of a certain test set. */
static void the_test_set_is_part_of_the_key_of_a_training_set(void **state)
{
    static const char train[] = ROW("cat", "", "0") ROW("dog", "", "1");
    static const char test[]  = ROW("dog", "", "0");
    pb_encode_options options = with_cache();
    pb_dataset *ds            = NULL;
    pb_encoded_set tested = {0}, with = {0}, without = {0};

    (void)state;
    options.cutoff_tokens = 50;
    fixture_write("train.jsonl", train, sizeof train - 1);
    fixture_write("test.jsonl", test, sizeof test - 1);
    assert_ok(fixture_dataset(fixture_options, PB_PROTOCOL_CORRECTED, NULL, &ds));
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &tested));
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TRAIN, &options, NULL, &with));
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TRAIN, &options, &tested, &without));
    assert_int_equal(with.count, 2);
    assert_int_equal(without.count, 1);
    pb_encoded_close(&without);
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TRAIN, &options, &tested, &without));
    assert_true(without.from_cache);
    assert_int_equal(without.count, 1);
    assert_int_equal(cached_count(), 3);
    pb_encoded_close(&with);
    pb_encoded_close(&without);
    pb_encoded_close(&tested);
    pb_dataset_close(ds);
}

/* Every byte of the header and many of the rest flipped, and the file cut everywhere: the result is
 * the set as made without a file. */
static void a_damaged_file_is_made_again(void **state)
{
    pb_dataset *ds            = stand_in_dataset(PB_PROTOCOL_CORRECTED);
    pb_encode_options options = with_cache();
    pb_encode_options plain   = options;
    pb_encoded_set set = {0}, fresh = {0};
    pb_string bytes = {0};

    (void)state;
    plain.cache = NULL;
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &plain, NULL, &fresh));
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
    pb_encoded_close(&set);
    char *path = cached_file();
    assert_ok(pb_file_read(path, 0, &bytes));
    for (size_t at = 0; at < bytes.length; at += at < 700 ? 1 : 61) {
        bytes.data[at] ^= 0x10;
        assert_ok(pb_file_write_atomic(path, bytes.data, bytes.length));
        bytes.data[at] ^= 0x10;
        assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
        assert_false(set.from_cache);
        assert_equal_sets(&set, &fresh);
        pb_encoded_close(&set);
    }
    for (size_t length = 0; length < bytes.length; length += 97) {
        assert_ok(pb_file_write_atomic(path, bytes.data, length));
        assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
        assert_false(set.from_cache);
        assert_equal_sets(&set, &fresh);
        pb_encoded_close(&set);
    }
    pb_encoded_close(&fresh);
    pb_string_clear(&bytes);
    pb_memory_free(path);
    pb_dataset_close(ds);
}

/* The known hash is that of other rows: as if the file had changed after it was hashed. */
static void rows_that_change_while_they_are_read_are_not_kept(void **state)
{
    pb_dataset *ds            = stand_in_dataset(PB_PROTOCOL_CORRECTED);
    pb_encode_options options = with_cache();
    pb_encoded_set set        = {0};
    char other[PB_HASH_TEXT];

    (void)state;
    assert_ok(pb_hash_bytes("other", 5, other));
    options.file_sha[PB_SPLIT_TEST] = other;
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
    assert_false(set.from_cache);
    assert_int_equal(set.count, 3);
    pb_encoded_close(&set);
    assert_int_equal(cached_count(), 0);
    pb_dataset_close(ds);
}

static bool stop_at_once(void *context)
{
    (*(int *)context)++;
    return true;
}

/* While another process holds the lock, the caller is asked whether to keep waiting. */
static void waiting_for_another_process_can_be_stopped(void **state)
{
    pb_dataset *ds            = stand_in_dataset(PB_PROTOCOL_CORRECTED);
    pb_encode_options options = with_cache();
    pb_encoded_set set        = {0};
    pb_file_lock *lock        = NULL;
    int asked                 = 0;

    (void)state;
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
    pb_encoded_close(&set);
    char *path  = cached_file();
    char *point = strrchr(path, '.');
    assert_int_equal(remove(path), 0);
    strcpy(point, ".lock");
    assert_ok(pb_file_lock_take(path, "another", &lock));
    options.stop         = stop_at_once;
    options.stop_context = &asked;
    assert_error(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set), PB_STOPPED,
                 "another process made the tokens of made-up");
    assert_int_equal(asked, 1);
    pb_file_lock_release(lock);
    /* The lock is free now: the making itself is stopped, and leaves nothing behind. */
    assert_error(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set), PB_STOPPED,
                 "stopped while the tokens of made-up were made");
    assert_int_equal(cached_count(), 0);
    options.stop = NULL;
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
    pb_encoded_close(&set);
    pb_memory_free(path);
    pb_dataset_close(ds);
}

/* Temporary files of killed writers are removed when the next file is made. */
static void leftovers_of_killed_writers_are_removed(void **state)
{
    pb_dataset *ds            = stand_in_dataset(PB_PROTOCOL_CORRECTED);
    pb_encode_options options = with_cache();
    pb_encoded_set set        = {0};
    char *left                = NULL;

    (void)state;
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
    pb_encoded_close(&set);
    char *path = cached_file();
    assert_int_equal(remove(path), 0);
    assert_ok(pb_file_temporary_create(path, &left));
    assert_int_equal(cached_count(), 1);
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
    pb_encoded_close(&set);
    assert_false(pb_path_exists(left));
    assert_int_equal(cached_count(), 1);
    pb_memory_free(left);
    pb_memory_free(path);
    pb_dataset_close(ds);
}

static void a_cache_that_cannot_be_written_is_done_without(void **state)
{
    pb_dataset *ds            = stand_in_dataset(PB_PROTOCOL_CORRECTED);
    pb_encode_options options = {.cutoff_tokens = 20, .cache = "/proc/self/nothing"};
    pb_encoded_set set        = {0};

    (void)state;
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
    assert_false(set.from_cache);
    assert_int_equal(set.count, 3);
    pb_encoded_close(&set);
    pb_dataset_close(ds);
}

/* Processes that request the same set at the same time, some of them killed along the way. */
static void writers_side_by_side_and_kills_leave_one_whole_file(void **state)
{
    enum { WRITERS = 8, ROUNDS = 12 };
    pb_dataset *ds            = stand_in_dataset(PB_PROTOCOL_CORRECTED);
    pb_encode_options options = with_cache();
    pb_encoded_set set        = {0};

    (void)state;
    options.threads = 1; /* a child of a process with OpenMP threads has none of them */
    for (int round = 0; round < ROUNDS; round++) {
        pid_t pids[WRITERS];
        options.cutoff_tokens = 20 + round;
        for (int i = 0; i < WRITERS; i++) {
            pids[i] = fork();
            assert_true(pids[i] >= 0);
            if (pids[i] == 0) {
                pb_status status = pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set);
                _exit(status == PB_OK && set.count == 3 ? 0 : 1);
            }
        }
        (void)usleep((useconds_t)(round * 300));
        for (int i = 0; i < WRITERS; i++) {
            int status = 0;
            if (i % 2 == 0) {
                (void)kill(pids[i], SIGKILL);
            }
            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_true(i % 2 == 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
        }
        assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
        assert_true(set.from_cache);
        pb_encoded_close(&set);
    }
    pb_dataset_close(ds);
}

/* Each of these begins with an empty cache. */
static int empty_cache(void **state)
{
    char command[256];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", fixture_path("cache"));
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_cached_set_is_the_set_and_counts_the_same_memory, empty_cache),
        cmocka_unit_test_setup(whatever_changes_the_tokens_changes_the_key, empty_cache),
        cmocka_unit_test_setup(the_form_that_a_name_tells_is_part_of_the_key, empty_cache),
        cmocka_unit_test_setup(the_test_set_is_part_of_the_key_of_a_training_set, empty_cache),
        cmocka_unit_test_setup(a_damaged_file_is_made_again, empty_cache),
        cmocka_unit_test_setup(rows_that_change_while_they_are_read_are_not_kept, empty_cache),
        cmocka_unit_test_setup(waiting_for_another_process_can_be_stopped, empty_cache),
        cmocka_unit_test_setup(leftovers_of_killed_writers_are_removed, empty_cache),
        cmocka_unit_test_setup(a_cache_that_cannot_be_written_is_done_without, empty_cache),
        cmocka_unit_test_setup(writers_side_by_side_and_kills_leave_one_whole_file, empty_cache),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
