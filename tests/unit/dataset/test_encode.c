// SPDX-License-Identifier: Apache-2.0
/* Examples as token rows: packing, labels, truncation counts. The template here is one id per byte,
 * "<user>" and "answer$", so that every id can be written down. */
#include "fixture.h"

#include "pb/encoded.h"
#include "pb/file.h"
#include "pb/memory.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pb_status append(pb_ids *ids, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        int32_t id = (unsigned char)text[i];
        PB_TRY(pb_ids_extend(ids, &id, 1));
    }
    return PB_OK;
}

static pb_status render(const char *user, size_t user_length, const char *answer, pb_rendered *out)
{
    PB_TRY(append(&out->ids, "<", 1));
    PB_TRY(append(&out->ids, user, user_length));
    PB_TRY(append(&out->ids, ">", 1));
    out->prompt_length = out->ids.count;
    PB_TRY(append(&out->ids, answer, strlen(answer)));
    return append(&out->ids, "$", 1);
}

/* The stand-ins for the module `text`. */

pb_status pb_template_render(const pb_template *tpl, const pb_tokenizer *t, const char *user,
                             const char *answer, bool corrected, pb_rendered *out)
{
    (void)tpl;
    (void)t;
    assert_false(corrected);
    if (strstr(user, "refuse") != NULL) {
        return PB_FAIL(PB_ERR_UNSUPPORTED, "refused");
    }
    return render(user, strlen(user), answer, out);
}

pb_status pb_template_render_within(const pb_template *tpl, const pb_tokenizer *t, const char *user,
                                    const char *answer, int64_t cutoff, pb_rendered *out,
                                    size_t *dropped, bool *fits)
{
    int64_t room = cutoff - 3 - (int64_t)strlen(answer);
    size_t kept  = room < 0 ? 0 : (size_t)room < strlen(user) ? (size_t)room : strlen(user);

    (void)tpl;
    (void)t;
    *dropped = strlen(user) - kept;
    *fits    = room >= 0;
    return render(user, kept, answer, out);
}

void pb_rendered_truncate_paper(pb_rendered *r, int64_t cutoff)
{
    r->ids.count     = r->ids.count < cutoff ? r->ids.count : cutoff;
    r->prompt_length = r->prompt_length < cutoff ? r->prompt_length : cutoff;
}

void pb_rendered_clear(pb_rendered *r)
{
    pb_ids_clear(&r->ids);
    *r = (pb_rendered){0};
}

pb_status pb_tokenizer_decode(const pb_tokenizer *t, const int32_t *ids, int64_t count,
                              bool skip_special, pb_string *out)
{
    (void)t;
    assert_true(skip_special);
    for (int64_t i = 0; i < count; i++) {
        char byte = (char)ids[i];
        PB_TRY(pb_string_append(out, &byte, byte != '$'));
    }
    return PB_OK;
}

const char *pb_template_name(const pb_template *tpl)
{
    (void)tpl;
    return "bytes";
}

static const char *tokenizer_hash = "bytes";

const char *pb_tokenizer_hash(const pb_tokenizer *t)
{
    (void)t;
    return tokenizer_hash;
}

static const char rows[] = ROW("a", "b", "0") ROW("abcdefgh", "i", "1") ROW("x", "", "1");

static pb_dataset *open_rows(pb_protocol protocol)
{
    pb_dataset *ds = NULL;

    fixture_write("train.jsonl", rows, sizeof rows - 1);
    fixture_write("test.jsonl", rows, sizeof rows - 1);
    assert_ok(fixture_dataset(fixture_options, protocol, NULL, &ds));
    return ds;
}

static pb_status encode(const pb_dataset *ds, pb_split split, int64_t cutoff, pb_encoded_set *out)
{
    return pb_encoded_open(ds, split, &(pb_encode_options){.cutoff_tokens = cutoff, .threads = 2},
                           NULL, out);
}

