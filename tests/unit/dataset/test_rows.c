// SPDX-License-Identifier: Apache-2.0
/* Valid rows, and the message for every bad one. */
#include "fixture.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char good_row[] = ROW("a", "b", "0");

static pb_status read_as(pb_protocol protocol, const char *bytes, size_t length,
                         const pb_data_options *data, test_samples *out)
{
    fixture_write("test.jsonl", good_row, sizeof good_row - 1);
    fixture_write("train.jsonl", bytes, length);
    return fixture_samples(fixture_options, protocol, data, out);
}

static pb_status read_bytes(const char *bytes, size_t length, const pb_data_options *data,
                            test_samples *out)
{
    return read_as(PB_PROTOCOL_CORRECTED, bytes, length, data, out);
}

/* The train file is refused with a message that names file, line and `part`. */
static void assert_refused(const char *bytes, size_t length, pb_status status, const char *part)
{
    test_samples splits[PB_SPLIT_COUNT];
    pb_status got = read_bytes(bytes, length, NULL, splits);

    assert_null(splits[PB_SPLIT_TRAIN].items);
    if (strstr(pb_error_message(), "train.jsonl") == NULL) {
        fail_msg("no file name in \"%s\"", pb_error_message());
    }
    assert_error(got, status, part);
}

#define REFUSED(text, status, part) assert_refused((text), strlen(text), (status), (part))

static void assert_accepted(pb_protocol protocol, const char *bytes, const char *user,
                            const char *answer)
{
    test_samples splits[PB_SPLIT_COUNT];

    assert_ok(read_as(protocol, bytes, strlen(bytes), NULL, splits));
    const pb_example *example = &splits[PB_SPLIT_TRAIN].items[0];
    assert_string_equal(example->user, user);
    assert_string_equal(example->answer, answer);
    fixture_clear(splits);
}

#define ACCEPTED(text, user, answer) \
    assert_accepted(PB_PROTOCOL_CORRECTED, (text), (user), (answer))
#define KEPT_BY_PAPER(text, user, answer) \
    assert_accepted(PB_PROTOCOL_PAPER, (text), (user), (answer))

static void message_joins_what_is_not_empty_with_one_line_feed(void **state)
{
    (void)state;
    ACCEPTED(ROW("a", "b", "0"), "Q\na\nb", "yes");
    ACCEPTED(ROW("a", "", "1"), "Q\na", "no");
    KEPT_BY_PAPER(ROW("", "b", "1"), "Q\nb", "no");
    KEPT_BY_PAPER(ROW("", "", "1"), "Q", "no");
    ACCEPTED("{\"s\":\"a\",\"t\":null,\"label\":1}", "Q\na", "no");
    ACCEPTED(ROW(" a ", "\\n", "0"), "Q\n a \n\n", "yes");
    ACCEPTED(ROW("{s}", "\\u00e9\\ud83d\\ude00\\/", "0"), "Q\n{s}\n\xC3\xA9\xF0\x9F\x98\x80/",
             "yes");
}

static void line_ends_bom_blank_lines_and_further_columns_are_accepted(void **state)
{
    (void)state;
    ACCEPTED("{\"s\":\"a\",\"t\":\"b\",\"label\":0}\r\n", "Q\na\nb", "yes");
    ACCEPTED("\xEF\xBB\xBF" ROW("a", "b", "0"), "Q\na\nb", "yes");
    ACCEPTED("\n  \t\r\n" ROW("a", "b", "0") "\n", "Q\na\nb", "yes");
    ACCEPTED("{\"idx\":7,\"s\":\"a\",\"more\":{\"x\":[1]},\"t\":\"b\",\"label\":0}", "Q\na\nb",
             "yes");
}

static void missing_column_names_line_column_and_the_rows_own(void **state)
{
    (void)state;
    REFUSED(ROW("a", "b", "0") "\n{\"s\":\"a\",\"label\":0}\n", PB_ERR_FORMAT, "train.jsonl:3: ");
    REFUSED("{\"s\":\"a\",\"label\":0}\n", PB_ERR_FORMAT,
            "column \"t\" is missing (the row has: s, label); give it, or correct dataset.columns");
    REFUSED("{}\n", PB_ERR_FORMAT, "column \"s\" is missing");
}

