// SPDX-License-Identifier: Apache-2.0
/* Tables for people: widths are display widths, and nothing is cut. */
#include "support.h"

#include "pb/memory.h"
#include "pb/table.h"
#include "pb/width.h"

#include <math.h>
#include <string.h>

static void widths_are_columns_of_a_terminal(void **state)
{
    (void)state;
    assert_int_equal(pb_width(""), 0);
    assert_int_equal(pb_width("lora"), 4);
    assert_int_equal(pb_width("± größe"), 7);
    assert_int_equal(pb_width("大模型"), 6);
    assert_int_equal(pb_width("e\u0301"), 1);
    assert_int_equal(pb_width("\xff\xfe"), 2);
    assert_int_equal(pb_width("\U0001F600"), 2);
}

static void numbers_have_no_negative_zero(void **state)
{
    char text[PB_TABLE_NUMBER];

    (void)state;
    assert_string_equal(pb_table_number(text, -0.001, 2, false), "0.00");
    assert_string_equal(pb_table_number(text, -0.0, 0, true), "0");
    assert_string_equal(pb_table_number(text, 0.004, 2, true), "0.00");
    assert_string_equal(pb_table_number(text, -0.006, 2, false), "-0.01");
    assert_string_equal(pb_table_number(text, 1.5, 1, true), "+1.5");
    assert_string_equal(pb_table_number(text, 1.5, 1, false), "1.5");
    assert_string_equal(pb_table_number(text, (double)NAN, 1, false), "?");
    assert_string_equal(pb_table_number(text, (double)-INFINITY, 2, false), "-inf");
}

static void counts_agree_with_their_noun(void **state)
{
    char text[PB_TABLE_NUMBER];

    (void)state;
    assert_string_equal(pb_table_count(text, 0, "cell"), "0 cells");
    assert_string_equal(pb_table_count(text, 1, "cell"), "1 cell");
    assert_string_equal(pb_table_count(text, 2, "cell"), "2 cells");
}

static void put(pb_table *table, int64_t columns, int64_t left, const char *const *cells)
{
    pb_table_init(table, columns, left);
    for (; *cells != NULL; cells++) {
        assert_ok(pb_table_add(table, "%s", *cells));
    }
}

static void assert_table(const pb_table *table, int64_t width, const char *expected)
{
    pb_string out = {0};

    assert_ok(pb_table_print(table, width, false, &out));
    assert_string_equal(out.data, expected);
    pb_string_clear(&out);
}

static void columns_are_aligned_by_display_width(void **state)
{
    static const char *const cells[] = {"model", "score", "大模型", "1", "e\u0301",
                                        "10.5",  "x",     "-",      NULL};
    pb_table table;

    (void)state;
    put(&table, 2, 1, cells);
    assert_table(&table, 0, "model   score\n大模型      1\ne\u0301        10.5\nx           -\n");
    pb_table_clear(&table);
}

static void columns_that_do_not_fit_go_on_below(void **state)
{
    static const char *const cells[] = {"name", "first", "second", "third", "a",
                                        "1",    "2",     "3",      NULL};
    pb_table table;

    (void)state;
    put(&table, 4, 1, cells);
    assert_table(&table, 0, "name  first  second  third\na         1       2      3\n");
    assert_table(&table, 20,
                 "name  first  second\na         1       2\n\nname  third\na         3\n");
    assert_table(
        &table, 11,
        "name  first\na         1\n\nname  second\na          2\n\nname  third\na         3\n");
    pb_table_clear(&table);
}

/* Every character of every name is present, whatever the width. */
static void long_names_are_broken_and_not_cut(void **state)
{
    static const char *const cells[] = {
        "model", "data set", "score", "a-model-with-a-name-that-is-longer-than-a-terminal-is-wide",
        "set",   "12.5",     NULL};
    pb_table table;

    (void)state;
    put(&table, 3, 2, cells);
    assert_table(&table, 40,
                 "model                   data set  score\n"
                 "a-model-with-a-name-    set        12.5\n"
                 "that-is-longer-than-a-\n"
                 "terminal-is-wide\n");
    for (int64_t width = 20; width < 100; width++) {
        pb_string out  = {0};
        pb_string name = {0};
        assert_ok(pb_table_print(&table, width, false, &out));
        for (const char *line = out.data; *line != '\0'; line = strchr(line, '\n') + 1) {
            assert_true((int64_t)strcspn(line, "\n") <= width);
            if (line > out.data) {
                assert_ok(pb_string_append(&name, line, strcspn(line, " \n")));
            }
        }
        assert_string_equal(name.data, cells[3]);
        pb_string_clear(&name);
        pb_string_clear(&out);
    }
    pb_table_clear(&table);
}

