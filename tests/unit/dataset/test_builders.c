// SPDX-License-Identifier: Apache-2.0
/* Rows to texts without a file: filters of patterns, lists of answers, the builders of ReCoRD and
 * WSC, synthetic sets that need no code, and malicious rows. */
#include "support.h"

#include "pb/dataset.h"
#include "pb/memory.h"

#include <jansson.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pb_row_texts texts;

static pb_status open_set(const char *options, pb_protocol protocol, pb_dataset **out)
{
    pb_data_options data = {0};
    pb_string text       = {0};
    pb_config *config    = NULL;

    assert_ok(pb_string_printf(&text, "dataset = { name = \"made-up\"; %s };", options));
    assert_ok(pb_config_parse(text.data, "made-up.cfg", &config));
    pb_status status = pb_dataset_open(config, "dataset", protocol, &data, out);
    pb_config_close(config);
    pb_string_clear(&text);
    return status;
}

static pb_status build(const char *options, pb_protocol protocol, pb_split split, json_t *row)
{
    pb_dataset *ds = NULL;

    assert_non_null(row);
    assert_ok(open_set(options, protocol, &ds));
    pb_status status = pb_dataset_build(ds, split, row, &texts);
    pb_dataset_close(ds);
    json_decref(row);
    return status;
}

static json_t *json(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, 0, &error);

    if (value == NULL) {
        fail_msg("%s: %s", text, error.text);
    }
    return value;
}

static void assert_sample(int64_t i, const char *user, const char *answer)
{
    assert_true(i < texts.count);
    assert_string_equal(texts.items[i].user.data, user);
    assert_string_equal(texts.items[i].answer.data, answer);
}

static void made_up_sets_of_known_kinds_need_no_code(void **state)
{
    static const char single[] =
        "columns = [\"sentence:string\", \"label:label\"]; labels = [\"calm\", \"angry\"]; "
        "instruction = \"Mood?\"; lines = [\"{sentence}\"];";
    static const char choice[] =
        "columns = [\"stem:string\", \"options:strings\", \"key:label\"]; labels = [\"A\", \"B\"]; "
        "label_values = [\"x\", \"y\"]; unlabelled = \"empty\"; inputs = true; instruction = "
        "\"Which?\"; lines = [\"{stem}\\nA: {options[0]}\\nB: {options[1]}\"]; answer = \"{key}\";";

    (void)state;
    assert_ok(build(single, PB_PROTOCOL_CORRECTED, PB_SPLIT_TEST,
                    json("{\"sentence\":\"Go away!\",\"label\":1}")));
    assert_sample(0, "Mood?\nGo away!", "angry");
    assert_false(texts.items[0].has_inputs);
    assert_ok(build(choice, PB_PROTOCOL_PAPER, PB_SPLIT_TEST,
                    json("{\"stem\":\"1+1\",\"options\":[\"2\",\"3\"],\"key\":\"x\"}")));
    assert_sample(0, "Which?\n1+1\nA: 2\nB: 3", "A");
    assert_true(texts.items[0].has_inputs);
    assert_string_equal(texts.items[0].user.data + texts.items[0].body, "1+1\nA: 2\nB: 3");
}

static void assert_line(const char *line, const char *row, const char *user)
{
    char options[512];

    (void)snprintf(options, sizeof options,
                   "columns = [\"s:string\", \"l:strings\", \"n:string?\"]; lines = [\"%s\"]; "
                   "answer = \"\";",
                   line);
    assert_ok(build(options, PB_PROTOCOL_CORRECTED, PB_SPLIT_TEST, json(row)));
    assert_sample(0, user, "");
}

static void filters_change_what_a_column_gives(void **state)
{
    (void)state;
    assert_line("{s:capitalize}", "{\"s\":\"aBC\",\"l\":[],\"n\":null}", "Abc");
    assert_line("{n|s:capitalize}!", "{\"s\":\"aBC\",\"l\":[],\"n\":null}", "Abc!");
    assert_line("{l[1]:capitalize}", "{\"s\":\"\",\"l\":[\"x\",\"yY\"],\"n\":null}", "Yy");
    assert_line("<{l:join}>", "{\"s\":\"\",\"l\":[\"x\",\"y, z\"],\"n\":null}", "<x, y, z>");
    assert_line("<{l:join}>", "{\"s\":\"\",\"l\":[],\"n\":null}", "<>");
    assert_line("{s}{n:paragraph}", "{\"s\":\"x\",\"l\":[],\"n\":\"y\"}", "x\n\ny");
    assert_line("{s}{n:paragraph}", "{\"s\":\"x\",\"l\":[],\"n\":\"\"}", "x");
    assert_line("{s}{n:paragraph}", "{\"s\":\"x\",\"l\":[],\"n\":null}", "x");
}