static void wrong_type_names_what_is_there_and_what_is_declared(void **state)
{
    (void)state;
    REFUSED("{\"s\":5,\"t\":\"b\",\"label\":0}", PB_ERR_FORMAT,
            "column \"s\" holds an integer where string is declared");
    REFUSED("{\"s\":[\"a\"],\"t\":\"b\",\"label\":0}", PB_ERR_FORMAT, "holds an array");
    REFUSED("{\"s\":{\"a\":1},\"t\":\"b\",\"label\":0}", PB_ERR_FORMAT, "holds an object");
    REFUSED("{\"s\":true,\"t\":\"b\",\"label\":0}", PB_ERR_FORMAT, "holds true or false");
    REFUSED("{\"s\":null,\"t\":\"b\",\"label\":0}", PB_ERR_FORMAT,
            "column \"s\" holds null where string is declared (dataset.columns); correct the row, "
            "or declare the type with a ?");
    REFUSED(ROW("a", "b", "\"yes\""), PB_ERR_FORMAT, "holds a string where label is declared");
    REFUSED(ROW("a", "b", "1.0"), PB_ERR_FORMAT, "holds a number where label is declared");
}

static void label_outside_the_set_is_refused(void **state)
{
    (void)state;
    REFUSED(ROW("a", "b", "2"), PB_ERR_FORMAT, "label 2 is outside 0 … 1");
    REFUSED(ROW("a", "b", "-2"), PB_ERR_FORMAT, "label -2");
    REFUSED(ROW("a", "b", "9223372036854775807"), PB_ERR_FORMAT, "label 9223372036854775807");
    REFUSED(ROW("a", "b", "92233720368547758070"), PB_ERR_FORMAT, "invalid JSON");
}

static void broken_json_names_line_and_byte(void **state)
{
    (void)state;
    REFUSED(ROW("a", "b", "0") "{\"s\":\"a\",\n", PB_ERR_FORMAT, "train.jsonl:2: invalid JSON");
    REFUSED("[1]\n", PB_ERR_FORMAT, "train.jsonl:1: the line is not a JSON object");
    REFUSED("7\n", PB_ERR_FORMAT, "the line is not a JSON object");
    REFUSED("{\"s\":\"a\"} {\"s\":\"b\"}\n", PB_ERR_FORMAT, "invalid JSON");
    REFUSED("{\"s\":\"a\",\"s\":\"c\",\"t\":\"b\",\"label\":0}", PB_ERR_FORMAT, "duplicate");
    REFUSED("{\"s\":\"a\",\"t\":\"b\",\"label\":NaN}", PB_ERR_FORMAT, "invalid JSON");
}

static void broken_text_is_refused(void **state)
{
    static const char nul[] = "{\"s\":\"a\0c\",\"t\":\"b\",\"label\":0}\n";

    (void)state;
    REFUSED(ROW("\xff", "b", "0"), PB_ERR_FORMAT, "byte 7 of the line is not UTF-8 (0xff)");
    REFUSED(ROW("\xed\xa0\x80", "b", "0"), PB_ERR_FORMAT, "not UTF-8");
    REFUSED(ROW("\xc0\x80", "b", "0"), PB_ERR_FORMAT, "not UTF-8");
    REFUSED(ROW("\xe2\x82", "b", "0"), PB_ERR_FORMAT, "not UTF-8");
    REFUSED(ROW("\\ud800", "b", "0"), PB_ERR_FORMAT, "invalid JSON");
    REFUSED(ROW("\\udc00x", "b", "0"), PB_ERR_FORMAT, "invalid JSON");
    REFUSED(ROW("a\\u0000c", "b", "0"), PB_ERR_FORMAT, "invalid JSON");
    assert_refused(nul, sizeof nul - 1, PB_ERR_FORMAT, "byte 8 of the line is NUL");
}

static char *repeated(const char *front, char c, size_t count, const char *back)
{
    size_t head = strlen(front);
    char *text  = malloc(head + count + strlen(back) + 1);

    assert_non_null(text);
    strcpy(text, front);
    memset(text + head, c, count);
    strcpy(text + head + count, back);
    return text;
}

