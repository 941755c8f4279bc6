// SPDX-License-Identifier: Apache-2.0
/* Numbers and expressions in texts: what the patterns match and what they do not. */
#include "support.h"

#include "expression.h"
#include "number.h"

#include <math.h>
#include <string.h>

typedef struct number_case {
    const char *text;
    double value; /* NaN: no number */
} number_case;

static void assert_number(const char *text, bool has, double value, double wanted)
{
    if (has != !isnan(wanted) || (has && value != wanted)) {
        fail_msg("\"%s\": %s %.17g, expected %.17g", text, has ? "number" : "nothing", value,
                 wanted);
    }
}

static void python_float_takes_what_python_takes(void **state)
{
    static const number_case cases[] = {
        {" 3.5\n", 3.5},
        {"+.5", 0.5},
        {"5.", 5},
        {"1_000", 1000},
        {"1e3", 1000},
        {"-1E-2", -0.01},
        {"Infinity", HUGE_VAL},
        {"-inf", -HUGE_VAL},
        {"\xD9\xA3.\xD9\xA5", 3.5},
        {"1__0", NAN},
        {"_1", NAN},
        {"1_", NAN},
        {"1_.5", NAN},
        {"0x10", NAN},
        {"", NAN},
        {".", NAN},
        {"e5", NAN},
        {"1e", NAN},
        {"1 2", NAN},
        {"infinit", NAN},
        {"+-1", NAN},
        {"\xC2\xBD", NAN},
        {"1e400", HUGE_VAL},
        {"1_0e1_0", 1e11},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double value = 0;
        bool has     = number_python(cases[i].text, strlen(cases[i].text), &value);
        assert_number(cases[i].text, has, value, cases[i].value);
    }
    double value = 0;
    assert_true(number_python("nan", 3, &value));
    assert_true(isnan(value));
}

static void search_takes_commas_and_the_first_or_last(void **state)
{
    static const struct {
        const char *text;
        double first, last;
    } cases[] = {
        {"$1,234.50 and 7", 1234.5, 7},
        {"72.", 72, 72},
        {"a-3b", -3, -3},
        {".5.6", .5, .6},
        {"1,2", 12, 12},
        {"1-2", 1, -2},
        {"x", NAN, NAN},
        {"-", NAN, NAN},
        {"+", NAN, NAN},
        {"3..5", 3, .5},
        {",5", 5, 5},
        {"1/2", 1, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double value = 0;
        bool has     = number_search(cases[i].text, false, &value);
        assert_number(cases[i].text, has, value, cases[i].first);
        has = number_search(cases[i].text, true, &value);
        assert_number(cases[i].text, has, value, cases[i].last);
    }
}

static void forms_differ_in_point_and_exponent(void **state)
{
    double value = 0;

    (void)state;
    assert_true(number_whole(NUMBER_EXPONENT, "5.e1", 4, &value) && value == 50);
    assert_false(number_whole(NUMBER_PLAIN, "5e1", 3, &value));
    assert_true(number_whole(NUMBER_PLAIN, "5.", 2, &value));
    assert_false(number_whole(NUMBER_STRICT, "5.", 2, &value));
    assert_true(number_whole(NUMBER_STRICT, "-.5", 3, &value) && value == -.5);
    assert_false(number_whole(NUMBER_PLAIN, "", 0, &value));
    assert_false(number_whole(NUMBER_PLAIN, "+", 1, &value));
}

static void expressions_follow_pythons_precedence_and_rounding(void **state)
{
    static const struct {
        const char *text;
        double python, decimal;
    } cases[] = {
        {"1 + 2 * 3", 7, 7}, {"(1 + 2) * 3", 9, 9}, {"8 - 3 - 2", 3, 3}, {"-7 // 2", -4, -4},
        {"-7 % 3", 2, 2},    {"7 % -3", -2, -2},    {"- -5", 5, 5},      {"-(2 - 5)", 3, 3},
        {"2 * -3", -6, -6},  {"08 - 3", NAN, 5},    {"00", 0, 0},        {"1_0", 10, NAN},
        {"5e0", 5, NAN},     {"0x10", 16, NAN},     {"0b11", 3, NAN},    {"2 ** 2", NAN, NAN},
        {"1 / 0", NAN, NAN}, {"5 // 0", NAN, NAN},  {"1 +\n2", NAN, 3},  {"", NAN, NAN},
        {"()", NAN, NAN},    {"(1", NAN, NAN},      {"1)", NAN, NAN},    {"1 2", NAN, NAN},
        {"x", NAN, NAN},     {"5j", NAN, NAN},      {"1.", 1, 1},        {"08.5", 8.5, 8.5},
        {"1..2", NAN, NAN},  {"0x", NAN, NAN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = cases[i].text;
        double value     = 0;
        bool has         = expression_value(EXPRESSION_PYTHON, text, strlen(text), &value);
        assert_number(text, has, value, cases[i].python);
        has = expression_value(EXPRESSION_DECIMAL, text, strlen(text), &value);
        assert_number(text, has, value, cases[i].decimal);
    }
}

static void deep_and_long_expressions_end(void **state)
{
    static char text[100001];
    double value = 0;

    (void)state;
    memset(text, '(', sizeof text - 1);
    assert_false(expression_value(EXPRESSION_PYTHON, text, sizeof text - 1, &value));
    memset(text, '-', sizeof text - 1);
    assert_false(expression_value(EXPRESSION_PYTHON, text, sizeof text - 1, &value));
    memset(text, '1', sizeof text - 1);
    assert_false(expression_value(EXPRESSION_DECIMAL, text, sizeof text - 1, &value));
    assert_false(number_search(text, false, &value));
    assert_false(number_python(text, sizeof text - 1, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(python_float_takes_what_python_takes),
        cmocka_unit_test(search_takes_commas_and_the_first_or_last),
        cmocka_unit_test(forms_differ_in_point_and_exponent),
        cmocka_unit_test(expressions_follow_pythons_precedence_and_rounding),
        cmocka_unit_test(deep_and_long_expressions_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