static void a_column_may_have_a_colon_in_its_name(void **state)
{
    (void)state;
    assert_ok(build("columns = [\"s:join:string\"]; lines = [\"{s:join:capitalize} {s:join}\"]; "
                    "answer = \"\";",
                    PB_PROTOCOL_CORRECTED, PB_SPLIT_TEST, json("{\"s:join\":\"xX\"}")));
    assert_sample(0, "Xx xX", "");
}

static void assert_choices(const char *options, const char *expected)
{
    pb_dataset *ds = NULL;

    assert_ok(open_set("columns = [\"s:string\"]; lines = [\"{s:choices}\"]; answer = \"\";",
                       PB_PROTOCOL_CORRECTED, &ds));
    json_t *row = json_pack("{s:s}", "s", options);
    assert_ok(pb_dataset_build(ds, PB_SPLIT_TEST, row, &texts));
    assert_sample(0, expected, "");
    json_decref(row);
    pb_dataset_close(ds);
}

static void choices_of_one_text_become_lines(void **state)
{
    static const char lines[] = "Choices:\na: 1\nb: 2 , 3\nc: x\nd: \ne: 5 ) 6";

    (void)state;
    assert_choices("a ) 1 , b ) 2 , 3 , c ) x , d )  , e ) 5 ) 6", lines);
    assert_choices("a ) 1\xc2\xa0 , b ) 2 , 3 , c )  x , d )  , e ) 5 ) 6 ", lines);
    assert_choices("['a ) 1', 'b ) 2 , 3', 'c ) x', 'd ) ', 'e ) 5 ) 6']", lines);
    /* Neither form. */
    assert_choices("", "Options: ");
    assert_choices("a ) 1", "Options: a ) 1");
    assert_choices("a ) 1 , c ) 2 , b ) 3 , d ) 4 , e ) 5",
                   "Options: a ) 1 , c ) 2 , b ) 3 , d ) 4 , e ) 5");
    assert_choices("['a ) 1', \"b ) 2\", 'c ) x', 'd ) ', 'e ) 5']",
                   "Options: ['a ) 1', \"b ) 2\", 'c ) x', 'd ) ', 'e ) 5']");
    assert_choices("[' a ) 1', 'b ) 2', 'c ) x', 'd ) ', 'e ) 5']",
                   "Options: [' a ) 1', 'b ) 2', 'c ) x', 'd ) ', 'e ) 5']");
    assert_choices("['a ) ']", "Options: ['a ) ']");
    assert_choices("['a )']", "Options: ['a )']");
}

static void assert_config(const char *options, const char *why)
{
    pb_dataset *ds = NULL;

    assert_error(open_set(options, PB_PROTOCOL_CORRECTED, &ds), PB_ERR_CONFIG, why);
    assert_null(ds);
}

static void filters_and_columns_that_do_not_fit_are_errors_of_the_configuration(void **state)
{
#define LISTS "columns = [\"s:string\", \"l:strings\", \"t:strings_text?\"]; answer = \"\"; "
    (void)state;
    assert_config(LISTS "\n lines = [\"{s:upper}\"];",
                  "made-up.cfg:2: dataset.lines: {s:upper}: unknown filter \"upper\"");
    assert_config(LISTS "lines = [\"{s:join}\"];", "filter join is for one list as a whole");
    assert_config(LISTS "lines = [\"{l[0]:join}\"];", "filter join is for one list as a whole");
    assert_config(LISTS "lines = [\"{l|l:join}\"];", "filter join is for one list as a whole");
    assert_config(LISTS "lines = [\"{l:capitalize}\"];", "a list: write {column[number]}");
    assert_config(LISTS "lines = [\"{:join}\"];", "column \"\" is not in");
    assert_config(LISTS "\n answers = \"s\";",
                  "made-up.cfg:2: dataset.answers needs \"s:strings\" or the type strings_text");
    assert_config(LISTS "answers = \"t\";", "dataset.answers needs \"t:strings\"");
    assert_config(LISTS "answers = \"x\";", "dataset.answers needs \"x:strings\"");
    assert_config("builder = \"record\";\n columns = [\"passage:string\"]; answer = \"\";",
                  "made-up.cfg:2: builder record needs \"entities:strings\"");
    assert_config("builder = \"record\"; columns = [\"passage:string?\"]; answer = \"\";",
                  "builder record needs \"passage:string\"");
    assert_config("builder = \"wsc\"; columns = [\"text:string\", \"span1_text:string\", "
                  "\"span2_text:string\", \"span1_index:string\"]; answer = \"\";",
                  "builder wsc needs \"span1_index:int\"");
#undef LISTS
}