static void long_lines_are_read_and_absurd_ones_refused(void **state)
{
    size_t ten   = 10u << 20;
    char *text   = repeated("{\"s\":\"", 'x', ten, "\",\"t\":\"b\",\"label\":0}\n");
    char *absurd = repeated("{\"s\":\"", 'x', 65u << 20, "\",\"t\":\"b\",\"label\":0}\n");
    test_samples splits[PB_SPLIT_COUNT];

    (void)state;
    assert_ok(read_bytes(text, strlen(text), NULL, splits));
    assert_int_equal(strlen(splits[PB_SPLIT_TRAIN].items[0].user), ten + 4);
    fixture_clear(splits);
    REFUSED(absurd, PB_ERR_FORMAT, "more than the 67108864 allowed");
    free(text);
    free(absurd);
}

static void deep_json_is_refused_and_does_not_overflow_the_stack(void **state)
{
    char *text = repeated("{\"s\":", '[', 200000, "");

    (void)state;
    REFUSED(text, PB_ERR_FORMAT, "maximum parsing depth reached");
    free(text);
}

static void files_without_rows_are_refused(void **state)
{
    test_samples splits[PB_SPLIT_COUNT];

    (void)state;
    REFUSED("", PB_ERR_FORMAT, "is empty");
    REFUSED("\n\n  \n", PB_ERR_FORMAT, "none of its 0 rows can be used");
    fixture_write("test.jsonl", good_row, sizeof good_row - 1);
    assert_int_equal(remove(fixture_path("train.jsonl")), 0);
    assert_error(fixture_samples(fixture_options, PB_PROTOCOL_CORRECTED, NULL, splits),
                 PB_ERR_NOT_FOUND, "train.jsonl");
    assert_null(splits[PB_SPLIT_TRAIN].items);
}

static void a_directory_is_refused(void **state)
{
    pb_dataset *ds       = NULL;
    pb_config *config    = NULL;
    pb_data_options data = {0};
    test_samples samples;

    (void)state;
    assert_ok(pb_config_parse("dataset = { name = \"d\"; train_file = \"/tmp\"; answer = \"\"; };",
                              "d.cfg", &config));
    assert_ok(pb_dataset_open(config, "dataset", PB_PROTOCOL_CORRECTED, &data, &ds));
    assert_error(test_samples_read(ds, PB_SPLIT_TRAIN, 1, &samples), PB_ERR_IO,
                 "/tmp is a directory");
    assert_error(test_samples_read(ds, PB_SPLIT_TEST, 1, &samples), PB_ERR_CONFIG,
                 "d.cfg:1: dataset.test_file is empty; builder template needs a file of rows");
    pb_dataset_close(ds);
    pb_config_close(config);
}

static void a_share_of_bad_rows_is_left_out_and_counted_by_kind(void **state)
{
    const char *text = ROW("a", "b", "0") "{\n" ROW("c", "d", "1") "{\"s\":1}\n" ROW("e", "f", "3")
        ROW("g", "h", "-1") "\xff\n" ROW("i", "j", "0");
    pb_data_options data = {.max_bad_share = 0.5};
    test_samples splits[PB_SPLIT_COUNT];

    (void)state;
    assert_ok(read_bytes(text, strlen(text), &data, splits));
    assert_int_equal(splits[PB_SPLIT_TRAIN].count, 4);
    pb_row_counts counts = splits[PB_SPLIT_TRAIN].counts;
    assert_int_equal(counts.rows, 8);
    assert_int_equal(counts.bad, 4);
    assert_int_equal(counts.faults[PB_ROW_UNREADABLE], 2);
    assert_int_equal(counts.first[PB_ROW_UNREADABLE], 2);
    assert_int_equal(counts.faults[PB_ROW_COLUMN], 1);
    assert_int_equal(counts.first[PB_ROW_COLUMN], 4);
    assert_int_equal(counts.faults[PB_ROW_LABEL], 1);
    assert_int_equal(counts.first[PB_ROW_LABEL], 5);
    assert_int_equal(counts.faults[PB_ROW_EMPTY] + counts.faults[PB_ROW_DUPLICATE], 0);
    assert_int_equal(counts.unlabelled, 1);
    pb_example last = splits[PB_SPLIT_TRAIN].items[3];
    assert_string_equal(last.user, "Q\ni\nj");
    assert_int_equal(last.row, 7);
    assert_int_equal(last.line, 8);
    fixture_clear(splits);

    data.max_bad_share = 0.49;
    assert_error(read_bytes(text, strlen(text), &data, splits), PB_ERR_FORMAT,
                 "; this is the first of 4 bad rows of 8 (2 unreadable, first in line 2; 1 with a "
                 "wrong column, first in line 4; 1 with a wrong label, first in line 5), "
                 "data.max_bad_share allows a share of 0.49");
    assert_null(splits[PB_SPLIT_TRAIN].items);
}

