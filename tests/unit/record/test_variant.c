// SPDX-License-Identifier: Apache-2.0
/* Names of variants are taken apart, and gathered; names of any other origin have no settings. */
#include "pb/results.h"
#include "pb/variant.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* "base|key:value|key:value" */
static void expect(const char *name, const char *wanted)
{
    char text[256];
    const char *at = NULL;
    pb_variant_setting s;
    int used = snprintf(text, sizeof text, "%.*s", pb_variant_base(name), name);
    while (pb_variant_next(name, &at, &s)) {
        used += snprintf(text + used, sizeof text - (size_t)used, "|%.*s:%.*s", s.key_length, s.key,
                         s.value_length, s.value);
    }
    assert_string_equal(text, wanted);
}

static void a_name_has_a_base_and_settings(void **state)
{
    (void)state;
    expect("lora{r=4,learning_rate=1e-04}", "lora|r:4|learning_rate:1e-04");
    expect("rte{eval.batch=8}", "rte|eval.batch:8");
    expect("lora", "lora");
    expect("", "");
}

static void names_of_other_origin_have_no_settings(void **state)
{
    (void)state;
    expect("}", "}");
    expect("lora{", "lora{");
    expect("lora{r=4", "lora{r=4");
    expect("lora{}", "lora");
    expect("lora{r}", "lora");
    expect("{=}", "|:");
    expect("a{b=1}c", "a{b=1}c");
}

static double number_of(const char *name, const char *key)
{
    pb_variant_setting s;
    return pb_variant_find(name, key, &s) ? pb_variant_number(&s) : -1;
}

static void values_are_numbers_where_they_can_be(void **state)
{
    (void)state;
    const char *name = "m{r=4,rate=1e-04,on=true,off=false,word=linear,both=1+2,none=,inf=inf}";
    assert_true(number_of(name, "r") == 4);
    assert_true(number_of(name, "rate") == 1e-4);
    assert_true(number_of(name, "on") == 1);
    assert_true(number_of(name, "off") == 0);
    assert_true(isnan(number_of(name, "word")));
    assert_true(isnan(number_of(name, "both")));
    assert_true(isnan(number_of(name, "none")));
    assert_true(isnan(number_of(name, "inf")));
    assert_true(number_of(name, "rat") == -1);
}

static void a_variant_is_of_its_base_alone(void **state)
{
    (void)state;
    assert_true(pb_variant_is_of("lora{r=4}", "lora"));
    assert_true(pb_variant_is_of("lora{r=4}", "lora{r=4}"));
    assert_true(pb_variant_is_of("lora", "lora"));
    assert_false(pb_variant_is_of("lora{r=4}", "lor"));
    assert_false(pb_variant_is_of("lora{r=4}", "lora{r=5}"));
    assert_false(pb_variant_is_of("lora", "lora{r=4}"));
}

static void settings_of_results_have_columns_of_their_own(void **state)
{
    char *models[]           = {"m{on=true}"};
    char *datasets[]         = {"d", "d{rows=10,word=a}", "d{rows=20,word=2}"};
    char *methods[]          = {"lora{r=4}", "x{a/b=1,r=many}", "y{rows=3}", "z{=}"};
    const pb_results results = {.models         = models,
                                .models_count   = 1,
                                .datasets       = datasets,
                                .datasets_count = 3,
                                .methods        = methods,
                                .methods_count  = 4};
    static const struct {
        const char *key, *column;
        int axis;
        bool numeric;
    } wanted[] = {{"on", "setting_on", 0, true},      {"rows", "setting_rows", 1, true},
                  {"word", "setting_word", 1, false}, {"r", "setting_r", 2, false},
                  {"a/b", "setting_a%2Fb", 2, true},  {"rows", "setting_rows_method", 2, true},
                  {"", "setting%5F", 2, false}};
    pb_results_settings settings;
    (void)state;
    assert_int_equal(pb_results_settings_find(&results, &settings), PB_OK);
    assert_int_equal(settings.count, sizeof wanted / sizeof *wanted);
    for (int64_t i = 0; i < settings.count; i++) {
        assert_string_equal(settings.items[i].key, wanted[i].key);
        assert_string_equal(settings.items[i].column, wanted[i].column);
        assert_int_equal(settings.items[i].axis, wanted[i].axis);
        assert_int_equal(settings.items[i].numeric, wanted[i].numeric);
    }
    pb_results_settings_clear(&settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_has_a_base_and_settings),
        cmocka_unit_test(names_of_other_origin_have_no_settings),
        cmocka_unit_test(values_are_numbers_where_they_can_be),
        cmocka_unit_test(a_variant_is_of_its_base_alone),
        cmocka_unit_test(settings_of_results_have_columns_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