#define ANSWERS                                                                         \
    "columns = [\"s:string\", \"l:strings\"]; instruction = \"Q\"; lines = [\"{s}\"]; " \
    "inputs = true; answers = \"l\"; no_answers = \"none\";"
#define ANSWERS_TEXT \
    "columns = [\"s:string\", \"l:strings_text\"]; lines = [\"{s}\"]; answers = \"l\";"

static void several_answers_are_samples_or_references(void **state)
{
    static const char row[] = "{\"s\":\"x\",\"l\":[\"a\",\"b\",\"c\"]}";

    (void)state;
    for (int p = 0; p < 3; p++) {
        pb_protocol protocol = p == 0 ? PB_PROTOCOL_CORRECTED : PB_PROTOCOL_PAPER;
        assert_ok(build(ANSWERS, protocol, p == 2 ? PB_SPLIT_TEST : PB_SPLIT_TRAIN, json(row)));
        assert_int_equal(texts.count, 3);
        assert_sample(0, "Q\nx", "a");
        assert_sample(1, "Q\nx", "b");
        assert_sample(2, "Q\nx", "c");
        for (int64_t i = 0; i < 3; i++) {
            assert_int_equal(texts.items[i].body, 2);
            assert_true(texts.items[i].has_inputs && texts.items[i].has_answer);
            assert_false(texts.items[i].unlabelled);
            assert_int_equal(texts.items[i].reference_count, 0);
        }
    }
    assert_ok(build(ANSWERS, PB_PROTOCOL_CORRECTED, PB_SPLIT_TEST, json(row)));
    assert_int_equal(texts.count, 1);
    assert_sample(0, "Q\nx", "a");
    assert_int_equal(texts.items[0].reference_count, 2);
    assert_memory_equal(texts.items[0].references.data, "b\0c", 4);
    assert_ok(build(ANSWERS, PB_PROTOCOL_PAPER, PB_SPLIT_TRAIN, json("{\"s\":\"x\",\"l\":[]}")));
    assert_int_equal(texts.count, 1);
    assert_sample(0, "Q\nx", "none");
    assert_true(texts.items[0].unlabelled && texts.items[0].has_answer);
}

static pb_status build_text_list(const char *list)
{
    return build(ANSWERS_TEXT, PB_PROTOCOL_PAPER, PB_SPLIT_TEST,
                 json_pack("{s:s,s:s}", "s", "x", "l", list));
}

static void lists_in_a_text_are_read_as_json(void **state)
{
    (void)state;
    assert_ok(build_text_list("[\"a\\n\", \"\\ud83d\\ude00\"]"));
    assert_int_equal(texts.count, 2);
    assert_sample(0, "x", "a\n");
    assert_sample(1, "x", "\U0001f600");
    assert_ok(build_text_list(""));
    assert_sample(0, "x", "");
    assert_true(texts.items[0].unlabelled);
    assert_ok(build_text_list("[]"));
    assert_sample(0, "x", "");
    /* Half a pair is removed, text that only looks like one stays. */
    assert_ok(build_text_list("[\"a\\ud83db\\ude00c\\ud83d\\ud83d\\ude00\\\\ud83d\"]"));
    assert_sample(0, "x", "abc\U0001f600\\ud83d");
    assert_error(build_text_list("no JSON"), PB_ERR_FORMAT,
                 "column \"l\" is not a JSON list of strings: ");
    assert_error(build_text_list("[\"a\", 1]"), PB_ERR_FORMAT,
                 "column \"l\" is not a JSON list of strings;");
    assert_error(build_text_list("{\"a\": 1}"), PB_ERR_FORMAT, "not a JSON list of strings;");
    assert_error(build_text_list("\"a\""), PB_ERR_FORMAT, "not a JSON list of strings: ");
    assert_error(build_text_list("[\"a"), PB_ERR_FORMAT, "not a JSON list of strings: ");
    assert_error(build_text_list("[\"\\u0000\"]"), PB_ERR_FORMAT, "not a JSON list of strings: ");
    assert_error(build_text_list("[\"\\"), PB_ERR_FORMAT, "not a JSON list of strings: ");
    assert_error(build_text_list("[\"\\ud8"), PB_ERR_FORMAT, "not a JSON list of strings: ");
    assert_error(build_text_list("[\"\\ud800"), PB_ERR_FORMAT, "not a JSON list of strings: ");
}