static void empty_texts_are_bad_rows_that_the_paper_keeps(void **state)
{
    const char *text = ROW("a", "b", "0") ROW("", "b", "1") ROW("c", "", "1") ROW("", "", "0");
    test_samples splits[PB_SPLIT_COUNT];

    (void)state;
    REFUSED(text, PB_ERR_FORMAT,
            "train.jsonl:2: column \"s\" is empty; fill it, or declare its type with a ? "
            "(dataset.columns); this is the first of 2 bad rows of 4 (2 with an empty text, first "
            "in line 2), data.max_bad_share allows a share of 0");
    assert_ok(read_as(PB_PROTOCOL_PAPER, text, strlen(text), NULL, splits));
    assert_int_equal(splits[PB_SPLIT_TRAIN].count, 4);
    assert_int_equal(splits[PB_SPLIT_TRAIN].counts.faults[PB_ROW_EMPTY], 2);
    assert_int_equal(splits[PB_SPLIT_TRAIN].counts.bad, 0);
    fixture_clear(splits);
}

static void white_space_alone_is_an_empty_text(void **state)
{
    (void)state;
    REFUSED(ROW(" \\t\\u3000", "b", "0"), PB_ERR_FORMAT, "column \"s\" is empty");
    KEPT_BY_PAPER(ROW(" ", "b", "0"), "Q\n \nb", "yes");
}

/* As in the hub's test splits, whose labels are secret. */
static void test_rows_without_a_label_cannot_be_scored(void **state)
{
    const char *text = ROW("a", "b", "-1") ROW("c", "d", "1");
    test_samples splits[PB_SPLIT_COUNT];
    pb_data_options half = {.max_bad_share = 0.5};

    (void)state;
    fixture_write("train.jsonl", text, strlen(text));
    fixture_write("test.jsonl", text, strlen(text));
    assert_error(fixture_samples(fixture_options, PB_PROTOCOL_CORRECTED, NULL, splits),
                 PB_ERR_FORMAT, "test.jsonl:1: the row has no label");
    assert_ok(fixture_samples(fixture_options, PB_PROTOCOL_CORRECTED, &half, splits));
    assert_int_equal(splits[PB_SPLIT_TRAIN].count, 2);
    assert_int_equal(splits[PB_SPLIT_TEST].count, 1);
    assert_int_equal(splits[PB_SPLIT_TEST].counts.faults[PB_ROW_LABEL], 1);
    fixture_clear(splits);
    assert_ok(fixture_samples(fixture_options, PB_PROTOCOL_PAPER, NULL, splits));
    assert_int_equal(splits[PB_SPLIT_TEST].count, 2);
    assert_string_equal(splits[PB_SPLIT_TEST].items[0].answer, "no");
    fixture_clear(splits);
}

