// SPDX-License-Identifier: Apache-2.0
/* Values of lists as parts of names, and as values of keys. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

static pb_config *parsed(const char *text)
{
    pb_config *config = NULL;
    assert_int_equal(pb_config_parse(text, "x.cfg", &config), PB_OK);
    return config;
}

static void expect_word(const char *value, const char *wanted)
{
    char text[256];
    pb_string word = {0};
    snprintf(text, sizeof text, "a = ( %s );", value);
    pb_config *config = parsed(text);
    assert_int_equal(pb_config_word(config, "a.[0]", &word), PB_OK);
    assert_string_equal(word.data, wanted);
    pb_string_clear(&word);
    pb_config_close(config);
}

static void values_become_words_that_read_back_the_same(void **state)
{
    (void)state;
    expect_word("16", "16");
    expect_word("-3", "-3");
    expect_word("5000000000", "5000000000");
    expect_word("1e-4", "1e-04");
    expect_word("0.00015", "1.5e-04");
    expect_word("0.001", "0.001");
    expect_word("0.3", "0.3");
    expect_word("100.0", "100");
    expect_word("0.0", "0");
    expect_word("-2.5e-5", "-2.5e-05");
    expect_word("true", "true");
    expect_word("false", "false");
    expect_word("\"linear\"", "linear");
    expect_word("[\"q_proj\", \"v_proj\"]", "q_proj+v_proj");
    expect_word("(1, 0.5, true)", "1+0.5+true");
    /* Numbers without a short form keep all their digits. */
    pb_string word    = {0};
    pb_config *config = parsed("a = [0.1234567890123456789, 1.2345678901234567e-9];");
    for (int i = 0; i < 2; i++) {
        pb_string_clear(&word);
        assert_int_equal(pb_config_word(config, i == 0 ? "a.[0]" : "a.[1]", &word), PB_OK);
        assert_true(strtod(word.data, NULL) ==
                    (i == 0 ? 0.1234567890123456789 : 1.2345678901234567e-9));
    }
    pb_string_clear(&word);
    pb_config_close(config);
}

static void other_values_are_refused_with_their_place(void **state)
{
    static const char *const texts[] = {
        "a = (\n\"b c\" );", "a = (\n\"\" );",           "a = (\n{ } );",
        "a = (\n() );",      "a = (\n[\"x\", \"é\"] );", "a = (\n((1)) );"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        pb_string word    = {0};
        pb_config *config = parsed(texts[i]);
        assert_int_equal(pb_config_word(config, "a.[0]", &word), PB_ERR_CONFIG);
        assert_non_null(strstr(pb_error_message(), "x.cfg:2: "));
        assert_non_null(strstr(pb_error_message(), " cannot be part of a name; "));
        pb_string_clear(&word);
        pb_config_close(config);
    }
}

static void lists_are_counted_and_nothing_else(void **state)
{
    pb_config *config = parsed("g = { a = [1, 2]; b = ();\n c = 3; };");
    int64_t count     = 0;
    (void)state;
    assert_int_equal(pb_config_items(config, "g.a", &count), PB_OK);
    assert_int_equal(count, 2);
    assert_int_equal(pb_config_items(config, "g.b", &count), PB_ERR_CONFIG);
    assert_string_equal(pb_error_message(),
                        "x.cfg:1: b is an empty list; it should be a list of the values it takes");
    assert_int_equal(pb_config_items(config, "g.c", &count), PB_ERR_CONFIG);
    assert_string_equal(pb_error_message(),
                        "x.cfg:2: c is the integer 3; it should be a list of the values it takes");
    pb_config_close(config);
}

static void a_value_keeps_its_place_under_another_key(void **state)
{
    settings s;
    pb_config *layer  = parsed("lora = { r = 2; alpha = 1.5; };");
    pb_config *config = parsed("v = ( 7,\n 5000,\n [\"a\", \"b\"] );");
    (void)state;
    assert_int_equal(pb_config_put(layer, "lora.r", config, "v.[0]"), PB_OK);
    assert_int_equal(pb_config_put(layer, "lora.targets", config, "v.[2]"), PB_OK);
    assert_int_equal(pb_config_read(layer, "lora", fields, NULL, &s), PB_OK);
    assert_int_equal(s.r, 7);
    assert_true(s.alpha == 1.5);
    assert_int_equal(s.targets.count, 2);
    assert_string_equal(s.targets.items[1], "b");
    pb_config_clear(fields, &s);
    assert_int_equal(pb_config_put(layer, "lora.r", config, "v.[1]"), PB_OK);
    pb_config_close(config);
    assert_int_equal(pb_config_read(layer, "lora", fields, NULL, &s), PB_ERR_CONFIG);
    assert_string_equal(pb_error_message(), "x.cfg:2: r = 5000 is outside 1 … 4096");
    pb_config_close(layer);
    assert_int_equal(pb_memory_current(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_become_words_that_read_back_the_same),
        cmocka_unit_test(other_values_are_refused_with_their_place),
        cmocka_unit_test(lists_are_counted_and_nothing_else),
        cmocka_unit_test(a_value_keeps_its_place_under_another_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