static void answers_that_would_fill_the_memory_with_messages_are_refused(void **state)
{
    enum { BYTES = 1 << 20, COUNT = 1 << 10 };
    char *long_text = malloc(BYTES + 1);
    json_t *list    = json_array();

    (void)state;
    assert_non_null(long_text);
    memset(long_text, 'x', BYTES);
    long_text[BYTES] = '\0';
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(json_array_append_new(list, json_string("a")), 0);
    }
    json_t *row = json_pack("{s:s,s:o}", "s", long_text, "l", list);
    assert_error(build(ANSWERS, PB_PROTOCOL_PAPER, PB_SPLIT_TEST, json_incref(row)), PB_ERR_FORMAT,
                 "column \"l\" has 1024 answers");
    assert_ok(build(ANSWERS, PB_PROTOCOL_CORRECTED, PB_SPLIT_TEST, row));
    free(long_text);
}

#define RECORD                                                                             \
    "builder = \"record\"; columns = [\"passage:string\", \"entities:strings\"]; lines = " \
    "[\"{entities:join}: {passage}\"]; answer = \"\";"

static void assert_record(pb_protocol protocol, const char *row, const char *user)
{
    assert_ok(build(RECORD, protocol, PB_SPLIT_TEST, json(row)));
    assert_sample(0, user, "");
}

static void record_orders_entities_by_their_place_and_joins_highlights(void **state)
{
#define SPANS "\"entity_spans\":{\"text\":[\"C\",\"A\",\"C\",\"B\"],\"start\":[9,5,2,7]}"
    (void)state;
    assert_record(PB_PROTOCOL_CORRECTED, "{\"passage\":\"p\",\"entities\":[\"B\",\"A\"]," SPANS "}",
                  "C, A, B: p");
    assert_record(PB_PROTOCOL_PAPER, "{\"passage\":\"p\",\"entities\":[\"B\",\"A\"]," SPANS "}",
                  "B, A: p");
    assert_record(PB_PROTOCOL_CORRECTED, "{\"passage\":\"p\",\"entities\":[\"B\",\"A\"]}",
                  "B, A: p");
    assert_record(PB_PROTOCOL_CORRECTED,
                  "{\"passage\":\"p\",\"entities\":[\"B\"],\"entity_spans\":null}", "B: p");
    assert_record(PB_PROTOCOL_CORRECTED,
                  "{\"passage\":\"p\",\"entities\":[],\"entity_spans\":{\"text\":[],\"start\":[]}}",
                  ": p");
    assert_record(
        PB_PROTOCOL_PAPER,
        "{\"passage\":\"\\n@highlight\\na.\\n@highlight\\n@highlight\\nb\\n@highlight\\n\\"
        "n@highlight\\n\",\"entities\":[]}",
        ": . a. @highlight\nb. . ");
#undef SPANS
}

static void record_refuses_spans_that_are_no_spans(void **state)
{
    static const char *const spans[] = {
        "[]",
        "{}",
        "\"x\"",
        "{\"text\":[\"A\"]}",
        "{\"text\":[\"A\"],\"start\":[]}",
        "{\"text\":[\"A\"],\"start\":[null]}",
        "{\"text\":[1],\"start\":[1]}",
        "{\"text\":\"A\",\"start\":1}",
    };
    char row[256];

    (void)state;
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        (void)snprintf(row, sizeof row,
                       "{\"passage\":\"p\",\"entities\":[\"A\"],\"entity_spans\":%s}", spans[i]);
        assert_error(build(RECORD, PB_PROTOCOL_CORRECTED, PB_SPLIT_TEST, json(row)), PB_ERR_FORMAT,
                     "column \"entity_spans\"");
    }
    /* Offsets only determine the order: none is looked up in the passage. */
    assert_record(
        PB_PROTOCOL_CORRECTED,
        "{\"passage\":\"p\",\"entities\":[\"A\"],\"entity_spans\":{\"text\":[\"B\",\"A\"],"
        "\"start\":[9223372036854775807,-9223372036854775807]}}",
        "A, B: p");
}