/* Ids are compared by value, not by text; a row without any is not compared. */
static void ids_that_come_twice_are_bad_rows_that_the_paper_keeps(void **state)
{
    const char *text =
        "{\"id\":{\"p\":1,\"q\":2},\"n\":\"x\",\"s\":\"a\"}\n{\"n\":\"x\",\"s\":\"b\"}\n"
        "{\"n\":\"x\",\"id\":{ \"q\":2, \"p\":1},\"s\":\"c\"}\n{\"s\":\"d\"}\n{\"s\":\"e\"}\n";
    const char *options =
        "id = [\"id\", \"n\"]; columns = [\"s:string\"]; lines = [\"{s}\"]; answer = \"{s}\";";
    pb_data_options allowed = {.max_bad_share = 0.2};
    test_samples splits[PB_SPLIT_COUNT];

    (void)state;
    fixture_write("train.jsonl", text, strlen(text));
    fixture_write("test.jsonl", text, strlen(text));
    assert_error(fixture_samples(options, PB_PROTOCOL_CORRECTED, NULL, splits), PB_ERR_FORMAT,
                 "train.jsonl:3: an earlier row has the id {\"p\":1,\"q\":2} \"x\" (dataset.id);");
    assert_ok(fixture_samples(options, PB_PROTOCOL_CORRECTED, &allowed, splits));
    assert_int_equal(splits[PB_SPLIT_TRAIN].count, 4);
    assert_int_equal(splits[PB_SPLIT_TRAIN].counts.faults[PB_ROW_DUPLICATE], 1);
    assert_string_equal(splits[PB_SPLIT_TRAIN].items[0].id, "{\"p\":1,\"q\":2} \"x\"");
    assert_string_equal(splits[PB_SPLIT_TRAIN].items[2].id, "3");
    fixture_clear(splits);
    assert_ok(fixture_samples(options, PB_PROTOCOL_PAPER, NULL, splits));
    assert_int_equal(splits[PB_SPLIT_TRAIN].count, 5);
    assert_int_equal(splits[PB_SPLIT_TRAIN].counts.faults[PB_ROW_DUPLICATE], 1);
    fixture_clear(splits);
}

/* Messages are stored as UTF-8: a long id is cut at a whole character. */
static void long_ids_are_cut_at_a_character(void **state)
{
    pb_string text = {0};
    test_samples splits[PB_SPLIT_COUNT];

    (void)state;
    for (int row = 0; row < 2; row++) {
        assert_ok(pb_string_puts(&text, "{\"id\":\"x"));
        for (int i = 0; i < 400; i++) {
            assert_ok(pb_string_puts(&text, "\xC3\xA9"));
        }
        assert_ok(pb_string_puts(&text, "\",\"s\":\"a\"}\n"));
    }
    fixture_write("train.jsonl", text.data, text.length);
    assert_int_not_equal(
        fixture_samples("id = [\"id\"]; columns = [\"s:string\"]; answer = \"{s}\";",
                        PB_PROTOCOL_CORRECTED, NULL, splits),
        PB_OK);
    assert_true(pb_utf8_is_valid(pb_error_message(), strlen(pb_error_message()), NULL));
    assert_non_null(strstr(pb_error_message(), "\xC3\xA9 (dataset.id); remove"));
    pb_error_clear();
    pb_string_clear(&text);
}

/* More rows than a chunk holds, good ones and bad ones, by one thread and by four. */
static void the_number_of_threads_changes_nothing(void **state)
{
    pb_string text       = {0};
    pb_data_options data = {.max_bad_share = 0.5};
    pb_dataset *ds       = NULL;
    test_samples one, four;

    (void)state;
    for (int i = 0; i < 3000; i++) {
        assert_ok(pb_string_printf(&text, "{\"s\":\"%d\",\"t\":\"b\",\"label\":%d}\n", i,
                                   i % 7 == 3 ? 9 : i % 2));
    }
    fixture_write("train.jsonl", text.data, text.length);
    assert_ok(fixture_dataset(fixture_options, PB_PROTOCOL_CORRECTED, &data, &ds));
    assert_ok(test_samples_read(ds, PB_SPLIT_TRAIN, 1, &one));
    assert_ok(test_samples_read(ds, PB_SPLIT_TRAIN, 4, &four));
    assert_int_equal(one.counts.faults[PB_ROW_LABEL], 429);
    assert_int_equal(one.count, 3000 - 429);
    assert_int_equal(four.count, one.count);
    assert_memory_equal(&four.counts, &one.counts, sizeof one.counts);
    for (int64_t i = 0; i < one.count; i++) {
        assert_string_equal(four.items[i].user, one.items[i].user);
        assert_int_equal(four.items[i].line, one.items[i].line);
    }
    test_samples_clear(&one);
    test_samples_clear(&four);
    pb_dataset_close(ds);
    pb_string_clear(&text);
}

