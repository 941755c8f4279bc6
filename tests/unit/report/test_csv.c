// SPDX-License-Identifier: Apache-2.0
/* Malicious CSV fields: they come back as texts, and nothing evaluates them. */
#include "csv.h"
#include "support.h"

#include "pb/memory.h"

#include <stdio.h>
#include <string.h>

static void assert_field(const char *field, const char *written)
{
    pb_string out = {0};

    assert_ok(csv_put(&out, field));
    assert_string_equal(out.data, written);
    pb_string_clear(&out);
}

static void plain_texts_are_written_as_they_are(void **state)
{
    (void)state;
    assert_field("", "");
    assert_field("lora", "lora");
    assert_field("größe 大", "größe 大");
    assert_field("a=b", "a=b");
    assert_field("a'b;c|d", "a'b;c|d");
}

static void what_a_table_needs_is_quoted(void **state)
{
    (void)state;
    assert_field("a,b", "\"a,b\"");
    assert_field("say \"no\"", "\"say \"\"no\"\"\"");
    assert_field("\"", "\"\"\"\"");
    assert_field(" a", "\" a\"");
    assert_field("a ", "\"a \"");
}

static void control_characters_are_shown(void **state)
{
    (void)state;
    assert_field("a\nb", "a\\x0ab");
    assert_field("a\r\nb", "a\\x0d\\x0ab");
    assert_field("\tx", "\\x09x");
    assert_field("\rx", "\\x0dx");
    assert_field("\x1b[31mred\x7f", "\\x1b[31mred\\x7f");
    assert_field("\xc2\x85", "\\xc2\\x85"); /* U+0085, a separate line end */
    assert_field("\xff", "\\xff");
}

static void formulas_are_texts(void **state)
{
    static const char *const formulas[] = {"=1+1", "+1+1",  "-1+1",      "@SUM(A1)", "-",  "=",
                                           "-inf", "+cmd|", "\uFF1D1+1", "\uFF20x",  "--5"};
    static const char *const numbers[]  = {"-0.5", "+3", "-1e-05", "0.25", "-.5", "1e5"};
    char expected[64];

    (void)state;
    for (size_t i = 0; i < sizeof formulas / sizeof *formulas; i++) {
        (void)snprintf(expected, sizeof expected, "'%s", formulas[i]);
        assert_field(formulas[i], expected);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        assert_field(numbers[i], numbers[i]);
    }
    assert_field("  =1", "\"'  =1\"");
    assert_field("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"");
}

static void any_field_is_one_field_of_one_line(void **state)
{
    static const char *const fields[] = {"a,b\"c\"\r\nd", "=1\n,2", "\"\"", "\n", "@\"", "x"};
    enum { COUNT = sizeof fields / sizeof *fields };
    pb_string out   = {0};
    csv_table table = {0};

    (void)state;
    assert_ok(pb_string_puts(&out, "a,b,c,d,e,f\r\n"));
    for (int i = 0; i < COUNT; i++) {
        assert_ok(pb_string_puts(&out, i > 0 ? "," : ""));
        assert_ok(csv_put(&out, fields[i]));
    }
    assert_ok(pb_string_puts(&out, "\r\n"));
    assert_ok(csv_parse("test", out.data, out.length, &table));
    assert_int_equal(table.count, 2);
    assert_string_equal(table.rows[1].fields[0], "a,b\"c\"\\x0d\\x0ad");
    assert_string_equal(table.rows[1].fields[1], "'=1\\x0a,2");
    assert_string_equal(table.rows[1].fields[2], "\"\"");
    assert_string_equal(table.rows[1].fields[5], "x");
    csv_clear(&table);
    pb_string_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_texts_are_written_as_they_are),
        cmocka_unit_test(what_a_table_needs_is_quoted),
        cmocka_unit_test(control_characters_are_shown),
        cmocka_unit_test(formulas_are_texts),
        cmocka_unit_test(any_field_is_one_field_of_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