static void assert_row(const pb_encoded_set *set, int64_t index, const char *text,
                       int64_t prompt_length)
{
    pb_sample sample = pb_encoded_sample(set, index);
    pb_sample prompt = pb_encoded_prompt(set, index);

    assert_int_equal(sample.length, strlen(text));
    assert_int_equal(prompt.length, prompt_length);
    assert_ptr_equal(prompt.ids, sample.ids);
    assert_false(pb_sample_has_labels(&prompt));
    for (int64_t t = 0; t < sample.length; t++) {
        assert_int_equal(sample.ids[t], text[t]);
        if (t > 0) {
            assert_int_equal(pb_sample_label(&sample, t),
                             t < prompt_length ? PB_LABEL_NONE : text[t]);
        }
    }
}

static void rows_are_packed_and_only_answers_have_labels(void **state)
{
    pb_dataset *ds     = open_rows(PB_PROTOCOL_CORRECTED);
    pb_encoded_set set = {0};

    (void)state;
    assert_ok(encode(ds, PB_SPLIT_TRAIN, 100, &set));
    assert_int_equal(set.count, 3);
    assert_int_equal(set.truncated, 0);
    assert_row(&set, 0, "<Q\na\nb>yes$", 7);
    assert_row(&set, 1, "<Q\nabcdefgh\ni>no$", 14);
    assert_row(&set, 2, "<Q\nx>no$", 5);
    assert_int_equal(set.total, 11 + 17 + 8);
    pb_encoded_close(&set);
    pb_dataset_close(ds);
}

static void corrected_cuts_the_user_text_and_drops_training_rows_without_room(void **state)
{
    pb_dataset *ds     = open_rows(PB_PROTOCOL_CORRECTED);
    pb_encoded_set set = {0};
    pb_string text     = {0};

    (void)state;
    assert_ok(encode(ds, PB_SPLIT_TRAIN, 10, &set));
    assert_int_equal(set.truncated, 2);
    assert_row(&set, 0, "<Q\na\n>yes$", 6);
    assert_row(&set, 1, "<Q\nabc>no$", 7);
    pb_encoded_close(&set);

    assert_ok(encode(ds, PB_SPLIT_TRAIN, 5, &set));
    assert_int_equal(set.count, 2);
    assert_int_equal(set.too_long, 1);
    assert_int_equal(set.rows[0], 1);
    assert_row(&set, 0, "<>no$", 2);
    pb_encoded_close(&set);

    assert_ok(encode(ds, PB_SPLIT_TEST, 5, &set));
    assert_int_equal(set.count, 3);
    assert_int_equal(set.too_long, 1);
    assert_ok(pb_encoded_reference(ds, &set, NULL, 0, &text));
    assert_string_equal(text.data, "yes");
    pb_string_clear(&text);
    pb_encoded_close(&set);

    assert_error(
        encode(ds, PB_SPLIT_TRAIN, 4, &set), PB_ERR_FORMAT,
        "none of 3 rows is left: 3 do not fit data.cutoff_tokens = 4, 0 stand in the test file");
    assert_null(set.ids);
    pb_dataset_close(ds);
}

static void paper_cuts_the_reference_too(void **state)
{
    pb_dataset *ds     = open_rows(PB_PROTOCOL_PAPER);
    pb_encoded_set set = {0};
    pb_string text     = {0};

    (void)state;
    assert_ok(encode(ds, PB_SPLIT_TEST, 9, &set));
    assert_int_equal(set.truncated, 2);
    assert_row(&set, 0, "<Q\na\nb>ye", 7);
    assert_row(&set, 1, "<Q\nabcdef", 9);
    assert_ok(pb_encoded_reference(ds, &set, NULL, 0, &text));
    assert_string_equal(text.data, "ye");
    text.length = 0;
    assert_ok(pb_encoded_reference(ds, &set, NULL, 2, &text));
    assert_string_equal(text.data, "no");
    pb_string_clear(&text);
    pb_encoded_close(&set);
    pb_dataset_close(ds);
}

static void a_failing_template_leaves_nothing_behind(void **state)
{
    static const char refused[] = ROW("a", "b", "0") ROW("refuse", "b", "0");
    pb_dataset *ds              = NULL;
    pb_encoded_set set          = {0};

    (void)state;
    fixture_write("train.jsonl", refused, sizeof refused - 1);
    fixture_write("test.jsonl", rows, sizeof rows - 1);
    assert_ok(fixture_dataset(fixture_options, PB_PROTOCOL_PAPER, NULL, &ds));
    assert_error(encode(ds, PB_SPLIT_TRAIN, 100, &set), PB_ERR_UNSUPPORTED, "refused");
    assert_null(set.ids);
    pb_dataset_close(ds);
}