static void unlabelled_rows_get_the_last_class_or_nothing(void **state)
{
    char options[512];
    test_samples splits[PB_SPLIT_COUNT];

    (void)state;
    ACCEPTED(ROW("a", "b", "-1"), "Q\na\nb", "no");
    (void)snprintf(options, sizeof options, "%s unlabelled = \"empty\";", fixture_options);
    assert_ok(fixture_samples(options, PB_PROTOCOL_CORRECTED, NULL, splits));
    assert_string_equal(splits[PB_SPLIT_TRAIN].items[0].answer, "");
    assert_int_equal(splits[PB_SPLIT_TRAIN].counts.unlabelled, 1);
    fixture_clear(splits);
}

static void null_answers_leave_training_and_are_empty_in_testing(void **state)
{
    const char *text    = "{\"s\":\"a\",\"t\":null}\n{\"s\":\"b\",\"t\":\"c\"}\n";
    const char *options = "columns = [\"s:string\", \"t:string?\"]; lines = [\"{s}\"]; answer = "
                          "\"{t}\";";
    test_samples splits[PB_SPLIT_COUNT];

    (void)state;
    fixture_write("train.jsonl", text, strlen(text));
    fixture_write("test.jsonl", text, strlen(text));
    assert_ok(fixture_samples(options, PB_PROTOCOL_CORRECTED, NULL, splits));
    assert_int_equal(splits[PB_SPLIT_TRAIN].count, 1);
    assert_int_equal(splits[PB_SPLIT_TRAIN].counts.no_answer, 1);
    assert_int_equal(splits[PB_SPLIT_TEST].count, 2);
    assert_string_equal(splits[PB_SPLIT_TEST].items[0].answer, "");
    assert_string_equal(splits[PB_SPLIT_TEST].items[0].user, "a");
    fixture_clear(splits);
}

/* Replaces a metric that scores nothing but "yes". */
static pb_status only_yes(const pb_dataset *ds, const char *answer)
{
    assert_string_equal(pb_dataset_get_options(ds)->name, "made-up");
    return answer != NULL && strcmp(answer, "yes") == 0
               ? PB_OK
               : PB_FAIL(PB_ERR_FORMAT, "\"%s\" is not yes", answer != NULL ? answer : "nothing");
}

static pb_status read_checked(pb_protocol protocol, double share, test_samples *out)
{
    const pb_data_options data = {.max_bad_share = share};
    pb_dataset *ds             = NULL;

    assert_ok(fixture_dataset(fixture_options, protocol, &data, &ds));
    pb_dataset_check_answers(ds, only_yes);
    *out             = (test_samples){0};
    pb_status status = test_samples_read(ds, PB_SPLIT_TRAIN, 2, out);
    pb_dataset_close(ds);
    return status;
}

static void answers_that_cannot_be_scored_are_bad_rows_that_the_paper_keeps(void **state)
{
    const char *text = ROW("a", "b", "0") ROW("c", "d", "1") ROW("e", "f", "0");
    test_samples samples;

    (void)state;
    fixture_write("train.jsonl", text, strlen(text));
    assert_error(
        read_checked(PB_PROTOCOL_CORRECTED, 0, &samples), PB_ERR_FORMAT,
        "train.jsonl:2: \"no\" is not yes; this is the first of 1 bad rows of 3 (1 with an "
        "answer that cannot be scored, first in line 2)");
    assert_ok(read_checked(PB_PROTOCOL_CORRECTED, 0.5, &samples));
    assert_int_equal(samples.count, 2);
    assert_int_equal(samples.counts.bad, 1);
    assert_int_equal(samples.counts.faults[PB_ROW_ANSWER], 1);
    test_samples_clear(&samples);
    assert_ok(read_checked(PB_PROTOCOL_PAPER, 0, &samples));
    assert_int_equal(samples.count, 3);
    test_samples_clear(&samples);
}

