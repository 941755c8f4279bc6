// SPDX-License-Identifier: Apache-2.0
/* The description of a data set: every invalid key has its message; instructions under both
 * protocols. */
#include "fixture.h"

#include "pb/hash.h"
#include "pb/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_good_rows(void)
{
    static const char rows[] = ROW("a", "b", "0") ROW("c", "d", "1");
    fixture_write("train.jsonl", rows, sizeof rows - 1);
    fixture_write("test.jsonl", rows, sizeof rows - 1);
}

static void assert_bad(const char *options, const char *part)
{
    pb_dataset *ds = NULL;

    write_good_rows();
    assert_error(fixture_dataset(options, PB_PROTOCOL_CORRECTED, NULL, &ds), PB_ERR_CONFIG, part);
    assert_null(ds);
}

#define COLUMNS \
    "columns = [\"s:string\", \"t:string\", \"label:label\"]; labels = [\"yes\", \"no\"];"

static void keys_that_do_not_fit_are_named(void **state)
{
    (void)state;
    assert_bad("builder = \"templat\";", "did you mean \"template\"?");
    assert_bad("task = \"guess\";", "unknown task \"guess\"; known: label, number, text, code");
    assert_bad("columns = [\"s\"];", "\"s\" is not \"name:type\"");
    assert_bad("columns = [\":string\"];", "is not \"name:type\"");
    assert_bad("columns = [\"s:strin\"];", "type strin is not one of");
    assert_bad("columns = [\"label:label\"];", "dataset.labels is empty");
    assert_bad(COLUMNS "lines = [\"{sentence}\"];", "column \"sentence\" is not in");
    assert_bad(COLUMNS "lines = [\"{labl}\"];", "did you mean \"label\"?");
    assert_bad(COLUMNS "lines = [\"{s\"];", "a { without its }");
    assert_bad(COLUMNS "lines = [\"s}\"];", "a } without its {");
    assert_bad(COLUMNS "lines = [\"{s[0]}\"];", "leave the [number] out");
    assert_bad(COLUMNS "lines = [\"{s[x]}\"];", "does not end in [number]");
    assert_bad("columns = [\"s:strings\"]; lines = [\"{s}\"];", "write {column[number]}");
    assert_bad(COLUMNS "answer = \"{answer}\";", "dataset.answer: column \"answer\"");
    assert_bad(COLUMNS "label_values = [\"1\"];", "1 entries for 2 labels");
    assert_bad(COLUMNS "lables = [\"a\"];", "made-up.cfg:1");
    assert_bad("builder = \"synthetic\";", "needs classes");
    /* Each at its own line. */
    assert_bad("\n task = \"guess\";", "made-up.cfg:2: unknown task");
    assert_bad("\n builder = \"templat\";",
               "made-up.cfg:2: unknown builder \"templat\"; did you mean \"template\"?");
    assert_bad("columns = [\"s:string\",\n \"t\"];", "made-up.cfg:2: dataset.columns");
    assert_bad("\n columns = [\"label:label\"];", "made-up.cfg:2: dataset.columns: \"label\"");
    assert_bad(COLUMNS "\n label_values = [\"1\"];", "made-up.cfg:2: dataset.label_values");
    assert_bad(COLUMNS "\n lines = [\"{s}\",\n \"{u}\"];", "made-up.cfg:3: dataset.lines");
    assert_bad(COLUMNS "\n lines = \"{u}\";", "made-up.cfg:2: dataset.lines");
    assert_bad(COLUMNS "\n answer = \"{u}\";", "made-up.cfg:2: dataset.answer");
}

static void assert_user(const char *options, const char *row, const char *user, const char *answer)
{
    test_samples splits[PB_SPLIT_COUNT];

    fixture_write("train.jsonl", row, strlen(row));
    fixture_write("test.jsonl", row, strlen(row));
    assert_ok(fixture_samples(options, PB_PROTOCOL_CORRECTED, NULL, splits));
    assert_string_equal(splits[PB_SPLIT_TEST].items[0].user, user);
    assert_string_equal(splits[PB_SPLIT_TEST].items[0].answer, answer);
    fixture_clear(splits);
}

static void patterns_reach_lists_objects_numbers_and_alternatives(void **state)
{
    (void)state;
    assert_user("columns = [\"q.x:strings\", \"n:int\", \"f:float32\", \"a:string?\", "
                "\"b:string\"]; lines = [\"{q.x[1]} {{{n}}} {f}\", \"{a|b}\"]; answer = \"{b}\";",
                "{\"q\":{\"x\":[\"u\",\"v\"]},\"n\":-3,\"f\":3.7999999523,\"a\":null,\"b\":\"c\"}",
                "v {-3} 3.8\nc", "c");
    assert_user("columns = [\"a:string\", \"b:string\", \"a.b:string\"]; lines = [\"{a|b}\"]; "
                "answer = \"{a.b}\";",
                "{\"a\":\"x\",\"b\":\"y\",\"a.b\":\"z\"}", "x", "z");
    assert_user("columns = [\"label:label\"]; labels = [\"A\", \"B\"]; label_values = [\"1\", "
                "\"2\"];",
                "{\"label\":\"2\"}", "", "B");
    assert_user("columns = [\"label:label\"]; labels = [\"A\", \"B\"]; label_values = [\"1\", "
                "\"2\"];",
                "{\"label\":1}", "", "A");
}