static void made_up_token_rows_follow_from_the_seed_alone(void **state)
{
    pb_encoded_set a = {0}, b = {0}, c = {0};

    (void)state;
    assert_ok(pb_encoded_synthetic(5, 7, 2, 11, 3, &a));
    assert_ok(pb_encoded_synthetic(5, 7, 2, 11, 3, &b));
    assert_ok(pb_encoded_synthetic(5, 7, 2, 11, 4, &c));
    assert_int_equal(a.total, 45);
    assert_memory_equal(a.ids, b.ids, 45 * sizeof *a.ids);
    assert_memory_not_equal(a.ids, c.ids, 45 * sizeof *a.ids);
    for (int64_t t = 0; t < a.total; t++) {
        assert_in_range(a.ids[t], 0, 10);
        pb_sample sample = pb_encoded_sample(&a, t / 9);
        assert_int_equal(pb_sample_label(&sample, t % 9), t % 9 < 7 ? PB_LABEL_NONE : a.ids[t]);
    }
    pb_encoded_close(&a);
    pb_encoded_close(&b);
    pb_encoded_close(&c);
    assert_error(pb_encoded_synthetic(0, 7, 2, 11, 3, &a), PB_ERR_ARGUMENT, "0 rows");
}

/* "cat" and "dog" stand in both files, with another label and behind another instruction too. */
static void training_texts_that_the_test_file_has_are_left_out(void **state)
{
    static const char train[] = ROW("cat", "", "0") ROW("cow", "", "0") ROW("dog", "", "1");
    static const char test[]  = ROW("dog", "", "0") ROW("eel", "", "0") ROW("cat", "", "0");
    pb_encode_options options = {.cutoff_tokens = 100};
    pb_encoded_set tested = {0}, set = {0};

    (void)state;
    fixture_write("train.jsonl", train, sizeof train - 1);
    fixture_write("test.jsonl", test, sizeof test - 1);
    for (int protocol = 0; protocol < 2; protocol++) {
        bool corrected = protocol == PB_PROTOCOL_CORRECTED;
        pb_dataset *ds = NULL;
        assert_ok(fixture_dataset(fixture_options, (pb_protocol)protocol, NULL, &ds));
        assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &tested));
        assert_ok(pb_encoded_open(ds, PB_SPLIT_TRAIN, &options, &tested, &set));
        assert_int_equal(set.counts.overlap, 2);
        assert_int_equal(set.count, corrected ? 1 : 3);
        assert_int_equal(set.rows[0], corrected ? 1 : 0);
        pb_encoded_close(&set);
        assert_ok(pb_encoded_open(ds, PB_SPLIT_TRAIN, &options, NULL, &set));
        assert_int_equal(set.counts.overlap, 0);
        assert_int_equal(set.count, 3);
        pb_encoded_close(&set);
        pb_encoded_close(&tested);
        pb_dataset_close(ds);
    }
}

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
    return (pb_encode_options){
        .cutoff_tokens = 10, .threads = 2, .cache = fixture_path("cache/tokens")};
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
    pb_path_list_free(names, count);
    return path;
}

static size_t cached_count(void)
{
    char **names = NULL;
    size_t count = 0;

    assert_ok(pb_path_list(fixture_path("cache/tokens"), NULL, &names, &count));
    pb_path_list_free(names, count);
    return count;
}