static void limits_take_the_first_rows_and_hashes_cover_the_file(void **state)
{
    const char *text     = ROW("a", "b", "0") ROW("c", "d", "1") ROW("e", "f", "0");
    pb_data_options data = {.train_rows = 2, .test_rows = 5};
    test_samples splits[PB_SPLIT_COUNT];
    char sha[PB_HASH_TEXT];

    (void)state;
    assert_ok(read_bytes(text, strlen(text), &data, splits));
    assert_int_equal(splits[PB_SPLIT_TRAIN].count, 2);
    assert_int_equal(splits[PB_SPLIT_TEST].count, 1);
    assert_string_equal(splits[PB_SPLIT_TRAIN].items[1].user, "Q\nc\nd");
    assert_ok(pb_hash_bytes(text, strlen(text), sha));
    assert_string_equal(splits[PB_SPLIT_TRAIN].sha, sha);
    assert_int_equal(splits[PB_SPLIT_TRAIN].counts.bytes, strlen(text));
    fixture_clear(splits);
}

/* Every failed allocation is an error, and nothing is left behind. */
static void memory_that_cannot_be_had_is_an_error(void **state)
{
    int failures = 0;

    (void)state;
    fixture_write("train.jsonl", good_row, sizeof good_row - 1);
    for (size_t limit = 64; limit < 400000; limit += 900) {
        pb_config *config    = NULL;
        pb_dataset *ds       = NULL;
        test_samples samples = {0};
        char text[1024];
        (void)snprintf(text, sizeof text,
                       "dataset = { name = \"m\"; train_file = \"%s\"; test_file = \"%s\"; %s };",
                       fixture_path("train.jsonl"), fixture_path("train.jsonl"), fixture_options);
        assert_ok(pb_config_parse(text, "m.cfg", &config));
        pb_data_options data = {.peftbench_info = ""};
        size_t before        = pb_memory_current();
        pb_memory_limit(before + limit);
        pb_status status = pb_dataset_open(config, "dataset", PB_PROTOCOL_CORRECTED, &data, &ds);
        if (status == PB_OK) {
            status = test_samples_read(ds, PB_SPLIT_TRAIN, 2, &samples);
        }
        pb_memory_limit(0);
        test_samples_clear(&samples);
        pb_dataset_close(ds);
        if (status != PB_OK) {
            assert_int_equal(status, PB_ERR_MEMORY);
            assert_int_equal(pb_memory_current(), before);
            failures++;
        }
        pb_config_close(config);
    }
    assert_in_range(failures, 10, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message_joins_what_is_not_empty_with_one_line_feed),
        cmocka_unit_test(line_ends_bom_blank_lines_and_further_columns_are_accepted),
        cmocka_unit_test(missing_column_names_line_column_and_the_rows_own),
        cmocka_unit_test(wrong_type_names_what_is_there_and_what_is_declared),
        cmocka_unit_test(label_outside_the_set_is_refused),
        cmocka_unit_test(broken_json_names_line_and_byte),
        cmocka_unit_test(broken_text_is_refused),
        cmocka_unit_test(long_lines_are_read_and_absurd_ones_refused),
        cmocka_unit_test(deep_json_is_refused_and_does_not_overflow_the_stack),
        cmocka_unit_test(files_without_rows_are_refused),
        cmocka_unit_test(a_directory_is_refused),
        cmocka_unit_test(a_share_of_bad_rows_is_left_out_and_counted_by_kind),
        cmocka_unit_test(empty_texts_are_bad_rows_that_the_paper_keeps),
        cmocka_unit_test(white_space_alone_is_an_empty_text),
        cmocka_unit_test(test_rows_without_a_label_cannot_be_scored),
        cmocka_unit_test(ids_that_come_twice_are_bad_rows_that_the_paper_keeps),
        cmocka_unit_test(long_ids_are_cut_at_a_character),
        cmocka_unit_test(the_number_of_threads_changes_nothing),
        cmocka_unit_test(unlabelled_rows_get_the_last_class_or_nothing),
        cmocka_unit_test(null_answers_leave_training_and_are_empty_in_testing),
        cmocka_unit_test(answers_that_cannot_be_scored_are_bad_rows_that_the_paper_keeps),
        cmocka_unit_test(limits_take_the_first_rows_and_hashes_cover_the_file),
        cmocka_unit_test(memory_that_cannot_be_had_is_an_error),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