#define WSC                                                                                    \
    "builder = \"wsc\"; columns = [\"text:string\", \"span1_text:string\", "                   \
    "\"span1_index:int\", \"span2_text:string\", \"span2_index:int\"]; lines = [\"{text}\"]; " \
    "answer = \"\";"

static pb_status build_wsc(pb_protocol protocol, const char *text, const char *span1, int64_t at1,
                           const char *span2, int64_t at2)
{
    return build(WSC, protocol, PB_SPLIT_TEST,
                 json_pack("{s:s,s:s,s:I,s:s,s:I}", "text", text, "span1_text", span1,
                           "span1_index", (json_int_t)at1, "span2_text", span2, "span2_index",
                           (json_int_t)at2));
}

static void assert_marked(const char *text, const char *span1, int64_t at1, const char *span2,
                          int64_t at2, const char *expected)
{
    assert_ok(build_wsc(PB_PROTOCOL_CORRECTED, text, span1, at1, span2, at2));
    assert_sample(0, expected, "");
}

static void wsc_marks_the_literal_span_at_or_nearest_to_its_word(void **state)
{
    (void)state;
    assert_marked("Ann saw that she won.", "Ann", 0, "she", 3, "# Ann # saw that * she * won.");
    assert_marked("she and she", "x", 0, "she", 1, "she and * she *"); /* a tie: the later one */
    assert_marked("she and she or", "x", 0, "she", 0, "* she * and she or");
    assert_marked("she ashes she", "x", 0, "she", 1, "she ashes * she *");
    assert_marked("item it", "x", 0, "it", 0, "* it *em it"); /* at its word, whole or not */
    assert_marked("item it", "x", 0, "it", 5, "item * it *");
    assert_marked("\u201cAnn\u201d said", "Ann", 0, "x", 0, "\u201c# Ann #\u201d said");
    assert_marked("\u00e9it it", "x", 0, "it", 0, "\u00e9it * it *");
    assert_marked("C++ beat C", "C++", 0, "C", 2, "# C++ # beat * C *");
    assert_marked("Ann (the cook) won", "(the cook)", 1, "x", 9, "Ann # (the cook) # won");
    assert_marked("Ann", "Bob", 0, "Bob", 0, "Ann");
    assert_marked("Ann\u2003 she", "Ann", INT64_MAX, "she", INT64_MIN, "# Ann #\u2003 * she *");
}

static void wsc_nests_marks_that_meet(void **state)
{
    (void)state;
    assert_marked("Ann Lee won", "Ann Lee", 0, "Ann", 0, "# * Ann * Lee # won");
    assert_marked("Ann Lee won", "Ann Lee", 0, "Lee", 1, "# Ann * Lee * # won");
    assert_marked("Ann Lee won", "Ann", 0, "Ann Lee", 0, "* # Ann # Lee * won");
    assert_marked("Ann won", "Ann", 0, "Ann", 0, "# * Ann * # won");
    assert_marked("AnnLee", "Ann", 0, "Lee", 0, "# Ann #Lee");        /* Lee is not a whole word */
    assert_marked("Ann-Lee", "Ann-", 0, "Lee", 0, "# Ann- #* Lee *"); /* closing comes first */
}

static void wsc_reads_spans_as_expressions_under_the_paper_protocol(void **state)
{
    (void)state;
    assert_ok(build_wsc(PB_PROTOCOL_PAPER, "ab she", "[a-b]+", 0, "she", 1));
    assert_sample(0, "* ab * # she #", "");
    assert_ok(build_wsc(PB_PROTOCOL_PAPER, "ab she", "ab", -1, "she", INT64_MAX));
    assert_sample(0, "ab she", "");
    assert_ok(build_wsc(PB_PROTOCOL_PAPER, "ab she", "", 0, "she", 5));
    assert_sample(0, "*  *ab she", "");
    assert_string_equal(texts.items[0].empty, "span1_text");
    assert_error(build_wsc(PB_PROTOCOL_PAPER, "ab she", "ab", 0, "she (", 1), PB_ERR_FORMAT,
                 "column \"span2_text\": the regular expression \"she (\" has a (");
    assert_error(build_wsc(PB_PROTOCOL_PAPER, "ab she", "*", 0, "she", 1), PB_ERR_FORMAT,
                 "column \"span1_text\": the regular expression \"*\" repeats");
    assert_error(build_wsc(PB_PROTOCOL_PAPER, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!",
                           "(a+)+$", 0, "she", 1),
                 PB_ERR_FORMAT, "column \"span1_text\": the regular expression \"(a+)+$\"");
}

