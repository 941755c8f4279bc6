// SPDX-License-Identifier: Apache-2.0
/* From the file's columns to the declared ones: other names, files without a header line, the texts
 * of CSV and TSV as numbers, labels and lists; and the forms of a label in JSON. */
#include "fixture.h"

#include "pb/memory.h"

#include <stdio.h>
#include <string.h>

/* Both files have these bytes. */
static pb_status read_text(const char *options, const char *bytes, test_samples *splits)
{
    fixture_write("train.jsonl", bytes, strlen(bytes));
    fixture_write("test.jsonl", bytes, strlen(bytes));
    return fixture_samples(options, PB_PROTOCOL_CORRECTED, NULL, splits);
}

static void assert_row(const char *options, const char *bytes, const char *user, const char *answer)
{
    test_samples splits[PB_SPLIT_COUNT];

    assert_ok(read_text(options, bytes, splits));
    assert_string_equal(splits[PB_SPLIT_TRAIN].items[0].user, user);
    assert_string_equal(splits[PB_SPLIT_TRAIN].items[0].answer, answer);
    fixture_clear(splits);
}

static void assert_refused(const char *options, const char *bytes, pb_status status,
                           const char *part)
{
    test_samples splits[PB_SPLIT_COUNT];

    assert_error(read_text(options, bytes, splits), status, part);
    assert_null(splits[PB_SPLIT_TRAIN].items);
}

#define YES_NO "labels = [\"yes\", \"no\"]; lines = [\"{s}\"];"
#define CSV    "format = \"csv\"; columns = [\"s:string\", \"label:label\"];" YES_NO

static void columns_may_have_other_names_in_the_file(void **state)
{
    const char *csv  = "format = \"csv\"; columns = [\"s=Sentence 1:string\", "
                       "\"label=gold_label:label\"];" YES_NO;
    const char *json = "columns = [\"s=data.text:string\", \"label=a=b:label\"];" YES_NO;

    (void)state;
    assert_row(csv, "id,gold_label,Sentence 1\n7,1,a b\n", "a b", "no");
    assert_row(json, "{\"data\":{\"text\":\"a\"},\"a=b\":0}", "a", "yes");
    assert_refused(csv, "id,label,s\n7,1,a\n", PB_ERR_FORMAT,
                   "train.jsonl:2: column \"Sentence 1\" is missing (the row has: id, label, s)");
    assert_refused("columns = [\"=s:string\"];", "{}", PB_ERR_CONFIG, "or \"name=source:type\"");
    assert_refused("columns = [\"s=:string\"];", "{}", PB_ERR_CONFIG, "or \"name=source:type\"");
}

/* The form of GLUE's CoLA: no header line, quotes are plain. */
static void header_names_the_columns_of_files_that_do_not(void **state)
{
    const char *cola =
        "format = \"tsv\"; header = [\"source\", \"label\", \"star\", \"sentence\"]; "
        "columns = [\"s=sentence:string\", \"label:label\"];" YES_NO;

    (void)state;
    assert_row(cola, "gj04\t1\t\t\"Made up\n", "\"Made up", "no");
    assert_refused(cola, "gj04\t1\t\n", PB_ERR_FORMAT,
                   "train.jsonl:1: the row has 3 fields where there are 4 columns");
    assert_refused("\n header = [\"s\"]; columns = [\"s:string\"]; answer = \"{s}\";", "{\"s\":1}",
                   PB_ERR_CONFIG, "made-up.cfg:2: dataset.header is for CSV and TSV files");
    assert_refused(CSV "header = [\"s\", \"s\"];", "a,b\n", PB_ERR_CONFIG,
                   "dataset.header: there are two columns \"s\"");
    assert_refused(CSV "header = [\"s\", \"\"];", "a,b\n", PB_ERR_CONFIG,
                   "dataset.header: the name of column 2 is empty");
    assert_refused("format = \"cvs\";", "a,b\n", PB_ERR_CONFIG, "tsv-quoted");
}

static void numbers_and_lists_are_written_as_in_json(void **state)
{
    const char *options = "format = \"tsv\"; columns = [\"i:int\", \"f:float32\", \"l:strings\"]; "
                          "lines = [\"{i} {f} {l[1]}\"]; answer = \"{f}\";";

    (void)state;
    assert_row(options, "i\tf\tl\n-7\t2.5\t[\"a\", \"b\"]\n", "-7 2.5 b", "2.5");
    assert_row(options, "i\tf\tl\n 7 \t2\t[\"a\",\"b\"]\n", "7 2.0 b", "2.0");
    assert_refused(options, "i\tf\tl\n7.0\t2\t[]\n", PB_ERR_FORMAT,
                   "train.jsonl:2: column \"i\" holds \"7.0\" where int is declared");
    assert_refused(options, "i\tf\tl\n\t2\t[]\n", PB_ERR_FORMAT,
                   "column \"i\" holds \"\" where int");
    assert_refused(options, "i\tf\tl\n9223372036854775808\t2\t[]\n", PB_ERR_FORMAT, "where int");
    assert_refused(options, "i\tf\tl\n7\tnan\t[]\n", PB_ERR_FORMAT, "\"nan\" where float32");
    assert_refused(options, "i\tf\tl\n7\t1e999\t[]\n", PB_ERR_FORMAT, "where float32");
    assert_refused(options, "i\tf\tl\n7\t1,5\t[]\n", PB_ERR_FORMAT, "\"1,5\" where float32");
    assert_refused(options, "i\tf\tl\n7\t2\ta b\n", PB_ERR_FORMAT,
                   "\"a b\" where strings (a JSON list of strings)");
    assert_refused(options, "i\tf\tl\n7\t2\t['a', 'b']\n", PB_ERR_FORMAT, "where strings");
    assert_refused(options, "i\tf\tl\n7\t2\t[1,2]\n", PB_ERR_FORMAT,
                   "holds an array where strings");
}