static void a_cached_set_is_the_set_and_counts_the_same_memory(void **state)
{
    pb_dataset *ds            = open_rows(PB_PROTOCOL_CORRECTED);
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

    (void)state;
    pb_dataset_close(open_rows(PB_PROTOCOL_CORRECTED));
    open_and_close("", PB_PROTOCOL_CORRECTED, NULL, 20, false);
    open_and_close("", PB_PROTOCOL_CORRECTED, NULL, 20, true);
    open_and_close("", PB_PROTOCOL_CORRECTED, NULL, 21, false);
    open_and_close("", PB_PROTOCOL_PAPER, NULL, 20, false);
    open_and_close("", PB_PROTOCOL_CORRECTED, &one_row, 20, false);
    open_and_close("answer = \"{s}\";", PB_PROTOCOL_CORRECTED, NULL, 20, false);
    tokenizer_hash = "other";
    open_and_close("", PB_PROTOCOL_CORRECTED, NULL, 20, false);
    tokenizer_hash = "bytes";
    open_and_close("", PB_PROTOCOL_CORRECTED, NULL, 20, true);
    fixture_write("test.jsonl", rows, strlen(rows) - 1);
    open_and_close("", PB_PROTOCOL_CORRECTED, NULL, 20, false);
    assert_true(cached_count() >= 7);
}

/* Cut, flipped, empty, of another key: made again, whatever is there. */
static void a_damaged_file_is_made_again(void **state)
{
    pb_dataset *ds            = open_rows(PB_PROTOCOL_CORRECTED);
    pb_encode_options options = with_cache();
    pb_encoded_set set        = {0};
    pb_string bytes           = {0};

    (void)state;
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
    pb_encoded_close(&set);
    char *path = cached_file();
    assert_ok(pb_file_read(path, 0, &bytes));
    for (size_t at = 0; at < bytes.length; at += at < 700 ? 1 : 61) {
        bytes.data[at] ^= 0x10;
        assert_ok(pb_file_write_atomic(path, bytes.data, bytes.length));
        bytes.data[at] ^= 0x10;
        assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
        assert_row(&set, 0, "<Q\na\n>yes$", 6);
        pb_encoded_close(&set);
    }
    for (size_t length = 0; length < bytes.length; length += 97) {
        assert_ok(pb_file_write_atomic(path, bytes.data, length));
        assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
        assert_false(set.from_cache);
        pb_encoded_close(&set);
    }
    pb_string_clear(&bytes);
    pb_memory_free(path);
    pb_dataset_close(ds);
}

static void a_cache_that_cannot_be_written_is_done_without(void **state)
{
    pb_dataset *ds            = open_rows(PB_PROTOCOL_CORRECTED);
    pb_encode_options options = {.cutoff_tokens = 20, .cache = "/proc/self/nothing"};
    pb_encoded_set set        = {0};

    (void)state;
    assert_ok(pb_encoded_open(ds, PB_SPLIT_TEST, &options, NULL, &set));
    assert_false(set.from_cache);
    assert_int_equal(set.count, 3);
    pb_encoded_close(&set);
    pb_dataset_close(ds);
}

/* Processes that ask for the same set at the same time, some of them killed on the way. */
static void writers_side_by_side_and_kills_leave_one_whole_file(void **state)
{
    enum { WRITERS = 8, ROUNDS = 12 };
    pb_dataset *ds            = open_rows(PB_PROTOCOL_CORRECTED);
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

static int set_up(void **state)
{
    (void)state;
    fixture_open();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close();
    assert_int_equal(pb_memory_current(), 0);
    return 0;
}

/* Each of these begins with an empty cache. */
static int empty_cache(void **state)
{
    char command[256];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", fixture_path("cache"));
    return system(command);
}

#define cached(test) cmocka_unit_test_setup(test, empty_cache)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_packed_and_only_answers_have_labels),
        cmocka_unit_test(corrected_cuts_the_user_text_and_drops_training_rows_without_room),
        cmocka_unit_test(paper_cuts_the_reference_too),
        cmocka_unit_test(a_failing_template_leaves_nothing_behind),
        cmocka_unit_test(training_texts_that_the_test_file_has_are_left_out),
        cached(a_cached_set_is_the_set_and_counts_the_same_memory),
        cached(whatever_changes_the_tokens_changes_the_key),
        cached(a_damaged_file_is_made_again),
        cached(a_cache_that_cannot_be_written_is_done_without),
        cached(writers_side_by_side_and_kills_leave_one_whole_file),
        cmocka_unit_test(made_up_token_rows_follow_from_the_seed_alone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