static void builders_find_columns_that_the_file_calls_otherwise(void **state)
{
    (void)state;
    assert_ok(build("builder = \"wsc\"; columns = [\"text=t:string\", \"span1_text=s.a:string\", "
                    "\"span1_index=i:int\", \"span2_text=s.b:string\", \"span2_index=j:int\"]; "
                    "lines = [\"{text}\"]; answer = \"\";",
                    PB_PROTOCOL_CORRECTED, PB_SPLIT_TEST,
                    json("{\"t\":\"Ann saw her\",\"s\":{\"a\":\"Ann\",\"b\":\"her\"},\"i\":0,"
                         "\"j\":2}")));
    assert_sample(0, "# Ann # saw * her *", "");
    assert_ok(build("builder = \"record\"; columns = [\"passage=p.text:string\", "
                    "\"entities=e:strings\"]; lines = [\"{entities:join}: {passage}\"]; answer = "
                    "\"\";",
                    PB_PROTOCOL_CORRECTED, PB_SPLIT_TEST,
                    json("{\"p\":{\"text\":\"a\\n@highlight\\nb\"},\"e\":[\"B\",\"A\"],"
                         "\"entity_spans\":{\"text\":[\"A\",\"B\"],\"start\":[1,2]}}")));
    assert_sample(0, "A, B: a. b", "");
}

static void wsc_is_quick_on_long_texts_and_refuses_long_spans(void **state)
{
    enum { BYTES = 8 << 20 };
    char *text = malloc(BYTES + 1);
    char span[2050];

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < BYTES; i++) {
        text[i] = i % 2 == 0 ? '-' : ' ';
    }
    text[BYTES] = '\0';
    for (size_t i = 0; i < sizeof span; i++) {
        span[i] = i % 2 == 0 ? '-' : ' ';
    }
    span[2047] = '\0';
    assert_ok(build_wsc(PB_PROTOCOL_CORRECTED, text, span, INT64_MAX, span, 7));
    assert_ok(build_wsc(PB_PROTOCOL_PAPER, text, span, 4000000, span, INT64_MAX));
    span[2047] = '-';
    span[2049] = '\0';
    assert_error(build_wsc(PB_PROTOCOL_PAPER, text, "x", 0, span, 7), PB_ERR_FORMAT,
                 "column \"span2_text\" has 2049 bytes, a span has at most 2048");
    free(text);
}

static int tear_down(void **state)
{
    (void)state;
    pb_row_texts_clear(&texts);
    assert_int_equal(pb_memory_current(), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_up_sets_of_known_kinds_need_no_code),
        cmocka_unit_test(filters_change_what_a_column_gives),
        cmocka_unit_test(a_column_may_have_a_colon_in_its_name),
        cmocka_unit_test(choices_of_one_text_become_lines),
        cmocka_unit_test(filters_and_columns_that_do_not_fit_are_errors_of_the_configuration),
        cmocka_unit_test(several_answers_are_samples_or_references),
        cmocka_unit_test(lists_in_a_text_are_read_as_json),
        cmocka_unit_test(answers_that_would_fill_the_memory_with_messages_are_refused),
        cmocka_unit_test(record_orders_entities_by_their_place_and_joins_highlights),
        cmocka_unit_test(record_refuses_spans_that_are_no_spans),
        cmocka_unit_test(wsc_marks_the_literal_span_at_or_nearest_to_its_word),
        cmocka_unit_test(wsc_nests_marks_that_meet),
        cmocka_unit_test(wsc_reads_spans_as_expressions_under_the_paper_protocol),
        cmocka_unit_test(builders_find_columns_that_the_file_calls_otherwise),
        cmocka_unit_test(wsc_is_quick_on_long_texts_and_refuses_long_spans),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