static void empty_cells_are_null_where_that_is_allowed(void **state)
{
    const char *options = "format = \"csv\"; columns = [\"s:string?\", \"n:int?\"]; "
                          "lines = [\"{s}\", \"x{n}\"]; answer = \"a\";";

    (void)state;
    assert_row(options, "s,n\n\"\",\n", "x", "a");
    assert_row(options, "s,n\nb,0\n", "b\nx0", "a");
}

static void labels_of_a_text_file_are_indices_or_names(void **state)
{
    test_samples splits[PB_SPLIT_COUNT];

    (void)state;
    assert_row(CSV, "s,label\na,1\n", "a", "no");
    assert_row(CSV, "s,label\na,no\n", "a", "no");
    assert_refused(
        CSV, "s,label\na,No\n", PB_ERR_FORMAT,
        "train.jsonl:2: column \"label\": \"No\" is not a label: it is neither an index nor a "
        "class name");
    assert_refused(CSV, "s,label\na,1.0\n", PB_ERR_FORMAT, "\"1.0\" is not a label");
    assert_refused(CSV, "s,label\na,true\n", PB_ERR_FORMAT, "\"true\" is not a label");
    assert_refused(CSV, "s,label\na,2\n", PB_ERR_FORMAT, "label 2 is outside 0 … 1");
    for (int i = 0; i < 2; i++) {
        const char *bytes = i == 0 ? "s,label\na,\n" : "s,label\na,-1\n";
        fixture_write("train.jsonl", bytes, strlen(bytes));
        fixture_write("test.jsonl", bytes, strlen(bytes));
        assert_ok(fixture_samples(CSV, PB_PROTOCOL_PAPER, NULL, splits));
        assert_int_equal(splits[PB_SPLIT_TRAIN].counts.unlabelled, 1);
        fixture_clear(splits);
    }
}

static void label_values_come_before_names_and_indices(void **state)
{
    const char *values = CSV "label_values = [\"1\", \"2\"];";
    const char *digits = "format = \"csv\"; columns = [\"s:string\", \"label:label\"]; labels = "
                         "[\"1\", \"2\"]; lines = [\"{s}\"];";

    (void)state;
    assert_row(values, "s,label\na,1\n", "a", "yes");
    assert_row(values, "s,label\na,2\n", "a", "no");
    assert_refused(values, "s,label\na,0\n", PB_ERR_FORMAT, "0 is not a label");
    assert_refused(values, "s,label\na,yes\n", PB_ERR_FORMAT, "not in dataset.label_values");
    assert_refused(digits, "s,label\na,1\n", PB_ERR_FORMAT,
                   "label 1 is an index and the name of another class");
    assert_row(digits, "s,label\na,0\n", "a", "1");
}

static void true_and_false_are_labels_where_classes_are_called_so(void **state)
{
    const char *truth  = "columns = [\"s:string\", \"label:label\"]; labels = [\"false\", "
                         "\"true\"]; lines = [\"{s}\"];";
    const char *text   = "format = \"csv\"; columns = [\"s:string\", \"label:label\"]; labels = "
                         "[\"false\", \"true\"]; lines = [\"{s}\"];";
    const char *other  = "columns = [\"s:string\", \"label:label\"];" YES_NO;
    const char *values = "columns = [\"s:string\", \"label:label\"]; label_values = [\"true\", "
                         "\"false\"];" YES_NO;

    (void)state;
    assert_row(truth, "{\"s\":\"a\",\"label\":true}", "a", "true");
    assert_row(truth, "{\"s\":\"a\",\"label\":false}", "a", "false");
    assert_row(text, "s,label\na,True\n", "a", "true");
    assert_row(values, "{\"s\":\"a\",\"label\":true}", "a", "yes");
    assert_refused(other, "{\"s\":\"a\",\"label\":true}", PB_ERR_FORMAT,
                   "list true and false as texts of the classes (dataset.label_values)");
}

static void json_stays_strict(void **state)
{
    const char *label  = "columns = [\"s:string\", \"label:label\"];" YES_NO;
    const char *number = "columns = [\"i:int\"]; answer = \"{i}\";";

    (void)state;
    assert_refused(label, "{\"s\":\"a\",\"label\":1.0}", PB_ERR_FORMAT, ": a label is an integer");
    assert_refused(label, "{\"s\":\"a\",\"label\":\"1\"}", PB_ERR_FORMAT,
                   "holds a string where label is declared (dataset.columns); correct the row, or "
                   "list the texts of the classes (dataset.label_values)");
    assert_refused(label, "{\"s\":\"a\",\"label\":null}", PB_ERR_FORMAT,
                   "or declare the type with a ?");
    assert_refused(label, "{\"s\":\"a\",\"label\":99999999999}", PB_ERR_FORMAT,
                   "label 99999999999 is outside 0 … 1");
    assert_refused(number, "{\"i\":\"1\"}", PB_ERR_FORMAT,
                   "correct the row: numbers have no quotes");
    assert_refused(number, "{\"i\":1.0}", PB_ERR_FORMAT, "or declare float32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_may_have_other_names_in_the_file),
        cmocka_unit_test(header_names_the_columns_of_files_that_do_not),
        cmocka_unit_test(numbers_and_lists_are_written_as_in_json),
        cmocka_unit_test(empty_cells_are_null_where_that_is_allowed),
        cmocka_unit_test(labels_of_a_text_file_are_indices_or_names),
        cmocka_unit_test(label_values_come_before_names_and_indices),
        cmocka_unit_test(true_and_false_are_labels_where_classes_are_called_so),
        cmocka_unit_test(json_stays_strict),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