static void a_list_that_is_too_short_is_a_bad_row(void **state)
{
    const char *row = "{\"x\":[\"u\"]}\n";
    test_samples splits[PB_SPLIT_COUNT];

    (void)state;
    fixture_write("train.jsonl", row, strlen(row));
    assert_error(fixture_samples("columns = [\"x:strings\"]; lines = [\"{x[1]}\"]; answer = \"\";",
                                 PB_PROTOCOL_CORRECTED, NULL, splits),
                 PB_ERR_FORMAT, "train.jsonl:1: column \"x\" has 1 entries, entry 1 (from 0)");
}

static void write_info(const char *text)
{
    fixture_write("info.json", text, strlen(text));
    (void)setenv("PB_PEFTBENCH_INFO", fixture_path("info.json"), 1);
}

static pb_status open_paper(const char *sha, const char *keys, pb_dataset **out)
{
    char options[1024];

    write_good_rows();
    (void)snprintf(options, sizeof options,
                   "%s instruction_sha = \"%s\"; labels = [\"yes\", \"no\"]; paper_labels = "
                   "[\"Yes\", \"No\"]; %s",
                   "columns = [\"s:string\", \"label:label\"]; instruction = \"Ours\"; lines = "
                   "[\"{s}\"]; paper_lines = [\"S: {s}\"];",
                   sha, keys);
    return fixture_dataset(options, PB_PROTOCOL_PAPER, NULL, out);
}

static void assert_first(const pb_dataset *ds, pb_split split, const char *user, const char *answer)
{
    test_samples samples;

    assert_ok(test_samples_read(ds, split, 1, &samples));
    assert_string_equal(samples.items[0].user, user);
    assert_string_equal(samples.items[0].answer, answer);
    test_samples_clear(&samples);
}

static void paper_takes_the_originals_text_when_its_id_matches(void **state)
{
    char sha[PB_HASH_TEXT], test_key[256], test_sha[PB_HASH_TEXT];
    pb_dataset *ds = NULL;

    (void)state;
    assert_ok(pb_hash_bytes("Theirs", 6, sha));
    assert_ok(pb_hash_bytes("Tested", 6, test_sha));
    write_info("{\"made-up\":{\"instruction\":\"Theirs\"},\"made-up_eval\":{\"instruction\":"
               "\"Theirs\"},\"other\":{\"instruction\":\"Tested\"},\"none\":{}}");
    assert_ok(open_paper(sha, "", &ds));
    assert_first(ds, PB_SPLIT_TRAIN, "Theirs\nS: a", "Yes");
    assert_string_equal(pb_dataset_labels(ds)->items[1], "No");
    assert_int_equal(pb_dataset_max_new_tokens(ds), 1024);
    pb_dataset_close(ds);

    sha[10] = '\0';
    (void)snprintf(test_key, sizeof test_key,
                   "instruction_test_sha = \"%s\"; paper_test_key = \"other\";", test_sha);
    assert_ok(open_paper(sha, test_key, &ds));
    assert_first(ds, PB_SPLIT_TEST, "Tested\nS: a", "Yes");
    pb_dataset_close(ds);

    ds = NULL;
    assert_error(open_paper("0123456789", "", &ds), PB_ERR_CONFIG,
                 "\"made-up\" of dataset_info.json has the SHA-256");
    assert_error(open_paper("012345678", "", &ds), PB_ERR_CONFIG, "has not 10 … 64 digits");
    assert_error(open_paper(sha, "paper_key = \"absent\";", &ds), PB_ERR_FORMAT,
                 "no entry \"absent\"");
    write_info("{");
    assert_error(open_paper(sha, "", &ds), PB_ERR_FORMAT, "invalid JSON");
    (void)unsetenv("PB_PEFTBENCH_INFO");
    assert_error(open_paper(sha, "", &ds), PB_ERR_CONFIG, "PB_PEFTBENCH_INFO");
    assert_null(ds);
}

static void sets_without_an_original_keep_our_text_under_paper(void **state)
{
    pb_dataset *ds = NULL;

    (void)state;
    assert_ok(open_paper("", "max_new_tokens = 5;", &ds));
    assert_first(ds, PB_SPLIT_TRAIN, "Ours\nS: a", "Yes");
    assert_int_equal(pb_dataset_max_new_tokens(ds), 5);
    pb_dataset_close(ds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_that_do_not_fit_are_named),
        cmocka_unit_test(patterns_reach_lists_objects_numbers_and_alternatives),
        cmocka_unit_test(a_list_that_is_too_short_is_a_bad_row),
        cmocka_unit_test(paper_takes_the_originals_text_when_its_id_matches),
        cmocka_unit_test(sets_without_an_original_keep_our_text_under_paper),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