static void long_headers_are_broken_too(void **state)
{
    static const char *const cells[] = {"d", "a-method-with-a-very-long-name", "x", "1.00", NULL};
    pb_table table;

    (void)state;
    put(&table, 2, 1, cells);
    assert_table(&table, 20,
                 "d  a-method-with-a-\n"
                 "     very-long-name\n"
                 "x              1.00\n");
    pb_table_clear(&table);
}

static void control_characters_do_not_break_lines(void **state)
{
    static const char *const cells[] = {"a\nb\t\x1b", "1", NULL};
    pb_table table;

    (void)state;
    put(&table, 2, 1, cells);
    assert_table(&table, 0, "a\\x0ab\\x09\\x1b  1\n");
    pb_table_clear(&table);
}

static void notes_are_broken_at_blanks(void **state)
{
    pb_string out = {0};

    (void)state;
    assert_ok(pb_table_note(&out, 20, 0, "one two %s four five six", "three"));
    assert_string_equal(out.data, "one two three four\nfive six\n");
    pb_string_clear(&out);
    assert_ok(pb_table_note(&out, 0, 0, "one two"));
    assert_string_equal(out.data, "one two\n");
    pb_string_clear(&out);
    assert_ok(pb_string_puts(&out, "  -o  "));
    assert_ok(pb_table_note(&out, 26, 6, "a folder for the results of the run"));
    assert_string_equal(out.data, "  -o  a folder for the\n      results of the run\n");
    pb_string_clear(&out);
    assert_ok(pb_string_puts(&out, "  a-name                "));
    assert_ok(pb_table_note(&out, 30, 24, "what it is and what it does"));
    assert_string_equal(out.data, "  a-name                what\n"
                                  "          it is and what it\n"
                                  "          does\n");
    pb_string_clear(&out);
    assert_ok(pb_string_puts(&out, "  a-name              "));
    assert_ok(pb_table_note(&out, 30, 22, "like dataset.instruction=\"Why?\" too"));
    assert_string_equal(out.data, "  a-name              like\n"
                                  "    dataset.instruction=\"Why?\"\n"
                                  "          too\n");
    pb_string_clear(&out);
}

static void a_table_without_memory_leaves_none_behind(void **state)
{
    pb_status status = PB_ERR_MEMORY;

    (void)state;
    for (size_t room = 1; status != PB_OK; room += 16) {
        pb_table table;
        pb_table_init(&table, 1, 0);
        pb_memory_limit(room);
        status = pb_table_add(&table, "%s", "some text");
        pb_memory_limit(0);
        assert_true(status == PB_OK || status == PB_ERR_MEMORY);
        pb_table_clear(&table);
        assert_int_equal(pb_memory_current(), 0);
        pb_error_clear();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widths_are_columns_of_a_terminal),
        cmocka_unit_test(numbers_have_no_negative_zero),
        cmocka_unit_test(counts_agree_with_their_noun),
        cmocka_unit_test_teardown(columns_are_aligned_by_display_width, returns_all_bytes),
        cmocka_unit_test_teardown(columns_that_do_not_fit_go_on_below, returns_all_bytes),
        cmocka_unit_test_teardown(long_names_are_broken_and_not_cut, returns_all_bytes),
        cmocka_unit_test_teardown(long_headers_are_broken_too, returns_all_bytes),
        cmocka_unit_test_teardown(control_characters_do_not_break_lines, returns_all_bytes),
        cmocka_unit_test_teardown(notes_are_broken_at_blanks, returns_all_bytes),
        cmocka_unit_test(a_table_without_memory_leaves_none_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
