// SPDX-License-Identifier: Apache-2.0
/* Examples as token rows: packing, labels, truncation counts, texts of both files. */
#include "stand_in.h"

#include "pb/memory.h"

#include <string.h>

static pb_status encode(const pb_dataset *ds, pb_split split, int64_t cutoff, pb_encoded_set *out)
{
    return pb_encoded_open(ds, split, &(pb_encode_options){.cutoff_tokens = cutoff, .threads = 2},
                           NULL, out);
}

static void rows_are_packed_and_only_answers_have_labels(void **state)
{
    pb_dataset *ds     = stand_in_dataset(PB_PROTOCOL_CORRECTED);
    pb_encoded_set set = {0};

    (void)state;
    assert_ok(encode(ds, PB_SPLIT_TRAIN, 100, &set));
    assert_int_equal(set.count, 3);
    assert_int_equal(set.truncated, 0);
    stand_in_assert_row(&set, 0, "<Q\na\nb>yes$", 7);
    stand_in_assert_row(&set, 1, "<Q\nabcdefgh\ni>no$", 14);
    stand_in_assert_row(&set, 2, "<Q\nx>no$", 5);
    assert_int_equal(set.total, 11 + 17 + 8);
    pb_encoded_close(&set);
    pb_dataset_close(ds);
}

static void corrected_cuts_the_user_text_and_drops_training_rows_without_room(void **state)
{
    pb_dataset *ds     = stand_in_dataset(PB_PROTOCOL_CORRECTED);
    pb_encoded_set set = {0};
    pb_string text     = {0};

    (void)state;
    assert_ok(encode(ds, PB_SPLIT_TRAIN, 10, &set));
    assert_int_equal(set.truncated, 2);
    stand_in_assert_row(&set, 0, "<Q\na\n>yes$", 6);
    stand_in_assert_row(&set, 1, "<Q\nabc>no$", 7);
    pb_encoded_close(&set);

    assert_ok(encode(ds, PB_SPLIT_TRAIN, 5, &set));
    assert_int_equal(set.count, 2);
    assert_int_equal(set.too_long, 1);
    assert_int_equal(set.rows[0], 1);
    stand_in_assert_row(&set, 0, "<>no$", 2);
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
        "none of 3 rows is left: 3 do not fit data.cutoff_tokens = 4, 0 are in the test file");
    assert_null(set.ids);
    pb_dataset_close(ds);
}

static void paper_cuts_the_reference_too(void **state)
{
    pb_dataset *ds     = stand_in_dataset(PB_PROTOCOL_PAPER);
    pb_encoded_set set = {0};
    pb_string text     = {0};

    (void)state;
    assert_ok(encode(ds, PB_SPLIT_TEST, 9, &set));
    assert_int_equal(set.truncated, 2);
    stand_in_assert_row(&set, 0, "<Q\na\nb>ye", 7);
    stand_in_assert_row(&set, 1, "<Q\nabcdef", 9);
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
    fixture_write("test.jsonl", stand_in_rows, strlen(stand_in_rows));
    assert_ok(fixture_dataset(fixture_options, PB_PROTOCOL_PAPER, NULL, &ds));
    assert_error(encode(ds, PB_SPLIT_TRAIN, 100, &set), PB_ERR_UNSUPPORTED, "refused");
    assert_null(set.ids);
    pb_dataset_close(ds);
}

/* "cat" and "dog" are in both files, also with another label and after another instruction. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_packed_and_only_answers_have_labels),
        cmocka_unit_test(corrected_cuts_the_user_text_and_drops_training_rows_without_room),
        cmocka_unit_test(paper_cuts_the_reference_too),
        cmocka_unit_test(a_failing_template_leaves_nothing_behind),
        cmocka_unit_test(training_texts_that_the_test_file_has_are_left_out),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
