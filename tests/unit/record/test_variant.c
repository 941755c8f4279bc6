// SPDX-License-Identifier: Apache-2.0
/* Names of variants are taken apart; names of any other origin have no settings. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_has_a_base_and_settings),
        cmocka_unit_test(names_of_other_origin_have_no_settings),
        cmocka_unit_test(values_are_numbers_where_they_can_be),
        cmocka_unit_test(a_variant_is_of_its_base_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
